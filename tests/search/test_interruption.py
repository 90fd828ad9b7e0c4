"""Signals end what is running, wherever they hit it. Real signals, in processes of their own."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from search.interruption import Interruption, allow_interruption, keep_signals, parse_duration

HEAD = """
import os, signal, subprocess, sys, threading, time
from search.interruption import Interruption, allow_interruption, interrupt_main_thread

def hit():
    os.kill(os.getpid(), signal.SIGTERM)
"""


def ended(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", HEAD + code], capture_output=True, text=True, timeout=60, check=False)


def test_an_interruption_that_python_drops_is_raised_again() -> None:
    """Exceptions raised in fork hooks are printed and dropped."""
    ran = ended("""
os.register_at_fork(after_in_parent=hit)
try:
    with allow_interruption():
        if os.fork() == 0:
            os._exit(0)
        print("was dropped", flush=True)
        time.sleep(30)
except Interruption as error:
    sys.exit(error.code)
""")
    assert "Exception ignored" in ran.stderr
    assert ran.stdout == "was dropped\n"
    assert ran.returncode == 143


def test_cleanup_during_an_interruption_is_not_disturbed() -> None:
    ran = ended("""
class Slow:
    def __enter__(self): pass
    def __exit__(self, *error): time.sleep(1.5); print("exit", flush=True)

try:
    with allow_interruption(), Slow():
        try:
            hit()
        finally:
            time.sleep(1.5)
            print("finally", flush=True)
except Interruption as error:
    sys.exit(error.code)
""")
    assert (ran.returncode, ran.stdout, ran.stderr) == (143, "finally\nexit\n", "")


def test_a_second_signal_ends_the_process_immediately() -> None:
    ran = ended("""
with allow_interruption():
    try:
        hit()
    finally:
        os.kill(os.getpid(), signal.SIGINT)
        print("not reached")
""")
    assert (ran.returncode, ran.stdout) == (130, "")


def test_a_closed_terminal_ends_the_process_once() -> None:
    """Both the kernel and the shell send SIGHUP; the second one must not cut the end short."""
    ran = ended("""
try:
    with allow_interruption():
        try:
            os.kill(os.getpid(), signal.SIGHUP)
        finally:
            os.kill(os.getpid(), signal.SIGHUP)
            print("cleaned up", flush=True)
except Interruption as error:
    print(error, flush=True)
    sys.exit(error.code)
""")
    assert (ran.returncode, ran.stdout) == (129, "cleaned up\ninterrupted by SIGHUP\n")


def test_a_process_that_ignores_sighup_continues() -> None:
    """As nohup starts it."""
    ran = ended("""
signal.signal(signal.SIGHUP, signal.SIG_IGN)
with allow_interruption():
    os.kill(os.getpid(), signal.SIGHUP)
    print("continues")
""")
    assert (ran.returncode, ran.stdout) == (0, "continues\n")


def test_another_thread_can_interrupt() -> None:
    """Even if the main thread waits in a system call."""
    ran = ended("""
threading.Timer(0.2, lambda: interrupt_main_thread(Interruption("a reason", 7))).start()
try:
    with allow_interruption():
        time.sleep(30)
except Interruption as error:
    print(error, flush=True)
    sys.exit(error.code)
""")
    assert (ran.returncode, ran.stdout) == (7, "a reason\n")


def test_another_thread_interrupts_nobody_who_does_not_allow_it() -> None:
    ran = ended("""
interrupt_main_thread(Interruption("a reason", 7))
print("continues")
""")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "continues\n", "")


def test_the_end_of_a_process_whose_main_thread_hangs() -> None:
    ran = ended("""
import threading
from search.interruption import end_now, last_words

def say(error): print("last words:", error, flush=True)

with allow_interruption(), last_words(lambda error: print("not said")), last_words(say):
    hangs = threading.Lock()
    hangs.acquire()
    threading.Timer(0.1, end_now, ["all is lost"]).start()
    try:
        hangs.acquire()
    finally:
        print("not unwound")
""")
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "last words: all is lost\n", "")


def test_an_interruption_that_is_on_its_way_takes_precedence() -> None:
    """A signal to a whole process group, such as a scheduler's, ends what the process depends on as well."""
    ran = ended("""
from search.interruption import end_now, last_words

with last_words(lambda error: print("last words:", error, flush=True)), allow_interruption():
    try:
        hit()
    finally:
        end_now("all is lost")
""")
    assert (ran.returncode, ran.stdout, ran.stderr) == (143, "last words: interrupted by SIGTERM\n", "")


@pytest.fixture
def alarms() -> Iterator[list[float]]:
    """When an existing timer, due in 1.5 seconds, went off (pytest's own is put back afterwards)."""
    began, found = time.monotonic(), list[float]()
    handler = signal.signal(signal.SIGALRM, lambda number, frame: found.append(time.monotonic() - began))
    left, interval = signal.setitimer(signal.ITIMER_REAL, 1.5)
    yield found
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, handler)
    if left:
        signal.setitimer(signal.ITIMER_REAL, max(0.1, left - time.monotonic() + began), interval)


def wait(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:  # a signal cuts a sleep short
        time.sleep(0.01)


def test_an_expired_time_budget_ends_the_search_successfully(alarms: list[float]) -> None:
    with pytest.raises(Interruption, match="time budget") as error, allow_interruption(0.05):
        time.sleep(30)
    assert error.value.code == 0
    left, interval = signal.getitimer(signal.ITIMER_REAL)
    assert 0 < left < 1.5
    assert interval == 0
    wait(1.6)
    assert len(alarms) == 1
    assert alarms[0] > 1.4


def test_an_unexpired_budget_restores_an_existing_timer(alarms: list[float]) -> None:
    with allow_interruption(30):
        wait(0.1)
    assert 0.5 < signal.getitimer(signal.ITIMER_REAL)[0] < 1.45
    assert alarms == []


def test_an_existing_timer_due_during_the_budget_goes_off_afterwards(alarms: list[float]) -> None:
    with allow_interruption(30):
        wait(1.8)
        assert alarms == []
    wait(0.2)
    assert len(alarms) == 1


def test_without_a_budget_an_existing_timer_keeps_running(alarms: list[float]) -> None:
    with allow_interruption():
        wait(1.8)
        assert len(alarms) == 1
    wait(0.2)
    assert len(alarms) == 1


def test_an_interruption_restores_an_existing_timer(alarms: list[float]) -> None:
    """Although it uses the timer itself, to be raised again if it gets lost."""
    with pytest.raises(Interruption, match="SIGTERM"), allow_interruption():
        signal.raise_signal(signal.SIGTERM)
    assert 0.5 < signal.getitimer(signal.ITIMER_REAL)[0] < 1.5
    wait(1.6)
    assert len(alarms) == 1


def test_nobody_else_can_take_over_the_signals() -> None:
    with allow_interruption():
        ours = signal.getsignal(signal.SIGTERM)
        with keep_signals():
            assert signal.signal(signal.SIGTERM, signal.SIG_IGN) is ours
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGTERM) is ours
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


@pytest.mark.parametrize(
    ("text", "value"), [("90", 90), ("1.5s", 1.5), ("30m", 1800), (" 12h ", 43200), ("2d", 172800)]
)
def test_durations(text: str, value: float) -> None:
    assert parse_duration(text) == value


@pytest.mark.parametrize("text", ["", "0", "0s", "-3", "5 weeks", "h"])
def test_invalid_durations(text: str) -> None:
    with pytest.raises(ValueError, match="--time-budget must be a duration"):
        parse_duration(text)

"""What ends a process early, wherever it hits it. Real signals, in processes of their own."""

import signal
import subprocess
import sys

import pytest
from searches import alive, wait_for

from search.interruption import allow_interruption, keep_signals, parse_duration

HEAD = """
import os, signal, subprocess, sys, threading, time
from search.interruption import Interruption, allow_interruption, end_now, interrupt, last_words

def hit(number=signal.SIGTERM):
    os.kill(os.getpid(), number)

def say(interruption):
    print("last words:", interruption, flush=True)
"""


def ended(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", HEAD + code], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_process_with_its_last_words(number: signal.Signals) -> None:
    ran = ended(f"""
with allow_interruption(), last_words(say):
    try:
        hit({number:d})
        time.sleep(60)
    finally:
        print("not unwound")
""")
    words = f"last words: interrupted by {number.name}\n"
    assert (ran.returncode, ran.stdout, ran.stderr) == (128 + number, words, "")


def test_nothing_follows_the_last_words() -> None:
    """Another thread prints while the children are being killed, which takes half a second here."""
    ran = ended("""
import psutil

psutil.Process.children = lambda self, recursive: time.sleep(0.5) or []

def print_on():
    while True:
        time.sleep(0.05)
        print("out", flush=True)
        print("error", file=sys.stderr, flush=True)

def say_and_start(interruption):
    say(interruption)
    threading.Thread(target=print_on, daemon=True).start()

with allow_interruption(), last_words(say_and_start):
    hit()
    time.sleep(60)
""")
    assert (ran.returncode, ran.stdout, ran.stderr) == (143, "last words: interrupted by SIGTERM\n", "")


def test_a_signal_is_not_lost_where_python_drops_exceptions() -> None:
    """Exceptions raised in fork hooks are printed and dropped."""
    ran = ended("""
os.register_at_fork(after_in_parent=hit)
with allow_interruption():
    if os.fork() == 0:
        os._exit(0)
    time.sleep(60)
""")
    assert (ran.returncode, ran.stdout, ran.stderr) == (143, "", "")


def test_the_main_thread_may_hold_a_lock_that_the_last_words_need() -> None:
    ran = ended("""
lock = threading.Lock()

def say_with_lock(interruption):
    with lock:
        say(interruption)

with allow_interruption(), last_words(say_with_lock):
    with lock:
        hit()
        time.sleep(0.5)
    time.sleep(60)
""")
    assert (ran.returncode, ran.stdout) == (143, "last words: interrupted by SIGTERM\n")


def test_the_last_words_are_said_from_the_inside_out_whatever_fails() -> None:
    ran = ended("""
def fail(interruption):
    raise ZeroDivisionError("a defect")

with allow_interruption(), last_words(say), last_words(fail), last_words(lambda _: print("inner")):
    with last_words(lambda _: print("not said any more")):
        pass
    hit()
    time.sleep(60)
""")
    assert (ran.returncode, ran.stdout) == (143, "inner\nlast words: interrupted by SIGTERM\n")
    assert "ZeroDivisionError: a defect" in ran.stderr


def test_a_main_thread_that_leaves_waits_for_the_end() -> None:
    """It may fail because of what interrupts it, or be done."""
    ran = ended("""
def say_slowly(interruption):
    time.sleep(0.5)
    say(interruption)

with last_words(say_slowly), allow_interruption():
    hit()
    raise ConnectionError("the cluster is gone")
""")
    assert (ran.returncode, ran.stdout, ran.stderr) == (143, "last words: interrupted by SIGTERM\n", "")


def test_what_the_process_has_started_ends_with_it() -> None:
    ran = ended("""
with allow_interruption():
    shell = subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True)
    print(shell.pid, shell.stdout.readline(), flush=True)
    hit()
    time.sleep(60)
""")
    assert ran.returncode == 143
    for pid in ran.stdout.split():
        wait_for(lambda pid=pid: not alive(int(pid)), what="its end")  # type: ignore[misc]


def test_what_the_process_waits_for_ends_after_it() -> None:
    """Ray, written in C++, ends a process that misses one of Ray's own, and lets no other thread run while it waits."""
    ran = ended("""
import ctypes

others = [subprocess.Popen(["sleep", "60"]) for _ in range(10)]
answering = subprocess.Popen(["sh", "-c", "while sleep 0.5; do echo here; done"], stdout=subprocess.PIPE)
print(answering.pid, *[other.pid for other in others], flush=True)
read_and_let_no_thread_run = ctypes.PyDLL(None).read
with allow_interruption():
    hit()
    while read_and_let_no_thread_run(answering.stdout.fileno(), ctypes.create_string_buffer(5), 5):
        pass
    os._exit(1)
""")
    assert ran.returncode == 143
    wait_for(lambda: not any(alive(int(pid)) for pid in ran.stdout.split()), seconds=10, what="the end of the others")


def test_a_second_signal_ends_the_process_immediately() -> None:
    ran = ended("""
def hang(interruption):
    print("hangs", flush=True)
    hit(signal.SIGINT)
    time.sleep(60)

with allow_interruption(), last_words(hang):
    hit()
    while True:
        time.sleep(0.01)
""")
    assert (ran.returncode, ran.stdout) == (130, "hangs\n")


def test_a_closed_terminal_ends_the_process_once() -> None:
    """Both the kernel and the shell send SIGHUP; the second one must not cut the end short."""
    ran = ended("""
def say_slowly(interruption):
    time.sleep(0.5)
    say(interruption)

with allow_interruption(), last_words(say_slowly):
    hit(signal.SIGHUP)
    hit(signal.SIGHUP)
    time.sleep(60)
""")
    assert (ran.returncode, ran.stdout) == (129, "last words: interrupted by SIGHUP\n")


def test_a_process_that_ignores_sighup_continues() -> None:
    """As nohup starts it."""
    ran = ended("""
signal.signal(signal.SIGHUP, signal.SIG_IGN)
with allow_interruption():
    hit(signal.SIGHUP)
    print("continues")
""")
    assert (ran.returncode, ran.stdout) == (0, "continues\n")


def test_another_thread_can_interrupt() -> None:
    """Even if the main thread hangs."""
    ran = ended("""
threading.Timer(0.2, interrupt, [Interruption("a reason", 7)]).start()
with allow_interruption(), last_words(say):
    hangs = threading.Lock()
    hangs.acquire()
    hangs.acquire()
""")
    assert (ran.returncode, ran.stdout, ran.stderr) == (7, "last words: a reason\n", "")


def test_nothing_is_interrupted_where_it_is_not_allowed() -> None:
    ran = ended("""
with allow_interruption(), last_words(say):
    pass
interrupt(Interruption("a reason", 7))
time.sleep(0.2)
print("continues")
""")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "continues\n", "")


@pytest.mark.parametrize("allowed", ["allow_interruption()", "nullcontext()"])
def test_a_thread_can_end_the_process(allowed: str) -> None:
    """With or without a command around it."""
    ran = ended(f"""
from contextlib import nullcontext

with {allowed}, last_words(say):
    threading.Timer(0.1, end_now, ["all is lost"]).start()
    time.sleep(60)
""")
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "last words: all is lost\n", "")


def test_an_interruption_that_is_on_its_way_takes_precedence() -> None:
    """A signal to a whole process group, such as a scheduler's, ends what the process depends on as well."""
    ran = ended("""
with allow_interruption(), last_words(say):
    hit()
    end_now("all is lost")
""")
    assert (ran.returncode, ran.stdout, ran.stderr) == (143, "last words: interrupted by SIGTERM\n", "")


def test_an_expired_time_budget_ends_the_process_successfully() -> None:
    ran = ended("""
with allow_interruption(0.2), last_words(say):
    time.sleep(60)
""")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "last words: the time budget has run out\n", "")


@pytest.mark.parametrize("seconds", [30, 1e30])
def test_a_time_budget_that_is_not_used_up_changes_nothing(seconds: float) -> None:
    ran = ended(f"""
with allow_interruption({seconds}), last_words(say):
    time.sleep(0.1)
""")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


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

"""What ends a command early: a signal, an expired time budget, a lost cluster, a full disk. Its records can be resumed.

The process ends where it is, and nothing is unwound: all that counts is on disk. Exceptions raised by signal
handlers would not do: Python drops them in some places (fork hooks), and they abort C++ code that calls Python.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, NoReturn

import psutil

from records.files import is_full_disk


class Interruption(BaseException):
    """The reason why a command ends early. If it is raised, no `except Exception` on the way catches it.

    Attributes:
        code: the exit code.
        can_resume: whether the experiment may be resumed now; not if another process has taken it over.
    """

    def __init__(self, message: str, code: int, *, can_resume: bool = True) -> None:
        super().__init__(message)
        self.code, self.can_resume = code, can_resume


ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A signal handler may put something into a SimpleQueue whatever the thread was doing, unlike into a Queue.
_requests: SimpleQueue[Interruption | None] | None = None  # None outside allow_interruption
_last_words: list[Callable[[Interruption], None]] = []


@contextmanager
def allow_interruption(time_budget: float | None = None) -> Iterator[None]:
    """Inside this context, a signal (ENDING), an expired time budget or `interrupt` ends the process.

    Another thread says the last words and ends the process and its children; the main thread continues until
    then, or it could hold a lock that the last words need. A second signal ends the process immediately.

    Args:
        time_budget: in seconds; None for no limit.
    """
    global _requests
    requests = _requests = SimpleQueue()
    ending = threading.Thread(target=_end_on_request, args=(requests, time_budget), name="ending", daemon=True)
    ending.start()
    before = {number: signal.getsignal(number) for number in ENDING}
    for number in ENDING:
        # nohup ignores SIGHUP on purpose; SIGINT is also ignored in the background of a script, where kill sends it.
        if number != signal.SIGHUP or before[number] != signal.SIG_IGN:
            signal.signal(number, _request_end)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: not set by Python, which cannot restore it
                signal.signal(number, handler)
        _requests = None
        requests.put(None)
        ending.join()  # for ever, if it is ending the process


def _end_on_request(requests: "SimpleQueue[Interruption | None]", time_budget: float | None) -> None:
    try:
        interruption = requests.get(timeout=None if time_budget is None else min(time_budget, threading.TIMEOUT_MAX))
    except Empty:
        interruption = Interruption("the time budget has run out", 0)
    if interruption is not None:
        _end(interruption)


def _request_end(number: int, frame: FrameType | None) -> None:
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _exit_now)
    # A terminal that is closed sends it more than once: the kernel does, and so does its shell.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    interrupt(Interruption(f"interrupted by {signal.Signals(number).name}", 128 + number))


def _exit_now(number: int, frame: FrameType | None) -> NoReturn:
    os._exit(128 + number)


def interrupt(interruption: Interruption) -> None:
    """Ends the process soon, from any thread; does nothing outside allow_interruption."""
    if _requests is not None:
        _requests.put(interruption)


def end_now(message: str) -> NoReturn:
    """Ends the process with exit code 1, from any thread; an interruption that is on its way takes precedence."""
    interruption = Interruption(message, 1)
    if _requests is None:
        _end(interruption)
    _requests.put(interruption)
    while True:
        threading.Event().wait()


@contextmanager
def last_words(say: Callable[[Interruption], None]) -> Iterator[None]:
    """Inside this context, `say` is called before the process ends early; of several, the innermost is called first.

    It is called in a thread of its own, while the main thread is still at work.
    """
    _last_words.append(say)
    try:
        yield
    finally:
        _last_words.remove(say)


def _end(interruption: Interruption) -> NoReturn:
    try:
        for say in reversed(list(_last_words)):  # the main thread may be leaving their contexts
            try:
                say(interruption)
            except Exception:
                traceback.print_exc()
        sys.stdout.flush()
    finally:
        _silence()
        with suppress(OSError, psutil.Error):  # the process ends, even if no other can be started
            _kill_children_afterwards()
        os._exit(interruption.code)


def _silence() -> None:
    """Discards what other threads still print: Ray's would follow the last words with the log of a dead raylet."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nowhere, number)


def _kill_children_afterwards() -> None:
    """Kills what this process has started as soon as it has ended: a cluster would take a minute to notice that.

    Not before: Ray ends this process with exit code 1 if it misses one of its own, and while this process joins a
    cluster, no other thread runs until the cluster has answered.
    """
    killer = subprocess.Popen(
        # The second line never comes: what it reads ends with this process, which holds the other end of the pipe.
        ["/bin/sh", "-c", "read -r pids; read -r _; kill -KILL $pids"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )
    pids = [process.pid for process in psutil.Process().children(recursive=True) if process.pid != killer.pid]
    assert killer.stdin is not None
    print(*pids, file=killer.stdin, flush=True)


@contextmanager
def keep_signals() -> Iterator[None]:
    """Keeps others from taking over the signals that end this process, as ray does when it starts."""
    take = signal.signal

    def leave(number: int, handler: Any) -> Any:
        return signal.getsignal(number) if number in ENDING and handler not in _OURS else take(number, handler)

    signal.signal = leave  # type: ignore[assignment]
    try:
        yield
    finally:
        signal.signal = take


_OURS = (_request_end, _exit_now)


@contextmanager
def interrupt_on_full_disk() -> Iterator[None]:
    """Turns the error of a full disk or quota into an Interruption."""
    try:
        yield
    except OSError as error:
        if not is_full_disk(error):
            raise
        raise Interruption(describe_full_disk(str(error)), 1) from error


def describe_full_disk(error: str) -> str:
    """The message about a full disk."""
    return f"no space is left on the storage; make room, then resume ({error})"


def parse_duration(duration: str) -> float:
    """The seconds in `90`, `90s`, `30m`, `12h` or `2d`; raises ValueError for anything else, 0 included."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", duration.strip())
    if match is None or float(match[1]) == 0:
        raise ValueError(f"--time-budget must be a duration like 90s, 30m, 12h or 2d, but got {duration!r}")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]

"""What ends a search early: a signal, an expired time budget, a full disk. It can be resumed from its records."""

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from records.files import is_full_disk


class Interruption(KeyboardInterrupt):
    """Stops the search at once; no `except Exception` on the way catches it.

    It is a KeyboardInterrupt, the only exception from a signal handler that ray passes on through its C++ calls.

    Attributes:
        code: the exit code.
        can_resume: whether the experiment may be resumed now; not if another process has taken it over.
    """

    def __init__(self, message: str, code: int, *, can_resume: bool = True) -> None:
        super().__init__(message)
        self.code, self.can_resume = code, can_resume


_caught: list[Interruption] = []
_requested: list[Interruption] = []  # by another thread
_last_words: list[Callable[[Interruption], None]] = []
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SIGNALS = (*ENDING, signal.SIGALRM)
# Python drops exceptions that are raised in some places, such as fork hooks, and a signal may arrive just there.
INSIST_SECONDS = 1.0


@contextmanager
def allow_interruption(time_budget: float | None = None) -> Iterator[None]:
    """Inside this context, signals that end a process (ENDING) and an expired time budget raise Interruption.

    They do so in the main thread. A second signal ends the process immediately: everything that counts is on disk.
    Handlers and timer are restored at the end; a timer that is already set keeps running, or, if there is a budget,
    goes off no earlier than the end.

    Args:
        time_budget: in seconds; None for no limit.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    timer, began = signal.getitimer(signal.ITIMER_REAL), time.monotonic()
    for number in ENDING:
        # nohup ignores SIGHUP on purpose; SIGINT is also ignored in the background of a script, where kill sends it.
        if number != signal.SIGHUP or before[number] != signal.SIG_IGN:
            signal.signal(number, _raise_interruption)
    if time_budget is not None:
        signal.signal(signal.SIGALRM, _raise_interruption)
        signal.setitimer(signal.ITIMER_REAL, time_budget)
    try:
        yield
    except BaseException as error:
        # On its way, ray turns it into a bare KeyboardInterrupt and typer into an exit; the handler kept the original.
        if _caught and not isinstance(error, Interruption):
            raise _caught[-1] from None
        raise
    else:
        if _caught:
            raise _caught[-1]
    finally:
        is_timer_taken = time_budget is not None or bool(_caught)
        _caught.clear()
        _requested.clear()
        if is_timer_taken:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            if handler is not None:  # None: not set by Python, which cannot restore it
                signal.signal(number, handler)
        if is_timer_taken and timer[0]:
            due = timer[0] - (time.monotonic() - began)
            signal.setitimer(signal.ITIMER_REAL, max(due, 1e-3), timer[1])


@contextmanager
def keep_signals() -> Iterator[None]:
    """Keeps others from taking over the signals: ray does as it starts, and what its handler raises can get lost."""
    take = signal.signal

    def leave(number: int, handler: Any) -> Any:
        return signal.getsignal(number) if number in SIGNALS and handler not in _OURS else take(number, handler)

    signal.signal = leave  # type: ignore[assignment]
    try:
        yield
    finally:
        signal.signal = take


def interrupt_main_thread(error: Interruption) -> None:
    """Raises `error` in the main thread, from another one; does nothing outside allow_interruption."""
    if signal.getsignal(signal.SIGTERM) is _raise_interruption:
        _requested.append(error)
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGTERM)  # so that a system call in which it waits ends


def _raise_interruption(number: int, frame: FrameType | None) -> NoReturn:
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _exit_now)
    # A terminal that is closed sends it more than once: the kernel does, and so does its shell.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if _requested:
        _caught.append(_requested[0])
    elif number == signal.SIGALRM:
        _caught.append(Interruption("the time budget has run out", 0))
    else:
        _caught.append(Interruption(f"interrupted by {signal.Signals(number).name}", 128 + number))
    signal.signal(signal.SIGALRM, _raise_again)
    signal.setitimer(signal.ITIMER_REAL, INSIST_SECONDS, INSIST_SECONDS)
    raise _caught[-1]


def _raise_again(number: int, frame: FrameType | None) -> None:
    """Raises the interruption again if it got lost, which is when no exception is being handled."""
    if sys.exc_info()[1] is None:
        raise _caught[-1]


def _exit_now(number: int, frame: FrameType | None) -> NoReturn:
    os._exit(128 + number)


@contextmanager
def last_words(say: Callable[[Interruption], None]) -> Iterator[None]:
    """Inside this context, `end_now` calls `say`."""
    _last_words.append(say)
    try:
        yield
    finally:
        _last_words.pop()


def end_now(message: str) -> NoReturn:
    """Ends the process with its last words, from any thread and although the main thread may hang in a library.

    The exit code is 1, unless an interruption is on its way already, which takes the place of the message.
    """
    interruption = _caught[-1] if _caught else Interruption(message, 1)
    try:
        if _last_words:
            _last_words[-1](interruption)
    finally:
        os._exit(interruption.code)


_OURS = (_raise_interruption, _raise_again, _exit_now)


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

"""Who may compute on this machine: any number of epochs of training, or one measurement alone.

Lock files in /tmp, which all searches on the machine share, whichever user runs them (but not across containers): a
latency taken while anything else trains says nothing. Training holds `room` shared for an epoch; a measurement holds it
alone. Both enter through `turnstile`, which a measurement keeps: no new epoch begins while it waits for the running
ones, so it waits for one epoch at most.

Nobody waits forever (wait_at_most). What no longer waits holds `beside` shared, by which a measurement notices that it
is not alone.

The environment variable ALPHAPRUNE_LOCK_DIR names another folder for the files. It is read each time a lock is taken.
Processes with different folders do not wait for each other, so searches should leave it unset; the tests use it.
"""

import fcntl
import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from trainable.measurement.lock_file import LockFile

log = logging.getLogger("alphaprune")

# /tmp, if there is one, even if TMPDIR says otherwise: a cluster's scheduler gives each of its jobs its own TMPDIR.
DEFAULT_FOLDER = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())
FOLDER_VARIABLE = "ALPHAPRUNE_LOCK_DIR"
# Read in the processes that train, which a search starts; wait_at_most sets it.
WAIT_VARIABLE = "ALPHAPRUNE_LONGEST_WAIT_SECONDS"
LONGEST_WAIT_SECONDS = 600.0
LOOK_SECONDS = 0.25

_TRAINING_WAITS = "training is waiting for a measurement"
_MEASURING_WAITS = "the measurement is waiting for another one"
_WAITING_FOR_TRAINING = "waiting for the training on this machine to pause"


def lock_folder() -> Path:
    """The folder of the lock files: what ALPHAPRUNE_LOCK_DIR says, else the machine's temporary folder."""
    return Path(os.environ.get(FOLDER_VARIABLE) or DEFAULT_FOLDER)


def longest_wait_seconds() -> float:
    """How long this process waits for another."""
    return float(os.environ.get(WAIT_VARIABLE) or LONGEST_WAIT_SECONDS)


@contextmanager
def wait_at_most(seconds: float) -> Iterator[None]:
    """Sets how long this process, and those that it starts, wait for another, while active."""
    before = os.environ.get(WAIT_VARIABLE, "")
    os.environ[WAIT_VARIABLE] = str(seconds)
    try:
        yield
    finally:
        os.environ[WAIT_VARIABLE] = before
        if not before:
            del os.environ[WAIT_VARIABLE]


@contextmanager
def training_allowed() -> Iterator[None]:
    """For an epoch of training: waits while something is measured, but not forever. Without locks, does not wait."""
    with ExitStack() as stack:
        with suppress(OSError):  # training must not fail because of what somebody may measure
            _enter_room(stack)
        yield


def _enter_room(stack: ExitStack) -> None:
    with _open_lock("turnstile") as turnstile:
        room = stack.enter_context(_open_lock("room"))
        if turnstile.take(fcntl.LOCK_EX, _TRAINING_WAITS) and room.take(fcntl.LOCK_SH, _TRAINING_WAITS):
            return
    stack.enter_context(_open_lock("beside")).share()


@contextmanager
def measuring_alone() -> Iterator[Callable[[], bool]]:
    """Keeps all else on this machine from training or being measured; waits for what is running, but not forever.

    Yields:
        A function that says whether it has been alone so far. It has not if locks are not available: then it has not
        waited, and what else runs is unknown.
    """
    with ExitStack() as stack:
        watch = None
        with suppress(OSError):
            beside = stack.enter_context(_open_lock("beside"))
            if _clear_room(stack, beside):
                watch = _Watch(beside)
                stack.enter_context(watch.keep_looking())
        yield lambda: watch is not None and watch.is_alone()


def _clear_room(stack: ExitStack, beside: LockFile) -> bool:
    """Whether this process has the machine to itself."""
    with ExitStack() as entering:
        turnstile = entering.enter_context(_open_lock("turnstile"))
        if not turnstile.take(fcntl.LOCK_EX, _MEASURING_WAITS):
            beside.share()
            return False
        stack.push(entering.pop_all())  # it keeps the turnstile while it measures
    room = stack.enter_context(_open_lock("room"))
    is_clear = all(lock.take(fcntl.LOCK_EX, _WAITING_FOR_TRAINING) for lock in (room, beside))
    if is_clear:
        beside.release()
    return is_clear


class _Watch:
    """Looks for what no longer waits for a measurement."""

    def __init__(self, beside: LockFile) -> None:
        self._beside, self._alone = beside, True

    def is_alone(self) -> bool:
        """Whether nothing else has been there yet."""
        if self._alone:
            self._alone = self._beside.try_take(fcntl.LOCK_EX)
            self._beside.release()
        return self._alone

    @contextmanager
    def keep_looking(self) -> Iterator[None]:
        """Looks now and then, in a thread: what is there may have gone by the end."""
        with _repeat(LOOK_SECONDS, self.is_alone):
            yield


@contextmanager
def report_waiting() -> Iterator[None]:
    """Logs for whom training on this machine waits, while active: processes that train may have no console for it."""
    with _repeat(1.0, _Reporter().look):
        yield


class _Reporter:
    """Says when a wait begins, and when it is over."""

    def __init__(self) -> None:
        self._said: str | None = None

    def look(self) -> None:
        wait = _describe_wait_of_training()
        if wait != self._said:
            log.info("%s", wait or "training no longer waits for a measurement")
        self._said = wait


def _describe_wait_of_training() -> str | None:
    with suppress(OSError):
        for name in ("room", "turnstile"):
            with _open_lock(name) as lock:
                if wait := lock.describe_present_wait(_TRAINING_WAITS):
                    return wait
    return None


@contextmanager
def _repeat(seconds: float, look: Callable[[], object]) -> Iterator[None]:
    """Calls `look` in a thread at regular intervals, while active."""
    stop = threading.Event()

    def keep_looking() -> None:
        while not stop.wait(seconds):
            look()

    thread = threading.Thread(target=keep_looking, name="alphaprune-look", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _open_lock(name: str) -> LockFile:
    return LockFile(lock_folder() / f"alphaprune-{name}.lock", longest_wait_seconds())

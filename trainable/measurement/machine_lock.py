"""Who may compute on this machine: any number of epochs of training, or one measurement alone.

Two lock files in /tmp, which all searches on the machine share, whichever user runs them (but not across containers).
Training holds `room` shared for an epoch; a measurement holds it alone. Both enter through `turnstile`, which a
measurement keeps: no new epoch begins while it waits for the running ones, so it waits for one epoch at most.

The environment variable ALPHAPRUNE_LOCK_DIR names another folder for them. It is read each time a lock is taken.
Processes with different folders do not wait for each other, so searches should leave it unset; the tests use it.
"""

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

# /tmp, if there is one, even if TMPDIR says otherwise: a cluster's scheduler gives each of its jobs its own TMPDIR.
DEFAULT_FOLDER = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())
FOLDER_VARIABLE = "ALPHAPRUNE_LOCK_DIR"
MODE = 0o644


def lock_folder() -> Path:
    """The folder of the lock files: what ALPHAPRUNE_LOCK_DIR says, else the machine's temporary folder."""
    return Path(os.environ.get(FOLDER_VARIABLE) or DEFAULT_FOLDER)


@contextmanager
def training_allowed() -> Iterator[None]:
    """For an epoch of training: waits while something is measured. If locks are not available, does not wait."""
    with ExitStack() as stack:
        with suppress(OSError):  # training must not fail because of what somebody may measure
            turnstile, room = stack.enter_context(_open_lock("turnstile")), stack.enter_context(_open_lock("room"))
            fcntl.flock(turnstile, fcntl.LOCK_EX)
            fcntl.flock(room, fcntl.LOCK_SH)
            fcntl.flock(turnstile, fcntl.LOCK_UN)
        yield


@contextmanager
def measuring_alone(on_wait: Callable[[], None] = lambda: None) -> Iterator[bool]:
    """Keeps all else on this machine from training or being measured; calls `on_wait` if it has to wait for that.

    Yields:
        Whether it succeeded. If locks are not available it did not: it has not waited, and what else runs is unknown.
    """
    with ExitStack() as stack:
        try:
            for file in [stack.enter_context(_open_lock(name)) for name in ("turnstile", "room")]:
                _take_lock(file, on_wait)
            alone = True
        except OSError:
            alone = False
        yield alone


def _take_lock(file: int, on_wait: Callable[[], None]) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        on_wait()
        fcntl.flock(file, fcntl.LOCK_EX)


@contextmanager
def _open_lock(name: str) -> Iterator[int]:
    # Read-only, which is enough for a lock: the file may be another user's. So may a link of that name, to anything.
    path, flags = lock_folder() / f"alphaprune-{name}.lock", os.O_RDONLY | os.O_NOFOLLOW
    try:
        file = os.open(path, flags | os.O_CREAT | os.O_EXCL, MODE)
    except FileExistsError:
        file = os.open(path, flags)
    else:
        os.fchmod(file, MODE)  # the umask may have kept other users out
    try:
        yield file
    finally:
        os.close(file)

"""Who computes on this machine: training, as many as there are, or one measurement, alone.

Two lock files in the machine's temporary folder, which all searches of the machine share (but not what runs in another
container). Training holds `room` shared for an epoch; a measurement holds it alone. Both enter through `turnstile`,
which a measurement keeps: no new epoch begins while it waits for those that run, so it waits for an epoch at most.
"""

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

FOLDER = Path(tempfile.gettempdir())


@contextmanager
def training() -> Iterator[None]:
    """An epoch of training: waits while something is measured. Without a lock file to be had it just goes on."""
    with ExitStack() as stack:
        try:
            turnstile, room = stack.enter_context(_opened("turnstile")), stack.enter_context(_opened("room"))
        except OSError:  # what trains must not fail for what somebody may measure
            yield
            return
        fcntl.flock(turnstile, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_SH)
        fcntl.flock(turnstile, fcntl.LOCK_UN)
        yield


@contextmanager
def measuring(on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Nothing else trains or is measured on this machine meanwhile; `on_wait` is called if that has to be waited for.

    Raises:
        OSError: if there can be no lock file.
    """
    with _opened("turnstile") as turnstile, _opened("room") as room:
        for file in (turnstile, room):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_wait()
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _opened(name: str) -> Iterator[int]:
    # Read-only, which is enough for a lock: the file may be another user's.
    path = FOLDER / f"alphaprune-{name}.lock"
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        file = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        yield file
    finally:
        os.close(file)

"""A lock file that all users of a machine share, and how long they wait for whoever holds it.

Whatever other users put in its place is only opened if it is a regular file, and never read.
"""

import fcntl
import logging
import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from records.files import open_file
from trainable.measurement.lock_holders import describe_holders, find_holders

log = logging.getLogger("alphaprune")

MODE = 0o644
# Whoever waits for longer than this says so.
QUIET_SECONDS = 3.0


class LockFile:
    """An open lock file; closing it releases its lock."""

    def __init__(self, path: Path, longest_wait_seconds: float) -> None:
        """Opens the file, which is created if it is missing.

        Args:
            path: of the file.
            longest_wait_seconds: how long this user's processes wait for a process that has the lock.

        Raises:
            OSError: if it cannot be opened or is not a regular file.
        """
        self._path, self._longest_wait_seconds = path, longest_wait_seconds
        # Read-only, which is enough for a lock: the file may be another user's. So may a link of that name.
        flags = os.O_RDONLY | os.O_NOFOLLOW
        try:
            self._file = os.open(path, flags | os.O_CREAT | os.O_EXCL, MODE)
        except FileExistsError:
            self._file = open_file(path, flags)
        else:
            os.fchmod(self._file, MODE)  # the umask may have kept other users out

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._file)

    def try_take(self, operation: int) -> bool:
        """Takes the lock if it is free; operation: fcntl.LOCK_SH or LOCK_EX. Raises OSError if there are no locks."""
        try:
            fcntl.flock(self._file, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def take(self, operation: int, purpose: str) -> bool:
        """Takes the lock, if necessary after waiting for it; False if the longest wait is over before.

        Args:
            operation: as in try_take.
            purpose: what waits for what; it is logged if that takes more than a few seconds.
        """
        is_taken = self.try_take(operation) or self._wait(operation, purpose)
        if is_taken:
            self._remove_mark()
        return is_taken

    def share(self) -> None:
        """Takes the lock shared if nobody holds it alone for longer than it takes to look whether it is free."""
        for _ in range(10):
            if self.try_take(fcntl.LOCK_SH):
                return
            time.sleep(0.01)

    def release(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def describe_present_wait(self, purpose: str) -> str | None:
        """For whom this user's processes are waiting here, if they have been for more than a few seconds."""
        if self.try_take(fcntl.LOCK_SH):
            self.release()
            return None
        holders = find_holders(self._file)
        since = self._read_mark(holders)
        if since is None or not QUIET_SECONDS <= time.time() - since <= self._longest_wait_seconds:
            return None
        return describe_wait(purpose, holders, since, self._longest_wait_seconds)

    def _wait(self, operation: int, purpose: str) -> bool:
        holders = find_holders(self._file)
        try:
            return self._wait_for(holders, self._first_wait(holders), operation, purpose)
        except BaseException:  # an interruption: whoever comes later has not waited yet
            self._remove_mark()
            raise

    def _wait_for(self, holders: Sequence[int], since: float, operation: int, purpose: str) -> bool:
        end = since + self._longest_wait_seconds
        if end <= time.time():
            return False
        taken = self._take_in_background(operation)
        if taken.wait(min(QUIET_SECONDS, end - time.time())):
            return True
        log.info("%s", describe_wait(purpose, holders, since, self._longest_wait_seconds))
        if taken.wait(max(0.0, end - time.time())):
            log.info("the wait is over after %.0f s", time.time() - since)
            return True
        who, seconds = describe_holders(holders), self._longest_wait_seconds
        log.warning("gave up waiting after %.0f s: %s still has the machine", seconds, who)
        return False

    def _take_in_background(self, operation: int) -> threading.Event:
        """Is set once the lock is taken; if the file has been closed by then, the lock is released at once."""
        taken, copy = threading.Event(), os.dup(self._file)

        def take() -> None:
            with suppress(OSError):
                fcntl.flock(copy, operation)
                taken.set()
            os.close(copy)

        threading.Thread(target=take, name="alphaprune-lock", daemon=True).start()
        return taken

    @property
    def _mark(self) -> Path:
        return self._path.with_name(f"{self._path.stem}-wait-{os.getuid()}")

    def _remove_mark(self) -> None:
        with suppress(OSError):
            self._mark.unlink(missing_ok=True)

    def _first_wait(self, holders: Sequence[int]) -> float:
        """When a process of this user first waited for the present holder, in seconds since the epoch.

        That is the time of a file, which whoever gets the lock removes: so a holder that does not give it up costs a
        search one wait, and not one in each process and epoch.
        """
        since = self._read_mark(holders)
        if since is None:
            since = time.time()
            with suppress(OSError):  # another user may have put something there
                self._remove_mark()
                mark = os.open(self._mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
                os.write(mark, _name_holder(holders))
                os.close(mark)
        return since

    def _read_mark(self, holders: Sequence[int]) -> float | None:
        with suppress(OSError):
            mark = open_file(self._mark, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                status = os.fstat(mark)
                if status.st_uid == os.getuid() and os.read(mark, 32) == _name_holder(holders):
                    return min(status.st_mtime, time.time())
            finally:
                os.close(mark)
        return None


def _name_holder(holders: Sequence[int]) -> bytes:
    return str(holders[0] if holders else 0).encode()


def describe_wait(purpose: str, holders: Sequence[int], since: float, longest_wait_seconds: float) -> str:
    """What waits, for whom, since when, and for how long at most, in one line."""
    began = datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds")
    return (
        f"{purpose}: {describe_holders(holders)} has had the machine since {began}; the wait ends after "
        f"{longest_wait_seconds:g} s at the latest"
    )

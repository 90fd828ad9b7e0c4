"""One driver per experiment at a time: the lock that it holds, and the record (records.driver) that it keeps."""

import fcntl
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from typing import Any

from records.driver import (
    BEAT_SECONDS,
    FILE_NAME,
    LOCK_NAME,
    Command,
    DriverRecord,
    is_beating,
    last_beat,
    name_user,
    read_driver,
)
from records.experiment import ExperimentFolder
from records.files import is_full_disk, now, open_file, write_json
from search.interruption import Interruption, interrupt, last_words

log = logging.getLogger("alphaprune")

# `alphaprune status` holds the lock for a moment to see whether it is free.
LOCK_SECONDS = 1.0


@contextmanager
def hold_driver_lock(folder: ExperimentFolder) -> Iterator[None]:
    """Holds the experiment's lock; the operating system releases it when this process ends, however it ends.

    Raises:
        ValueError: if another driver holds it or is alive according to its record, naming it; if the file system has no
            locks, or the lock file is none.
    """
    path = folder.path / LOCK_NAME
    try:
        file = open_file(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise ValueError(f"{path} cannot be used: {error.strerror}; remove it") from error
    try:
        _take_lock(file, folder)
        _refuse_living_driver(folder)
        yield
    finally:
        os.close(file)


def _take_lock(file: int, folder: ExperimentFolder) -> None:
    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > end:
                raise _already_driven(folder, read_driver(folder)) from error
            time.sleep(0.1)
        except OSError as error:
            raise ValueError(
                f"--storage must be on a file system that supports locks (flock), but {str(folder.path.parent)!r}: "
                f"{error.strerror}"
            ) from error


def _refuse_living_driver(folder: ExperimentFolder) -> None:
    """Raises ValueError if a driver that does not hold the lock is alive: it touches its record while this waits."""
    driver, beat = read_driver(folder), last_beat(folder)
    if is_beating(folder, driver):
        log.info("%r was being run by %s a moment ago; waiting to see whether it still is", folder.path.name, driver)
    while is_beating(folder, driver):
        if last_beat(folder) != beat:
            raise _already_driven(folder, driver)
        time.sleep(0.2)


def _already_driven(folder: ExperimentFolder, driver: DriverRecord | None) -> ValueError:
    who = "another process" if driver is None or driver.ended is not None else str(driver)
    return ValueError(f"{folder.path.name!r} is already being run by {who}; wait for it or stop it")


@contextmanager
def drive(folder: ExperimentFolder, command: Command = "resume", options: Sequence[str] = ()) -> Iterator["Driver"]:
    """Holds the experiment's lock and keeps its driver.json, which says what this process does and how that ended.

    If another driver takes over nevertheless, a command is interrupted; in Python, the next write to a trial that the
    other has started raises FencedError. A request that is refused (ValueError) before anything is done leaves the
    record as it was.

    Args:
        folder: of the experiment.
        command, options: what continues the work if it is interrupted; see DriverRecord.

    Raises: as hold_driver_lock.
    """
    with hold_driver_lock(folder):
        before, beat = read_driver(folder), last_beat(folder)
        try:
            searched = command == "measure" and before is not None and before.searched
            driver = Driver(folder, command, options, searched=searched)
        except OSError as error:
            if is_full_disk(error):
                raise
            raise ValueError(f"{folder.path / FILE_NAME} cannot be written: {error.strerror}; remove it") from error
        try:
            with driver.beat(), last_words(lambda interruption: driver.end(str(interruption))):
                try:
                    yield driver
                except BaseException as error:
                    if driver.has_begun or not isinstance(error, ValueError):
                        driver.end(" ".join(str(error).split()) or type(error).__name__)
                    raise
                driver.end()
        except ValueError:
            if not driver.has_begun:
                driver.restore(before, beat)  # when it no longer beats, which would look like another's record
            raise


class Driver:
    """This process as the driver of an experiment.

    Attributes:
        has_begun: whether it has done anything yet.
    """

    def __init__(self, folder: ExperimentFolder, command: Command, options: Sequence[str], *, searched: bool) -> None:
        self._folder, self._path = folder, folder.path / FILE_NAME
        self._writing = threading.Lock()
        self.has_begun = False
        self._record = DriverRecord(
            host=socket.gethostname(),
            pid=os.getpid(),
            user=name_user(os.getuid()),
            command=command,
            options=tuple(options),
            searched=searched,
        )
        self._write()

    def update(self, **changes: Any) -> None:
        """Changes fields of the record: something is done now."""
        with self._writing:
            self.has_begun, self._record = True, replace(self._record, **changes)
            self._write()

    def _write(self) -> None:
        write_json(self._path, asdict(self._record))

    def end(self, reason: str | None = None) -> None:
        """Records that this process no longer drives the experiment, once; reason: why, if it has not finished."""
        if self._record.ended is None and self._find_successor() is None:
            with suppress(OSError):  # on a full disk, for one
                self.update(ended=now(), reason=reason)

    def restore(self, before: DriverRecord | None, beat: float | None) -> None:
        """Puts the record back that was there before, and its time."""
        if before is None or beat is None:
            self._path.unlink(missing_ok=True)
        else:
            write_json(self._path, asdict(before))
            os.utime(self._path, (beat, beat))

    @contextmanager
    def beat(self) -> Iterator[None]:
        """Touches the record every BEAT_SECONDS in a thread, while active."""
        stop = threading.Event()
        thread = threading.Thread(target=self._keep_beating, args=(stop,), name="alphaprune-driver", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _keep_beating(self, stop: threading.Event) -> None:
        while not stop.wait(BEAT_SECONDS):
            if (successor := self._find_successor()) is not None:
                interrupt(create_takeover(self._folder, str(successor)))
                return
            with suppress(OSError):
                try:
                    os.utime(self._path)
                except FileNotFoundError:
                    self._write()

    def _find_successor(self) -> DriverRecord | None:
        """The driver that has taken over the experiment, if one has."""
        found = read_driver(self._folder)
        return None if found is None or found.is_same_driver(self._record) else found


def create_takeover(folder: ExperimentFolder, successor: str) -> Interruption:
    """What ends a driver that is no longer the only one."""
    return Interruption(
        f"{folder.path.name!r} is now being run by {successor}, so this process ends and leaves it to the other",
        1,
        can_resume=False,
    )

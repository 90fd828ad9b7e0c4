"""One driver per experiment, and what it records; more drivers in processes of their own are in test_kills.py."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest
from searches import wait_for

import records.driver
from records.driver import FILE_NAME, LOCK_NAME, DriverRecord, name_user, read_driver
from records.experiment import ExperimentFolder
from records.files import write_json
from search.interruption import Interruption
from search.setup import driver_lock
from search.setup.driver_lock import drive, hold_driver_lock

# Drives an experiment until it is interrupted, and touches its record often.
DRIVES = """
import sys, time
from pathlib import Path
from records.experiment import ExperimentFolder
from search.interruption import allow_interruption, last_words
from search.setup import driver_lock

driver_lock.BEAT_SECONDS = 0.1
with allow_interruption(), last_words(print), driver_lock.drive(ExperimentFolder(Path(sys.argv[1]))):
    print("there", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    return ExperimentFolder(tmp_path)


@contextmanager
def driving(folder: ExperimentFolder) -> Iterator["subprocess.Popen[str]"]:
    """A process that drives the experiment."""
    command = [sys.executable, "-c", DRIVES, str(folder.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "there\n"
            yield process
        finally:
            process.kill()


def recorded(folder: ExperimentFolder) -> DriverRecord:
    record = read_driver(folder)
    assert record is not None
    return record


def test_a_second_driver_is_refused_until_the_first_is_done(folder: ExperimentFolder) -> None:
    name, host = folder.path.name, socket.gethostname()
    second = pytest.raises(
        ValueError, match=rf"^'{name}' is already being run by process {os.getpid()} on {host} since 2.*; wait for it"
    )
    with drive(folder), second, hold_driver_lock(folder):
        pass
    with hold_driver_lock(folder):
        pass


def test_a_second_driver_is_refused_even_if_the_first_is_unknown(folder: ExperimentFolder) -> None:
    """It has just taken the lock, or its disk is full."""
    second = pytest.raises(ValueError, match="is already being run by another process; ")
    with hold_driver_lock(folder), second, hold_driver_lock(folder):
        pass


def test_storage_without_locks_is_refused(folder: ExperimentFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file system here has flock, so the system's answer is faked."""

    def unsupported(file: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    refused = pytest.raises(ValueError, match=r"--storage must .* supports locks .*No locks available")
    with refused, hold_driver_lock(folder):
        pass


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["fifo", "folder"])
def test_a_lock_that_is_no_file_is_refused(folder: ExperimentFolder, make: Callable[[Path], None]) -> None:
    make(folder.path / LOCK_NAME)
    with pytest.raises(ValueError, match=rf"{LOCK_NAME} cannot be used: .*; remove it"), hold_driver_lock(folder):
        pass


def test_a_record_that_is_a_folder_is_refused(folder: ExperimentFolder) -> None:
    (folder.path / FILE_NAME).mkdir()
    with pytest.raises(ValueError, match=f"{FILE_NAME} cannot be written: Is a directory; remove it"), drive(folder):
        pass


def test_whoever_only_looks_whether_the_lock_is_free_keeps_nobody_out(folder: ExperimentFolder) -> None:
    with (folder.path / LOCK_NAME).open("w") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        threading.Timer(0.2, lambda: fcntl.flock(looking, fcntl.LOCK_UN)).start()
        with hold_driver_lock(folder):
            pass


def test_a_second_driver_is_refused_although_the_lock_file_is_gone(folder: ExperimentFolder) -> None:
    with driving(folder) as first:
        (folder.path / LOCK_NAME).unlink()
        refused = pytest.raises(ValueError, match=f"is already being run by process {first.pid} on ")
        with refused, drive(folder):
            pass
        assert first.poll() is None
        assert recorded(folder).pid == first.pid


def test_a_killed_driver_is_followed_at_once(folder: ExperimentFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records.driver, "SILENT_SECONDS", 1e9)
    with driving(folder) as first:
        first.kill()
        first.wait()
        (folder.path / LOCK_NAME).unlink()
        with drive(folder):
            pass


def write_driver_elsewhere(folder: ExperimentFolder) -> DriverRecord:
    record = DriverRecord(host="elsewhere", pid=7, user="ann")
    write_json(folder.path / FILE_NAME, asdict(record))
    return record


def test_a_driver_on_another_host_is_waited_for_until_it_is_silent(
    folder: ExperimentFolder, monkeypatch: pytest.MonkeyPatch, logged: Callable[[], list[str]]
) -> None:
    monkeypatch.setattr(records.driver, "SILENT_SECONDS", 1.0)
    record = write_driver_elsewhere(folder)
    with hold_driver_lock(folder):
        pass
    (said,) = logged()
    assert f"was being run by {record} a moment ago" in said


def test_a_driver_that_is_alive_on_another_host_keeps_others_out(folder: ExperimentFolder) -> None:
    write_driver_elsewhere(folder)
    threading.Timer(0.5, lambda: os.utime(folder.path / FILE_NAME)).start()
    with pytest.raises(ValueError, match="is already being run by process 7 on elsewhere"), hold_driver_lock(folder):
        pass


def test_a_driver_that_has_been_followed_ends_and_overwrites_nothing(folder: ExperimentFolder) -> None:
    """Locks did not reach, and it had been stopped for so long that it seemed to be dead."""
    with driving(folder) as first:
        record = write_driver_elsewhere(folder)
        assert first.wait(30) == 1
        assert first.stdout is not None
        name = folder.path.name
        assert first.stdout.read().startswith(f"{name!r} is now being run by {record}, so this process ends")
    assert recorded(folder) == record


def test_a_driver_touches_its_record_and_replaces_it_if_it_is_lost(folder: ExperimentFolder) -> None:
    path = folder.path / FILE_NAME
    with driving(folder) as first:
        os.utime(path, (1.0, 1.0))
        wait_for(lambda: path.stat().st_mtime > 1, what="a touch")
        path.unlink()
        wait_for(path.exists, what="the record")
        assert (recorded(folder).pid, recorded(folder).ended) == (first.pid, None)


def test_the_record_says_what_is_done_and_how_it_ended(folder: ExperimentFolder) -> None:
    with drive(folder, "measure", ["--top", "3"]) as driver:
        driver.update(to_measure=3, measured=1)
        during = recorded(folder)
    assert (during.host, during.pid, during.user) == (socket.gethostname(), os.getpid(), name_user(os.getuid()))
    assert (during.command, during.options, during.to_measure, during.measured) == ("measure", ("--top", "3"), 3, 1)
    assert during.ended is None
    assert recorded(folder).ended is not None
    assert recorded(folder).reason is None
    with pytest.raises(Interruption), drive(folder):
        raise Interruption("interrupted by SIGTERM", 143)
    assert recorded(folder).reason == "interrupted by SIGTERM"


def test_the_record_says_what_interrupted_the_driver(folder: ExperimentFolder) -> None:
    with driving(folder) as first:
        first.send_signal(signal.SIGTERM)
        assert first.wait(30) == 128 + signal.SIGTERM
    assert recorded(folder).reason == "interrupted by SIGTERM"
    assert recorded(folder).ended is not None


def test_the_first_reason_for_the_end_is_kept(folder: ExperimentFolder) -> None:
    """The main thread may still fail because of what interrupts it, such as the end of its cluster."""
    with drive(folder) as driver:
        driver.end("interrupted by SIGTERM")
        driver.end("the cluster is gone")
    assert recorded(folder).reason == "interrupted by SIGTERM"


def test_a_killed_driver_leaves_a_record_that_has_not_ended(folder: ExperimentFolder) -> None:
    with driving(folder) as first:
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert (recorded(folder).pid, recorded(folder).ended, recorded(folder).reason) == (first.pid, None, None)


def test_a_refused_request_leaves_the_record_as_it_was(folder: ExperimentFolder) -> None:
    with pytest.raises(ValueError, match="refused"), drive(folder):
        raise ValueError("refused")
    assert not (folder.path / FILE_NAME).exists()
    with drive(folder) as driver:
        driver.update(searched=True)
    before = recorded(folder)
    os.utime(folder.path / FILE_NAME, (1.0, 1.0))
    with pytest.raises(ValueError, match="refused"), drive(folder):
        raise ValueError("refused")
    assert recorded(folder) == before
    assert records.driver.last_beat(folder) == 1


def test_a_refused_driver_does_not_take_the_record_that_it_restores_for_a_successor(
    folder: ExperimentFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Interruption] = []
    monkeypatch.setattr(driver_lock, "interrupt", found.append)
    monkeypatch.setattr(driver_lock, "BEAT_SECONDS", 0.001)
    restore = driver_lock.Driver.restore

    def restore_and_wait(driver: driver_lock.Driver, before: DriverRecord | None, beat: float | None) -> None:
        restore(driver, before, beat)
        time.sleep(0.05)

    monkeypatch.setattr(driver_lock.Driver, "restore", restore_and_wait)
    write_json(folder.path / FILE_NAME, asdict(DriverRecord(host="h", pid=1, user="u", command="resume", ended="now")))
    with pytest.raises(ValueError, match="refused"), drive(folder):
        raise ValueError("refused")
    assert found == []


def test_a_refusal_after_the_search_is_recorded(folder: ExperimentFolder) -> None:
    """No cluster answers that could measure, for one."""
    with pytest.raises(ValueError, match="refused"), drive(folder) as driver:  # noqa: PT012
        driver.update(searched=True)
        raise ValueError("refused")
    assert (recorded(folder).searched, recorded(folder).reason) == (True, "refused")


def test_a_measurement_remembers_that_everything_was_searched(folder: ExperimentFolder) -> None:
    with drive(folder) as driver:
        driver.update(searched=True)
    with drive(folder, "measure"):
        assert recorded(folder).searched

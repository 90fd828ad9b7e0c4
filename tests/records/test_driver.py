"""Who runs an experiment, as the lock and the record tell; real processes."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from records.driver import (
    DEFAULT_STORAGE,
    FILE_NAME,
    LOCK_NAME,
    SILENT_SECONDS,
    DriverRecord,
    format_command,
    format_options,
    name_user,
    read_driver_state,
)
from records.experiment import ExperimentFolder
from records.files import write_json


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    return ExperimentFolder(tmp_path)


@pytest.fixture
def ended_pid() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


@pytest.fixture
def living_pid() -> Iterator[int]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process.pid
        process.send_signal(signal.SIGKILL)


def write_driver(folder: ExperimentFolder, *, host: str = "", pid: int = 1, ended: str | None = None) -> DriverRecord:
    record = DriverRecord(host=host or socket.gethostname(), pid=pid, user="ann", options=("--local",), ended=ended)
    write_json(folder.path / FILE_NAME, asdict(record))
    return record


def test_nobody_runs_an_experiment_of_which_nothing_is_recorded(folder: ExperimentFolder) -> None:
    state = read_driver_state(folder)
    assert (state.record, state.is_alive, state.last_seen) == (None, False, None)


def test_whoever_holds_the_lock_runs_it(folder: ExperimentFolder) -> None:
    with (folder.path / LOCK_NAME).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert read_driver_state(folder).is_alive
    assert not read_driver_state(folder).is_alive


def test_a_living_process_with_a_fresh_record_runs_it_even_without_the_lock(
    folder: ExperimentFolder, living_pid: int, ended_pid: int
) -> None:
    record = write_driver(folder, pid=living_pid)
    assert read_driver_state(folder).record == record
    assert read_driver_state(folder).is_alive
    write_driver(folder, pid=ended_pid)
    assert not read_driver_state(folder).is_alive
    write_driver(folder, pid=living_pid, ended="2026-01-01T00:00:00+00:00")
    assert not read_driver_state(folder).is_alive


def test_a_process_of_another_host_lives_as_long_as_it_touches_its_record(folder: ExperimentFolder) -> None:
    write_driver(folder, host="elsewhere", pid=2**22)
    state = read_driver_state(folder)
    assert state.is_alive
    assert state.last_seen is not None
    os.utime(folder.path / FILE_NAME, (state.last_seen - SILENT_SECONDS - 1,) * 2)
    assert not read_driver_state(folder).is_alive


@pytest.mark.parametrize("content", ["{", "[]", '{"host": 3}', '{"host": "a", "pid": -1, "user": "b"}'])
def test_a_damaged_record_is_none(folder: ExperimentFolder, content: str) -> None:
    (folder.path / FILE_NAME).write_text(content)
    assert read_driver_state(folder).record is None


def test_fields_of_a_later_version_are_ignored(folder: ExperimentFolder) -> None:
    record = write_driver(folder)
    write_json(folder.path / FILE_NAME, {**asdict(record), "mood": "good"})
    assert read_driver_state(folder).record == record


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["fifo", "folder"])
def test_a_lock_that_is_no_file_is_not_opened(folder: ExperimentFolder, make: Callable[[Path], None]) -> None:
    make(folder.path / LOCK_NAME)
    assert not read_driver_state(folder).is_alive


def test_options_are_those_that_were_given() -> None:
    assert format_options(address=None, local=False, tensorboard=True) == ("--tensorboard",)
    assert format_options(gpus_per_trial=0.5, top=3) == ("--gpus-per-trial", "0.5", "--top", "3")


def test_a_command_can_be_copied_into_a_shell() -> None:
    folder = ExperimentFolder(DEFAULT_STORAGE / "demo")
    assert format_command(folder, "resume", ("--local",)) == "alphaprune resume demo --local"
    other = ExperimentFolder(Path("my results") / "demo")
    assert format_command(other, "rank") == "alphaprune rank demo --storage 'my results'"


def test_a_user_without_a_name_is_a_number() -> None:
    assert name_user(2**31 - 7) == str(2**31 - 7)

"""Training and measuring keep out of each other's way, across processes, even when one is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trainable.measurement import machine_lock

# A test that waits for a lock that never comes fails at this deadline.
pytestmark = pytest.mark.timeout(30)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(machine_lock.FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


@contextmanager
def process(folder: Path, code: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that runs `code` with the locks in `folder`; it has already printed its line."""
    lines = f"import time\nfrom trainable.measurement import machine_lock\n{code}"
    environment = {**os.environ, machine_lock.FOLDER_VARIABLE: str(folder)}
    command = [sys.executable, "-c", lines]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as started:
        try:
            assert started.stdout is not None
            assert started.stdout.readline() == "there\n"
            yield started
        finally:
            started.kill()


HOLDS = "with machine_lock.{0}():\n    print('there', flush=True)\n    time.sleep({1})"
LOOPS = "print('there', flush=True)\nwhile True:\n    with machine_lock.training_allowed():\n        time.sleep(0.05)"


def seconds(enter: Callable[[], object]) -> float:
    began = time.monotonic()
    enter()
    return time.monotonic() - began


def train() -> None:
    with machine_lock.training_allowed():
        pass


def measure() -> list[str]:
    waited: list[str] = []
    with machine_lock.measuring_alone(on_wait=lambda: waited.append("waited")) as alone:
        assert alone
    return waited


def test_epochs_run_side_by_side(folder: Path) -> None:
    with process(folder, HOLDS.format("training_allowed", 60)):
        assert seconds(train) < 30


def test_a_measurement_waits_for_the_epoch_that_runs(folder: Path) -> None:
    with process(folder, HOLDS.format("training_allowed", 1)):
        assert measure() == ["waited"]
    assert measure() == []


@pytest.mark.parametrize("other", [train, measure])
def test_nothing_else_begins_while_something_is_measured(folder: Path, other: Callable[[], object]) -> None:
    with process(folder, HOLDS.format("measuring_alone", 1)):
        began = time.monotonic()
        other()
        assert time.monotonic() - began > 0.5


@pytest.mark.timeout(60)
def test_epochs_that_always_overlap_do_not_keep_a_measurement_out(folder: Path) -> None:
    with process(folder, LOOPS), process(folder, LOOPS), process(folder, LOOPS):
        assert seconds(measure) < 20


@pytest.mark.parametrize("holder", ["training_allowed", "measuring_alone"])
def test_a_killed_process_holds_nothing(folder: Path, holder: str) -> None:
    with process(folder, HOLDS.format(holder, 60)) as held:
        held.send_signal(signal.SIGKILL)
        held.wait()
        assert measure() == []


def missing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(machine_lock.FOLDER_VARIABLE, str(folder / "missing"))


def a_link(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else may have put it there, to get at a file that is not theirs."""
    (folder / "private").touch(0o600)
    (folder / "alphaprune-room.lock").symlink_to(folder / "private")


def without_locks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: int, operation: int) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr("fcntl.flock", refuse)


@pytest.mark.parametrize("spoil", [missing, a_link, without_locks])
def test_without_locks_both_continue_and_measuring_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path, pytest.MonkeyPatch], None]
) -> None:
    spoil(folder, monkeypatch)
    train()
    with machine_lock.measuring_alone() as alone:
        assert not alone
    assert [path.stat().st_mode & 0o777 for path in folder.glob("private")] in ([], [0o600])


def test_the_locks_are_for_every_user_whatever_the_umask(folder: Path) -> None:
    before = os.umask(0o077)
    try:
        train()
    finally:
        os.umask(before)
    files = sorted(folder.iterdir())
    assert [path.name for path in files] == ["alphaprune-room.lock", "alphaprune-turnstile.lock"]
    assert [path.stat().st_mode & 0o777 for path in files] == [0o644, 0o644]


def test_a_temporary_folder_of_its_own_gives_a_job_no_locks_of_its_own(tmp_path: Path) -> None:
    """Slurm gives each job one."""
    environment = {name: value for name, value in os.environ.items() if name != machine_lock.FOLDER_VARIABLE}
    code = "from trainable.measurement import machine_lock; print(machine_lock.lock_folder())"
    folders = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**environment, "TMPDIR": str(folder)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for folder in (tmp_path, tmp_path.parent)
    ]
    assert folders[0] == folders[1] == f"{machine_lock.DEFAULT_FOLDER}\n"


def test_the_tests_do_not_wait_for_a_measurement_elsewhere(
    folder: Path, session_locks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(machine_lock.FOLDER_VARIABLE, str(session_locks))
    assert session_locks not in (folder, machine_lock.DEFAULT_FOLDER)
    with process(folder, HOLDS.format("measuring_alone", 60)):
        train()
        measure()
    assert sorted(path.name for path in session_locks.iterdir()) == [
        "alphaprune-room.lock",
        "alphaprune-turnstile.lock",
    ]


def test_an_error_inside_is_passed_on_once(folder: Path) -> None:
    with pytest.raises(OSError, match="mine"), machine_lock.training_allowed():
        raise OSError("mine")

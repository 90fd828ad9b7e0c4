"""Training and measuring keep out of each other's way, across processes, but nobody waits for another forever."""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from searches import wait_for

from records.driver import name_user
from trainable.measurement import lock_file, machine_lock

# A test that waits for a lock that never comes fails at this deadline.
pytestmark = pytest.mark.timeout(30)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(machine_lock.FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """What has been logged; whoever waits says so soon."""
    monkeypatch.setattr(lock_file, "QUIET_SECONDS", 0.1)
    caplog.set_level(logging.INFO, "alphaprune")
    return lambda: caplog.messages


@contextmanager
def process(folder: Path, code: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that runs `code` with the locks in `folder`; it has already printed its line."""
    lines = f"import fcntl, os, sys, time\nfrom trainable.measurement import machine_lock\n{code}"
    environment = {**os.environ, machine_lock.FOLDER_VARIABLE: str(folder)}
    command = [sys.executable, "-c", lines]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as started:
        try:
            assert started.stdout is not None
            assert started.stdout.readline() == "there\n"
            yield started
        finally:
            started.kill()


HOLDS = "with machine_lock.{0}():\n    print('there', flush=True)\n    time.sleep({1})"
MEASURES = """
with machine_lock.measuring_alone() as was_alone:
    print("there", flush=True)
    input()
    print(was_alone(), flush=True)
"""
# Whoever may read the file can do that; {0} names the lock.
BLOCKS = """
file = os.open(os.path.join(os.environ["ALPHAPRUNE_LOCK_DIR"], "alphaprune-{0}.lock"), os.O_RDONLY | os.O_CREAT)
fcntl.flock(file, fcntl.LOCK_EX)
print("there", flush=True)
time.sleep(60)
"""
LOOPS = "print('there', flush=True)\nwhile True:\n    with machine_lock.training_allowed():\n        time.sleep(0.05)"


def seconds(enter: Callable[[], object]) -> float:
    began = time.monotonic()
    enter()
    return time.monotonic() - began


def train() -> None:
    with machine_lock.training_allowed():
        pass


def measure() -> bool:
    with machine_lock.measuring_alone() as was_alone:
        return was_alone()


def was_alone(measuring: "subprocess.Popen[str]") -> bool:
    """What a process that MEASURES says."""
    assert measuring.stdin is not None
    assert measuring.stdout is not None
    measuring.stdin.write("\n")
    measuring.stdin.flush()
    return measuring.stdout.readline() == "True\n"


def describe(holder: "subprocess.Popen[str]") -> str:
    return f"process {holder.pid} on {socket.gethostname()} (user {name_user(os.getuid())})"


def test_epochs_run_side_by_side(folder: Path) -> None:
    with process(folder, HOLDS.format("training_allowed", 60)):
        assert seconds(train) < 30


def test_a_measurement_waits_for_the_epoch_that_runs(folder: Path, logged: Callable[[], list[str]]) -> None:
    with process(folder, HOLDS.format("training_allowed", 1)) as training:
        assert measure()
    waiting, over = logged()
    assert waiting.startswith("waiting for the training on this machine to pause: ")
    assert describe(training) in waiting
    assert "the wait is over" in over
    assert measure()
    assert len(logged()) == 2


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
def test_a_killed_process_holds_nothing(folder: Path, holder: str, logged: Callable[[], list[str]]) -> None:
    with process(folder, HOLDS.format(holder, 60)) as held:
        held.send_signal(signal.SIGKILL)
        held.wait()
        assert measure()
        assert logged() == []


def missing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(machine_lock.FOLDER_VARIABLE, str(folder / "missing"))


def a_link(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else may have put it there, to get at a file that is not theirs."""
    (folder / "private").touch(0o600)
    (folder / "alphaprune-room.lock").symlink_to(folder / "private")


def a_fifo(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(folder / "alphaprune-turnstile.lock")


def a_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "alphaprune-room.lock").mkdir()


def without_locks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: int, operation: int) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr("fcntl.flock", refuse)


@pytest.mark.parametrize("spoil", [missing, a_link, a_fifo, a_folder, without_locks])
def test_without_locks_both_continue_and_measuring_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path, pytest.MonkeyPatch], None]
) -> None:
    spoil(folder, monkeypatch)
    train()
    assert not measure()
    assert [path.stat().st_mode & 0o777 for path in folder.glob("private")] in ([], [0o600])


def test_the_locks_are_for_every_user_whatever_the_umask(folder: Path) -> None:
    before = os.umask(0o077)
    try:
        measure()
    finally:
        os.umask(before)
    files = sorted(folder.iterdir())
    assert [path.name for path in files] == [f"alphaprune-{name}.lock" for name in ("beside", "room", "turnstile")]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o644}


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
    assert {path.name for path in session_locks.iterdir()} == {
        "alphaprune-beside.lock",
        "alphaprune-room.lock",
        "alphaprune-turnstile.lock",
    }


def test_an_error_inside_is_passed_on_once(folder: Path) -> None:
    with pytest.raises(OSError, match="mine"), machine_lock.training_allowed():
        raise OSError("mine")


def test_training_that_waits_says_for_whom(folder: Path, logged: Callable[[], list[str]]) -> None:
    with process(folder, HOLDS.format("measuring_alone", 1)) as measuring:
        train()
    waiting, over = logged()
    assert waiting.startswith(
        f"training is waiting for a measurement: {describe(measuring)} has had the machine since 2"
    )
    assert waiting.endswith("the wait ends after 600 s at the latest")
    assert over.startswith("the wait is over after ")


@pytest.mark.parametrize("has_ended", [False, True])
def test_training_goes_on_after_the_longest_wait_and_the_measurement_notices(
    folder: Path, logged: Callable[[], list[str]], has_ended: bool
) -> None:
    with process(folder, MEASURES) as measuring, machine_lock.wait_at_most(0.3):
        with machine_lock.training_allowed():
            assert f"gave up waiting after 0 s: {describe(measuring)} still has the machine" in logged()[-1]
            time.sleep(16 * machine_lock.LOOK_SECONDS if has_ended else 0)
            assert has_ended or not was_alone(measuring)
        assert not has_ended or not was_alone(measuring)
    with process(folder, MEASURES) as measuring:
        assert was_alone(measuring)


def test_a_measurement_goes_on_after_the_longest_wait_and_says_that_it_was_not_alone(
    folder: Path, logged: Callable[[], list[str]]
) -> None:
    with process(folder, HOLDS.format("training_allowed", 60)) as training, machine_lock.wait_at_most(0.3):
        assert not measure()
        assert f"gave up waiting after 0 s: {describe(training)} still has the machine" in logged()[-1]


def test_two_measurements_at_once_both_say_so(folder: Path) -> None:
    measuring_beside = machine_lock.measuring_alone()
    with process(folder, MEASURES) as first, machine_lock.wait_at_most(0.3), measuring_beside as is_alone:
        assert not was_alone(first)
        assert not is_alone()


@pytest.mark.parametrize("name", ["turnstile", "room"])
def test_a_process_that_never_gives_up_the_lock_is_waited_for_once(
    folder: Path, logged: Callable[[], list[str]], name: str
) -> None:
    """Not once in each epoch, and not once in each of a user's processes."""
    trains = (
        "import logging\nfrom trainable.measurement import lock_file\nlock_file.QUIET_SECONDS = 0\n"
        "logging.basicConfig(level='INFO', stream=sys.stdout)\nprint('there', flush=True)\n"
        "with machine_lock.training_allowed(): print('trained', flush=True)"
    )
    with machine_lock.wait_at_most(0.3):
        with process(folder, BLOCKS.format(name)):
            for _ in range(5):
                train()
            assert len(logged()) == 2
            with process(folder, trains) as other:
                assert other.stdout is not None
                assert other.stdout.readline() == "trained\n"
        train()
        assert len(logged()) == 2
        with process(folder, BLOCKS.format(name)):
            train()
            train()
        assert len(logged()) == 4


def test_a_lock_that_was_left_to_another_process_is_his(folder: Path, logged: Callable[[], list[str]]) -> None:
    """As `flock 9; sleep 60` in a shell leaves it: the program that took the lock has ended."""
    leaves = BLOCKS.format("turnstile").replace('print("there", flush=True)\ntime.sleep(60)\n', "") + (
        "import subprocess\nheir = subprocess.Popen(['sleep', '60'], pass_fds=[file], stdout=subprocess.DEVNULL)\n"
        "print('there', flush=True)\nprint(heir.pid, flush=True)\n"
    )
    with process(folder, leaves) as left, machine_lock.wait_at_most(0.3):
        assert left.stdout is not None
        heir = int(left.stdout.readline())
        left.wait()
        try:
            train()
            assert f"process {heir} on " in logged()[0]
        finally:
            os.kill(heir, signal.SIGKILL)


def test_what_others_put_in_the_place_of_our_files_is_left_alone(folder: Path) -> None:
    private = folder / "private"
    private.write_text("mine")
    (folder / f"alphaprune-turnstile-wait-{os.getuid()}").symlink_to(private)
    with process(folder, BLOCKS.format("turnstile")), machine_lock.wait_at_most(0.1):
        train()
    assert private.read_text() == "mine"


def test_a_wait_can_be_interrupted(folder: Path) -> None:
    waits = "print('there', flush=True)\nwith machine_lock.training_allowed(): print('trained', flush=True)"
    with process(folder, BLOCKS.format("turnstile")), process(folder, waits) as waiting:
        wait_for(lambda: list(folder.glob("*-wait-*")), what="a process that waits")
        for _ in range(5):
            waiting.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):  # Python drops an exception that is raised in a callback
                waiting.wait(4)
                break
        assert waiting.poll() == -signal.SIGINT
        assert not list(folder.glob("*-wait-*"))  # what comes later has not waited yet
        assert waiting.stdout is not None
        assert waiting.stdout.read() == ""


def test_waiting_of_processes_without_a_console_is_reported(folder: Path, logged: Callable[[], list[str]]) -> None:
    trains = (
        "print('there', flush=True)\ninput()\n"
        "with machine_lock.training_allowed(): print('trained', flush=True)\ninput()"
    )
    with process(folder, trains) as training, machine_lock.report_waiting():
        assert training.stdin is not None
        assert training.stdout is not None
        with process(folder, MEASURES) as measuring:
            training.stdin.write("\n")
            training.stdin.flush()
            wait_for(logged, what="a report")
        assert training.stdout.readline() == "trained\n"
        wait_for(lambda: len(logged()) == 2, what="the end of it")
    waiting, over = logged()
    assert f"training is waiting for a measurement: {describe(measuring)}" in waiting
    assert over == "training no longer waits for a measurement"


def test_a_measurement_for_which_nobody_waits_is_not_reported(folder: Path, logged: Callable[[], list[str]]) -> None:
    with process(folder, MEASURES), machine_lock.wait_at_most(0.3):
        with machine_lock.report_waiting():
            time.sleep(2.5)
        assert logged() == []
        train()
        before = len(logged())
        with machine_lock.report_waiting():
            time.sleep(2.5)
        assert len(logged()) == before


def test_the_longest_wait_is_set_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(machine_lock.WAIT_VARIABLE, raising=False)
    with machine_lock.wait_at_most(5), machine_lock.wait_at_most(7.5):
        assert machine_lock.longest_wait_seconds() == 7.5
    assert machine_lock.longest_wait_seconds() == machine_lock.LONGEST_WAIT_SECONDS
    assert machine_lock.WAIT_VARIABLE not in os.environ

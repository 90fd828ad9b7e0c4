"""Training and measuring keep out of each other's way, across processes, also when one is killed."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trainable import device_lock


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(device_lock, "FOLDER", tmp_path)
    return tmp_path


@contextmanager
def process(folder: Path, code: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that runs `code` with the locks in `folder`; it has reached the line it prints."""
    lines = f"""
import time
from pathlib import Path
from trainable import device_lock
device_lock.FOLDER = Path({str(folder)!r})
{code}
"""
    with subprocess.Popen([sys.executable, "-c", lines], stdout=subprocess.PIPE, text=True) as started:
        try:
            assert started.stdout is not None
            assert started.stdout.readline() == "there\n"
            yield started
        finally:
            started.kill()


HOLDS = "with device_lock.{0}():\n    print('there', flush=True)\n    time.sleep({1})"
LOOPS = "print('there', flush=True)\nwhile True:\n    with device_lock.training():\n        time.sleep(0.05)"


def seconds(enter: Callable[[], object]) -> float:
    began = time.monotonic()
    enter()
    return time.monotonic() - began


def train() -> None:
    with device_lock.training():
        pass


def measure() -> list[str]:
    waited: list[str] = []
    with device_lock.measuring(on_wait=lambda: waited.append("waited")):
        pass
    return waited


def test_epochs_run_side_by_side(folder: Path) -> None:
    with process(folder, HOLDS.format("training", 60)):
        train()


def test_a_measurement_waits_for_the_epoch_that_runs(folder: Path) -> None:
    with process(folder, HOLDS.format("training", 1)):
        assert measure() == ["waited"]
    assert measure() == []


@pytest.mark.parametrize("other", [train, measure])
def test_nothing_else_begins_while_something_is_measured(folder: Path, other: Callable[[], object]) -> None:
    with process(folder, HOLDS.format("measuring", 1)):
        began = time.monotonic()
        other()
        assert time.monotonic() - began > 0.5


def test_epochs_that_always_overlap_do_not_keep_a_measurement_out(folder: Path) -> None:
    with process(folder, LOOPS), process(folder, LOOPS), process(folder, LOOPS):
        assert seconds(measure) < 20


@pytest.mark.parametrize("holder", ["training", "measuring"])
def test_a_killed_process_holds_nothing(folder: Path, holder: str) -> None:
    with process(folder, HOLDS.format(holder, 60)) as held:
        held.send_signal(signal.SIGKILL)
        held.wait()
        measure()


def test_training_goes_on_where_no_lock_can_be_had(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_lock, "FOLDER", folder / "missing")
    train()
    with pytest.raises(OSError, match="missing"):
        measure()


def test_an_error_inside_is_passed_on_once(folder: Path) -> None:
    with pytest.raises(OSError, match="mine"), device_lock.training():
        raise OSError("mine")

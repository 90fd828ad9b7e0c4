"""Signals while the command starts: no traceback, and the exit code that a shell expects. Real processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from searches import wait_for

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SCRIPT = "import sys; from alphaprune.__main__ import main; sys.exit(main())"  # as pip writes it


@contextmanager
def starting(start: Sequence[str], storage: Path) -> Iterator["subprocess.Popen[str]"]:
    """A search that has just begun to start: it handles signals itself."""
    command = [sys.executable, *start, "run", "quickstart", "--local", "--storage", str(storage)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        try:
            wait_for(lambda: handles(process.pid, signal.SIGTERM), what="its handlers")
            yield process
        finally:
            process.kill()


def handles(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler of its own for the signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1], 16)
    return bool(caught >> (number - 1) & 1)


def check_end(start: Sequence[str], storage: Path, number: signal.Signals, after: float) -> None:
    with starting(start, storage) as process:
        time.sleep(after)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, (after, errors)
    assert "Traceback" not in errors, (after, errors)
    assert f"interrupted by {number.name}" in errors, (after, errors)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("start", [["-m", "alphaprune"], ["-c", SCRIPT]], ids=["module", "script"])
def test_a_signal_during_the_imports_ends_the_command(start: list[str], number: signal.Signals, tmp_path: Path) -> None:
    check_end(start, tmp_path, number, 0.1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_at_any_moment_of_the_start_ends_the_command(number: signal.Signals, tmp_path: Path) -> None:
    moments = range(0, 60, 5 if number == signal.SIGINT else 10)
    for moment in moments:
        check_end(["-m", "alphaprune"], tmp_path / f"{moment}", number, 0.05 * moment)


def test_nohup_is_respected(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # which a new process inherits
    try:
        with starting(["-m", "alphaprune"], tmp_path) as process:
            os.kill(process.pid, signal.SIGHUP)
            assert not handles(process.pid, signal.SIGHUP)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGTERM
    finally:
        signal.signal(signal.SIGHUP, before)

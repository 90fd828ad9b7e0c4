"""How a network is measured: what runs in which process, what is reused, what is reported. Nothing is measured here."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from records.measurement import Measurement, NetworkMeasurement, TestRun
from trainable.data.dataset import Split
from trainable.errors import TrialError
from trainable.measurement import latency, machine_lock, memory, protocol
from trainable.measurement.protocol import busy_fraction, measure_network, run_job

TEST = Split(np.zeros((2, 32, 32, 3), np.uint8), np.zeros(2, np.int64))


@pytest.fixture(autouse=True)
def _locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(machine_lock.FOLDER_VARIABLE, str(tmp_path))


@pytest.mark.parametrize(
    ("here", "jobs"),
    [
        ({}, 3),  # latency; memory and accuracy of the pruned network
        ({"host": "b"}, 5),  # those of the dense one, too
        ({"measured_on": "a GPU"}, 5),
    ],
)
def test_the_dense_network_is_measured_once_per_machine(
    monkeypatch: pytest.MonkeyPatch, here: dict[str, str], jobs: int
) -> None:
    """On a cluster, two trials may be measured on different nodes."""
    done: list[str] = []
    before = Measurement(
        host="a", measured_on="a CPU", dense=NetworkMeasurement(test=TestRun(accuracy=2.0, seconds=2.0))
    )

    def without_a_process(
        kind: str, *networks: Path, test: Path | None = None, result: type
    ) -> Measurement | NetworkMeasurement:
        done.append(kind)
        assert result is (Measurement if kind == "latency" else NetworkMeasurement)
        if kind == "latency":
            return replace(Measurement(host="a", measured_on="a CPU"), **here)
        return NetworkMeasurement(test=TestRun(samples=3) if kind == "memory" else TestRun(seconds=1.0))

    monkeypatch.setattr(protocol, "run_job", without_a_process)
    monkeypatch.setattr(protocol, "busy_fraction", lambda: 0.0)
    found = measure_network(Path("pruned"), Path("dense"), TEST, before=before)
    assert len(done) == jobs
    assert found.dense == (before.dense if jobs == 3 else found.pruned)
    # The process that samples memory is not the one that is timed.
    assert found.pruned == NetworkMeasurement(test=TestRun(samples=3, seconds=1.0))
    assert found.alone is True
    assert (found.busy, found.host) == (0.0, here.get("host", "a"))
    assert found.created is not None


def test_a_light_measurement_runs_the_test_set_only(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def without_a_process(kind: str, *networks: Path, test: Path, result: type) -> NetworkMeasurement:
        done.append(kind)
        with np.load(test) as saved:
            assert np.array_equal(saved["images"], TEST.images)
            assert np.array_equal(saved["labels"], TEST.labels)
        return NetworkMeasurement(test=TestRun(seconds=1.0))

    monkeypatch.setattr(protocol, "run_job", without_a_process)
    found = measure_network(Path("pruned"), Path("dense"), TEST, light=True)
    assert done == ["accuracy"]
    assert found == Measurement(created=found.created, alone=True, pruned=NetworkMeasurement(test=TestRun(seconds=1.0)))


def test_without_a_lock_it_is_still_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(machine_lock.FOLDER_VARIABLE, str(tmp_path / "missing"))
    monkeypatch.setattr(protocol, "run_job", lambda *args, test, result: NetworkMeasurement(test=TestRun()))
    assert measure_network(Path("pruned"), Path("dense"), TEST, light=True).alone is False


@pytest.fixture
def in_pythons_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Runs `code` instead of a job; it gets the job on stdin, and a path where it may leave something."""

    def use(code: str) -> Path:
        program, left = tmp_path / "python", tmp_path / "left"
        program.write_text(f"#!{sys.executable}\nimport json, os, sys, time\nleft = {str(left)!r}\n{code}\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))
        return left

    return use


@pytest.mark.usefixtures("one_cpu")
def test_the_allocator_keeps_memory_where_time_counts_and_gives_it_back_where_memory_counts(
    in_pythons_place: Callable[[str], Path], tmp_path: Path
) -> None:
    """As seen by a program in Python's place, which reports its environment and its job."""
    left = in_pythons_place("json.dump([dict(os.environ), json.load(sys.stdin)], open(left, 'w'))\nprint('{}')")
    for kind, own, other in (("memory", memory, latency), ("latency", latency, memory), ("accuracy", latency, memory)):
        assert run_job(kind, tmp_path, result=NetworkMeasurement) == NetworkMeasurement()
        environment, asked = json.loads(left.read_text())
        assert environment.items() >= own.ENVIRONMENT.items()
        assert not environment.keys() & (other.ENVIRONMENT.keys() - own.ENVIRONMENT.keys())
        assert (asked["kind"], asked["networks"], asked["threads"]) == (kind, [str(tmp_path)], 1)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("sys.exit('one\\ntwo: no such network')", "two: no such network"),
        ("os.kill(os.getpid(), 9)", "its process exited with -9"),
        ('print(\'{"macs": "many"}\')', "its process gave an invalid result"),
        ("print('a warning of some library')", "its process gave an invalid result"),
    ],
)
def test_a_failed_job_is_reported_with_its_network(
    in_pythons_place: Callable[[str], Path], tmp_path: Path, code: str, says: str
) -> None:
    in_pythons_place(code)
    with pytest.raises(TrialError, match=rf"^{tmp_path / 'network'} cannot be measured: {says}"):
        run_job("accuracy", tmp_path / "network", result=NetworkMeasurement)


def is_alive(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def test_a_job_does_not_outlive_whoever_waits_for_it(in_pythons_place: Callable[[str], Path], tmp_path: Path) -> None:
    left = in_pythons_place("open(left, 'w').write(f'{os.getpid()}\\n')\ntime.sleep(60)")

    def interrupt(*arguments: Any) -> None:
        if left.exists() and left.read_text().endswith("\n"):
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            run_job("accuracy", tmp_path, result=NetworkMeasurement)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    while is_alive(int(left.read_text())):
        assert time.monotonic() - began < 50, "the job is still running"
        time.sleep(0.05)


@pytest.mark.usefixtures("one_cpu")
def test_a_busy_cpu_is_seen() -> None:
    """One that this process may use, however idle the others are."""
    code = "print('there', flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as spinning:
        try:
            assert spinning.stdout is not None
            spinning.stdout.readline()
            assert busy_fraction() > 0.5
        finally:
            spinning.kill()

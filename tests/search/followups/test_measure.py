"""Trials measured one after another: what is taken over, what is said, what goes on; nothing is trained here."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from records.experiment import ExperimentFolder
from records.files import read_json
from records.trial import TrialRecord
from search.followups import measure as measuring
from search.followups.measure import BUSY, busy, job, measure_network, measure_trials
from trainable.data.dataset import Split
from trainable.device import cpus
from trainable.errors import LostError
from trainable.measurement import latency, machine_lock, memory

TEST = Split(np.zeros((2, 32, 32, 3), np.uint8), np.zeros(2, np.int64))
FOUND: dict[str, Any] = {"latency": [], "pruned": {"test": {"accuracy": 0.5}}, "host": "a", "measured_on": "a CPU"}


@pytest.fixture(autouse=True)
def _locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(machine_lock.FOLDER_VARIABLE, str(tmp_path))


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    """Three trials, the last of them a repeat."""
    folder = ExperimentFolder(tmp_path / "demo")
    for number in range(3):
        folder.trial(number).create(TrialRecord(number, {}, confirms=0 if number == 2 else None, state="complete"))
        folder.trial(number).model.mkdir()
    return folder


class Machine:
    """Measures without measuring: returns or raises what it is given, in turn; notes what it was given from before."""

    def __init__(self, *results: dict[str, Any] | Exception) -> None:
        self.results, self.before = list(results), list[Any]()

    def __call__(self, model: Path, dense: Path, test: Split, *, light: bool, before: Any) -> dict[str, Any]:
        self.before.append(before)
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result


@pytest.mark.parametrize(
    "error",
    [
        LostError("its node is gone"),
        ValueError("holds no whole network"),
        PermissionError(errno.EACCES, "Permission denied"),
    ],
)
def test_what_cannot_be_measured_is_said_and_the_others_are(folder: ExperimentFolder, error: Exception) -> None:
    said: list[str] = []
    assert measure_trials(folder, [0, 1], TEST, run=Machine(error, FOUND), say=said.append) == 1
    assert said[0] == f"alphaprune: trial 0: {error}"
    assert said[1].startswith("trial 1 measured: ")
    assert read_json(folder.trial(1).model / "measure.json") == FOUND
    assert not (folder.trial(0).model / "measure.json").exists()


def test_none_measured_is_told(folder: ExperimentFolder) -> None:
    assert measure_trials(folder, [0, 1], TEST, run=Machine(*[LostError("gone")] * 2), say=lambda line: None) == 0


def test_a_full_disk_ends_it(folder: ExperimentFolder) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match="No space left"):
        measure_trials(folder, [0, 1], TEST, run=Machine(full, FOUND), say=lambda line: None)


def test_what_a_machine_could_not_keep_out_is_said(folder: ExperimentFolder) -> None:
    said: list[str] = []
    disturbed = [FOUND | {"alone": False}, FOUND | {"alone": True, "busy": 2 * BUSY}]
    assert measure_trials(folder, [0, 1], TEST, run=Machine(*disturbed), say=said.append) == 2
    assert "no lock to be had" in said[1]
    assert f"other programs took {2 * BUSY:.0%}" in said[3]
    assert len(said) == 4


def test_a_repeat_leaves_what_is_known_of_the_dense_network(folder: ExperimentFolder) -> None:
    first, repeat = FOUND | {"dense": {"macs": 1}}, {"latency": [], "pruned": FOUND["pruned"]}
    machine = Machine(first, repeat, first)
    assert measure_trials(folder, [0, 2, 1], TEST, run=machine, say=lambda line: None) == 3
    assert machine.before == [None, first, first]


@pytest.mark.parametrize(
    ("here", "jobs"),
    [
        ({}, 3),  # latency; memory and accuracy of the pruned network
        ({"host": "b"}, 5),  # those of the dense one, too
        ({"measured_on": "a GPU"}, 5),
    ],
)
def test_the_dense_network_is_measured_once_a_machine(
    monkeypatch: pytest.MonkeyPatch, here: dict[str, str], jobs: int
) -> None:
    """On a cluster another node may be the best one from one trial to the next."""
    done: list[str] = []

    def without_a_process(kind: str, *networks: Path, test: Path | None = None) -> dict[str, Any]:
        done.append(kind)
        return {"host": "a", "measured_on": "a CPU", **here} if kind == "latency" else {"test": {kind: 1}}

    monkeypatch.setattr(measuring, "job", without_a_process)
    monkeypatch.setattr(measuring, "busy", lambda: 0.0)
    before = {"host": "a", "measured_on": "a CPU", "dense": {"test": {"accuracy": 2}}}
    found = measure_network(Path("pruned"), Path("dense"), TEST, before=before)
    assert len(done) == jobs
    assert found["dense"] == (before["dense"] if jobs == 3 else found["pruned"])
    assert found["pruned"] == {"test": {"accuracy": 1, "memory": 1}}
    assert found["alone"] is True


def test_without_a_lock_it_is_measured_all_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(machine_lock.FOLDER_VARIABLE, str(tmp_path / "missing"))
    monkeypatch.setattr(measuring, "job", lambda *args, test: {"test": {}})
    assert measure_network(Path("pruned"), Path("dense"), TEST, light=True)["alone"] is False


@pytest.mark.usefixtures("one_cpu")
def test_the_allocator_keeps_memory_where_time_counts_and_gives_it_back_where_memory_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Asked of a program in python's place, which tells of its environment and its job."""
    program = tmp_path / "python"
    program.write_text(
        f"#!{sys.executable}\nimport json, os, sys\nprint(json.dumps([dict(os.environ), json.load(sys.stdin)]))\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    for kind, own, other in (("memory", memory, latency), ("latency", latency, memory), ("accuracy", latency, memory)):
        environment, asked = job(kind, tmp_path)
        assert environment.items() >= own.ENVIRONMENT.items()
        assert not environment.keys() & (other.ENVIRONMENT.keys() - own.ENVIRONMENT.keys())
        assert asked["threads"] == 1


@pytest.fixture
def one_cpu() -> Iterator[int]:
    """This process, and what it starts, may run on one CPU only."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("a process cannot be kept to a CPU here")
    before = os.sched_getaffinity(0)
    chosen = min(before)
    os.sched_setaffinity(0, {chosen})
    yield chosen
    os.sched_setaffinity(0, before)


def test_the_cpus_are_those_that_a_process_may_use(one_cpu: int) -> None:
    assert cpus() == {one_cpu}


@pytest.mark.usefixtures("one_cpu")
def test_a_busy_cpu_is_seen() -> None:
    """One that this process may use, however idle the others are."""
    code = "print('there', flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as spinning:
        try:
            assert spinning.stdout is not None
            spinning.stdout.readline()
            assert busy() > 0.5
        finally:
            spinning.kill()

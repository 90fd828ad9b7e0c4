"""Which trials are measured, what is logged, and what happens after an error. Nothing is really measured."""

import errno
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from examples import make_cut, make_row
from searches import write_experiment

from records.experiment import ExperimentFolder
from records.measurement import (
    LatencyComparison,
    Measurement,
    NetworkMeasurement,
    Quartiles,
    TestRun,
    parse_measurement,
)
from records.trial import Parent, TrialRecord
from search.followups.measure import BUSY, TrialSelection, measure_trials, select_trials, summarize_measurement
from search.settings import resolve_settings
from trainable.config import TrialConfig, as_json
from trainable.data.dataset import Split
from trainable.errors import LostError

TEST = Split(np.zeros((2, 32, 32, 3), np.uint8), np.zeros(2, np.int64))
FOUND = Measurement(host="a", measured_on="a CPU", pruned=NetworkMeasurement(test=TestRun(accuracy=0.5)))


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    """Three trials, the last of them a repeat."""
    folder = ExperimentFolder(tmp_path / "demo")
    for number in range(3):
        folder.trial_folder(number).create(
            TrialRecord(number, {}, confirms=0 if number == 2 else None, state="complete")
        )
        folder.trial_folder(number).model_path.mkdir()
    return folder


class Machine:
    """Measures without measuring: returns or raises the given results in turn; notes the `before` of each call."""

    def __init__(self, *results: Measurement | Exception) -> None:
        self.results, self.before, self.light = list(results), list[Any](), list[bool]()

    def __call__(self, model: Path, dense: Path, test: Split, *, light: bool, before: Any) -> Measurement:
        assert model.is_absolute()  # the process that measures it may be elsewhere
        assert dense.is_absolute()
        self.before.append(before)
        self.light.append(light)
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
def test_a_trial_that_cannot_be_measured_is_reported_and_the_others_are_measured(
    folder: ExperimentFolder, error: Exception, logged: Callable[[], list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    assert measure_trials(folder, [0, 1], TEST, Machine(error, FOUND)) == 1
    levels = [record.levelname for record in caplog.records]
    said = logged()
    assert said[0] == f"trial 0: {error}"
    assert said[1].startswith("trial 1 measured: ")
    assert levels == ["WARNING", "INFO"]
    written = json.loads(folder.trial_folder(1).measurement_path.read_text())
    assert written == {**json.loads(json.dumps(asdict(FOUND))), "digest": written["digest"]}
    assert parse_measurement(folder.trial_folder(1).measurement_path.read_bytes()) == FOUND
    assert not folder.trial_folder(0).measurement_path.exists()


def test_that_none_was_measured_is_returned(folder: ExperimentFolder) -> None:
    assert measure_trials(folder, [0, 1], TEST, Machine(*[LostError("gone")] * 2)) == 0


def test_a_full_disk_ends_the_measurements(folder: ExperimentFolder) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match="No space left"):
        measure_trials(folder, [0, 1], TEST, Machine(full, FOUND))


def test_disturbances_on_the_machine_are_reported(folder: ExperimentFolder, logged: Callable[[], list[str]]) -> None:
    disturbed = [replace(FOUND, alone=False), replace(FOUND, alone=True, busy=2 * BUSY)]
    assert measure_trials(folder, [0, 1], TEST, Machine(*disturbed)) == 2
    said = logged()
    assert "trial 0 may not have been measured alone" in said[1]
    assert f"other programs took {2 * BUSY:.0%} of the CPU time just before trial 1" in said[3]
    assert len(said) == 4


def test_a_repeat_keeps_what_is_known_of_the_dense_network(folder: ExperimentFolder) -> None:
    first, repeat = replace(FOUND, dense=NetworkMeasurement(macs=1)), Measurement(pruned=FOUND.pruned)
    machine = Machine(first, repeat, first)
    assert measure_trials(folder, [0, 2, 1], TEST, machine) == 3
    assert machine.before == [None, first, first]
    assert machine.light == [False, True, False]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Measurement(), ""),
        (FOUND, "test accuracy 0.5000"),
        (
            replace(
                FOUND,
                latency=(
                    LatencyComparison(batch_size=1, speedup=Quartiles(median=1.5)),
                    LatencyComparison(batch_size=32),
                    LatencyComparison(batch_size=256, speedup=Quartiles(median=3.25)),
                ),
            ),
            "test accuracy 0.5000, speed-up 1.50x at batch 1, 3.25x at batch 256",
        ),
    ],
)
def test_a_measurement_in_a_few_words(found: Measurement, words: str) -> None:
    assert summarize_measurement(found) == words


@pytest.fixture
def searched(tmp_path: Path) -> ExperimentFolder:
    """Control 0, trials 1 to 4 of which 1 and 3 are the front and 4 failed, 5 a repeat of 3, and 6 a branch."""
    folder = ExperimentFolder(tmp_path / "search")
    write_experiment(folder, resolve_settings({"trial": {"epochs": 2}}))
    for number, accuracy, macs, its in (
        (0, 0.5, 300, {"control": "one_shot"}),
        (1, 0.9, 200, {}),
        (2, 0.6, 250, {}),
        (3, 0.7, 100, {}),
        (4, 0.99, 50, {"state": "failed", "error": "a reason"}),
        (5, 0.7, 100, {"confirms": 3}),
        (6, 0.6, 250, {"parent": Parent(number=1, epoch=1)}),
    ):
        trial = folder.trial_folder(number)
        fields = {"state": "complete", "cut": make_cut(macs=macs), **its}
        trial.create(TrialRecord(number, as_json(TrialConfig(epochs=2)), **fields))
        for epoch in (1, 2):
            trial.append_row(make_row(epoch, pruned_val_accuracy=accuracy, mac_sparsity=1 - macs / 1000))
        trial.model_path.mkdir()
    return folder


def test_the_front_the_controls_and_the_repeats_are_measured_once(
    searched: ExperimentFolder,
) -> None:
    assert set(select_trials(searched, TrialSelection())) >= {0, 1, 3, 5}
    assert 4 not in select_trials(searched, TrialSelection(everything=True))
    assert select_trials(searched, TrialSelection(everything=True)) == [0, 1, 2, 3, 5, 6]
    assert select_trials(searched, TrialSelection(top=1)) == [0, 1, 5]
    searched.trial_folder(1).measurement_path.write_text("{}")
    assert 1 not in select_trials(searched, TrialSelection())
    assert select_trials(searched, TrialSelection(everything=True)) == [0, 2, 3, 5, 6]
    assert 1 in select_trials(searched, TrialSelection(again=True))


def test_nothing_is_measured_if_nothing_is_complete(tmp_path: Path) -> None:
    folder = ExperimentFolder(tmp_path / "search")
    write_experiment(folder, resolve_settings({}))
    assert select_trials(folder, TrialSelection(everything=True)) == []

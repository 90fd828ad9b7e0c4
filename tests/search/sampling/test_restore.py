"""The early stopping of a search that goes on, from records that are written here: no trial is trained."""

from pathlib import Path

import pytest

from records.epoch import MEASURES
from records.experiment import ExperimentFolder
from records.files import append_row
from records.trial import TrialRecord
from search.sampling.restore import rebuilt
from search.settings import Settings, resolve
from trainable.config import TrialConfig, as_json

# Rungs at the epochs 4, 5 and 7 of 9.
SETTINGS = resolve({"trial": {"epochs": 9}, "search": {"objectives": ["pruned_val_accuracy"]}})
FIRST = 4


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    return ExperimentFolder(tmp_path / "experiment")


def add(folder: ExperimentFolder, number: int, *accuracies: float, **record: object) -> None:
    trial = folder.trial(number)
    trial.create(TrialRecord(number, as_json(TrialConfig(epochs=9)), **record))  # type: ignore[arg-type]
    for epoch, accuracy in enumerate(accuracies, start=1):
        measures = {**dict.fromkeys(MEASURES, 0.5), "pruned_val_accuracy": accuracy}
        append_row(trial.rows_path, {"epoch": epoch, "phase": "alpha", **measures})


def rungs(settings: Settings, folder: ExperimentFolder) -> dict[int, list[int]]:
    return {epoch: sorted(rung) for epoch, rung in rebuilt(settings, folder, ())[0].rungs.items()}


def test_they_hold_what_the_search_asked_for_and_nothing_else(folder: ExperimentFolder) -> None:
    add(folder, 0, *[0.9] * 9, control="one_shot", state="complete")
    add(folder, 1, *[0.5] * 9, state="complete")
    add(folder, 2, *[0.4] * 4, state="stopped")
    add(folder, 3, *[0.6] * 6)
    add(folder, 4, *[0.9] * 9, parent={"number": 1, "epoch": 1, "alpha": 0.5}, state="complete")
    add(folder, 5, *[0.9] * 9, confirms=1, state="complete")
    assert rungs(SETTINGS, folder) == {4: [1, 2, 3], 5: [1, 3], 7: [1]}


@pytest.mark.parametrize(("accuracy", "state"), [(0.1, "stopped"), (0.9, "running")])
def test_a_decision_that_a_crash_kept_from_being_recorded_is_made(
    folder: ExperimentFolder, accuracy: float, state: str
) -> None:
    for number in (1, 2):
        add(folder, number, *[0.5] * 9, state="complete")
    add(folder, 3, *[accuracy] * FIRST, attempt=1)
    folder.trial(3).checkpoint(FIRST).write_bytes(b"")
    stopping, stopped = rebuilt(SETTINGS, folder, ())
    assert stopped == ([3] if state == "stopped" else [])
    assert folder.trial(3).read().state == state
    assert bool(folder.trial(3).checkpoints()) == (state == "running")
    assert sorted(stopping.rungs[FIRST]) == [1, 2, 3]


def test_between_rungs_nothing_is_decided(folder: ExperimentFolder) -> None:
    for number in (1, 2):
        add(folder, number, *[0.5] * 9, state="complete")
    add(folder, 3, *[0.1] * (FIRST - 1))
    assert rebuilt(SETTINGS, folder, ())[1] == []
    assert folder.trial(3).read().state == "running"


def test_a_failed_trial_that_is_tried_again_is_not_stopped_instead(folder: ExperimentFolder) -> None:
    """It had been told to go on, or it would have been stopped and not failed."""
    for number in (1, 2):
        add(folder, number, *[0.5] * 9, state="complete")
    add(folder, 3, *[0.1] * FIRST, state="failed")
    folder.trial(3).again()
    assert rebuilt(SETTINGS, folder, {3})[1] == []
    assert folder.trial(3).read().state == "running"


def test_a_damaged_trial_is_passed_over(folder: ExperimentFolder) -> None:
    add(folder, 1, *[0.5] * 9, state="complete")
    add(folder, 2, *[0.5] * 9, state="complete")
    folder.trial(2).record_path.write_text(folder.trial(2).record_path.read_text().replace("epochs", "epocht"))
    assert {number for rung in rungs(SETTINGS, folder).values() for number in rung} == {1}

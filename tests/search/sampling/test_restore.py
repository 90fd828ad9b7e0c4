"""The early stopping of a resumed search, from records that are written here. No trial is trained."""

from collections.abc import Collection
from pathlib import Path

import pytest
from examples import make_row

from records.experiment import ExperimentFolder
from records.trial import Parent, TrialRecord
from search.sampling.early_stopping import SuccessiveHalving
from search.sampling.restore import restore_early_stopping
from search.settings import resolve_settings
from search.snapshot import Snapshot
from trainable.config import TrialConfig, as_json

# Rungs at the epochs 4, 5 and 7 of 9.
SETTINGS = resolve_settings(
    {
        "trial": {"epochs": 9},
        "search": {"objectives": ["pruned_val_accuracy"], "early_stopping": {"enabled": True}},
    }
)
FIRST = 4


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    return ExperimentFolder(tmp_path / "experiment")


def add(folder: ExperimentFolder, number: int, *accuracies: float, **record: object) -> None:
    trial = folder.trial_folder(number)
    trial.create(TrialRecord(number, as_json(TrialConfig(epochs=9)), **record))  # type: ignore[arg-type]
    for epoch, accuracy in enumerate(accuracies, start=1):
        trial.append_row(make_row(epoch, phase="alpha", pruned_val_accuracy=accuracy))


def restore(folder: ExperimentFolder, retried: Collection[int] = ()) -> tuple[SuccessiveHalving, list[int]]:
    """Early stopping, and the numbers of the trials that it would stop; nothing has been written."""
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    stopping, to_stop = restore_early_stopping(SETTINGS, Snapshot.read(folder), retried)
    assert {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()} == before
    return stopping, [trial.number for trial in to_stop]


def rungs(folder: ExperimentFolder) -> dict[int, list[int]]:
    return {epoch: sorted(rung) for epoch, rung in restore(folder)[0].rungs.items()}


def test_rungs_hold_the_searched_trials_and_nothing_else(folder: ExperimentFolder) -> None:
    add(folder, 0, *[0.9] * 9, control="one_shot", state="complete")
    add(folder, 1, *[0.5] * 9, state="complete")
    add(folder, 2, *[0.4] * 4, state="stopped")
    add(folder, 3, *[0.6] * 6)
    add(folder, 4, *[0.9] * 9, parent=Parent(number=1, epoch=1, alpha=0.5), state="complete")
    add(folder, 5, *[0.9] * 9, confirms=1, state="complete")
    assert rungs(folder) == {4: [1, 2, 3], 5: [1, 3], 7: [1]}


@pytest.mark.parametrize(("accuracy", "stopped"), [(0.1, [3]), (0.9, [])])
def test_a_decision_lost_in_a_crash_is_made_again(
    folder: ExperimentFolder, accuracy: float, stopped: list[int]
) -> None:
    """It is recorded in tests/search/test_experiment.py."""
    for number in (1, 2):
        add(folder, number, *[0.5] * 9, state="complete")
    add(folder, 3, *[accuracy] * FIRST, attempt=1)
    stopping, to_stop = restore(folder)
    assert to_stop == stopped
    assert sorted(stopping.rungs[FIRST]) == [1, 2, 3]


def test_between_rungs_nothing_is_decided(folder: ExperimentFolder) -> None:
    for number in (1, 2):
        add(folder, number, *[0.5] * 9, state="complete")
    add(folder, 3, *[0.1] * (FIRST - 1))
    assert restore(folder)[1] == []


def test_a_failed_trial_that_is_retried_is_not_stopped_instead(folder: ExperimentFolder) -> None:
    """It had been told to continue, or it would have been stopped and not failed."""
    for number in (1, 2):
        add(folder, number, *[0.5] * 9, state="complete")
    add(folder, 3, *[0.1] * FIRST, state="failed")
    folder.trial_folder(3).reopen()
    assert restore(folder, {3})[1] == []
    assert restore(folder)[1] == [3]


def test_a_damaged_trial_is_skipped(folder: ExperimentFolder) -> None:
    add(folder, 1, *[0.5] * 9, state="complete")
    add(folder, 2, *[0.5] * 9, state="complete")
    folder.trial_folder(2).record_path.write_text(
        folder.trial_folder(2).record_path.read_text().replace("epochs", "epocht")
    )
    assert {number for rung in rungs(folder).values() for number in rung} == {1}

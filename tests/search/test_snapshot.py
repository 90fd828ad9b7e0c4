"""The records at one moment: each file is read once, damaged trials are reported, the others are complete."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from examples import make_cut, make_row

from records.experiment import ExperimentFolder
from records.trial import Parent, TrialRecord
from search.snapshot import Snapshot, TrialSnapshot
from trainable.config import TrialConfig, as_json


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    return ExperimentFolder(tmp_path / "search")


def add(folder: ExperimentFolder, number: int, rows: int = 0, config: Any = None, **its: Any) -> None:
    config = config or TrialConfig(epochs=4)
    trial = folder.trial_folder(number)
    trial.create(TrialRecord(number, as_json(config) if isinstance(config, TrialConfig) else config, **its))
    for epoch in range(1, rows + 1):
        trial.append_row(make_row(epoch))


def test_all_trials_are_read_in_order(folder: ExperimentFolder) -> None:
    assert Snapshot.read(folder) == Snapshot((), frozenset())
    for number in (11, 2, 0):
        add(folder, number, rows=number % 5, state="complete")
    snapshot = Snapshot.read(folder)
    assert [trial.number for trial in snapshot.trials] == [0, 2, 11]
    assert [len(trial.rows) for trial in snapshot.trials] == [0, 2, 1]
    assert snapshot.numbers == {0, 2, 11}
    assert snapshot.problems == ()
    for trial in snapshot.trials:
        assert trial.record == trial.folder.read_record()
        assert trial.rows == trial.folder.read_rows()
        assert trial.config == TrialConfig(epochs=4)


DAMAGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no object": lambda values: [],
    "config": lambda values: values | {"config": {"epochs": "many"}},
    "config of nothing": lambda values: values | {"config": {"nonsense": 1}},
    "params without distributions": lambda values: values | {"params": {"rate": 3.0}},
    "another number": lambda values: values | {"number": 4},
    "newer": lambda values: values | {"queue": "long"},
    "half a cut": lambda values: values | {"cut": {"macs": 3}},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_trial_is_named_and_its_number_stays_taken(folder: ExperimentFolder, damage: str) -> None:
    for number in (1, 2, 3):
        add(folder, number, state="complete")
    path = folder.trial_folder(2).record_path
    path.write_text(json.dumps(DAMAGES[damage](json.loads(path.read_text()))))
    snapshot = Snapshot.read(folder)
    assert [trial.number for trial in snapshot.trials] == [1, 3]
    assert snapshot.numbers == {1, 2, 3}
    (problem,) = snapshot.problems
    assert problem.startswith(f"{path} is damaged: ")
    assert "\n" not in problem
    assert "http" not in problem


def test_a_folder_not_named_after_its_number_is_reported(folder: ExperimentFolder) -> None:
    add(folder, 2)
    folder.trial_folder(2).path.rename(folder.trials_path / "2")
    snapshot = Snapshot.read(folder)
    assert snapshot.trials == ()
    assert snapshot.numbers == {2}
    assert snapshot.problems == (f"{folder.trials_path / '2' / 'trial.json'} is left out: trial 2 belongs in 00002",)


def test_a_branch_runs_only_its_own_epochs(folder: ExperimentFolder) -> None:
    add(folder, 1, rows=3, config=TrialConfig(epochs=10, begun=(0.7, 0.5)), parent=Parent(number=0, epoch=2))
    add(folder, 2, rows=0, config=TrialConfig(epochs=10, begun=(0.7, 0.5)), parent=Parent(number=0, epoch=2))
    add(folder, 3, rows=3)
    found = [(trial.own_epochs, trial.own_epochs_done) for trial in Snapshot.read(folder).trials]
    assert found == [(8, 1), (8, 0), (4, 3)]


@pytest.mark.parametrize(
    ("state", "rows", "lost"),
    [
        ("complete", 4, False),
        ("complete", 3, True),
        ("complete", 0, True),
        ("stopped", 3, False),
        ("running", 0, False),
    ],
)
def test_a_result_is_lost_with_the_last_rows(folder: ExperimentFolder, state: Any, rows: int, lost: bool) -> None:
    add(folder, 1, rows, state=state, cut=make_cut())
    (trial,) = Snapshot.read(folder).trials
    assert trial.is_result_lost == lost


def test_a_snapshot_is_updated_without_reading_the_others_again(folder: ExperimentFolder) -> None:
    for number in (1, 2, 3):
        add(folder, number)
    folder.trial_folder(2).record_path.write_text("{")
    before = Snapshot.read(folder)
    folder.trial_folder(1).record_end("stopped")
    add(folder, 4)
    folder.trial_folder(3).record_path.unlink()
    after = before.updated([TrialSnapshot.read(folder.trial_folder(number)) for number in (4, 1)])
    assert [(trial.number, trial.record.state) for trial in after.trials] == [
        (1, "stopped"),
        (3, "running"),
        (4, "running"),
    ]
    assert after.numbers == {1, 2, 3, 4}
    assert isinstance(after.numbers, frozenset)
    assert after.problems == before.problems
    # The earlier snapshot does not change.
    assert [trial.record.state for trial in before.trials] == ["running", "running"]
    assert before.updated([]) == before

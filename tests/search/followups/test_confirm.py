"""Which repeats with other seeds are recorded. No trial is trained here; tests/search/test_results.py runs them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from examples import make_cut, make_row
from searches import open_source, write_experiment

from records.experiment import ExperimentFolder
from records.trial import Parent, State, TrialRecord
from search.followups.confirm import plan_repeats
from search.settings import resolve_settings
from trainable.config import TrialConfig, as_json
from trainable.schedules.alpha import OneShot

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
SETTINGS = resolve_settings(
    {"search": {"trials": 3}, "controls": {"kinds": ["one_shot"], "amounts": [0.5]}, "trial": {"epochs": 3}}
)


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    """Control 0, searched trials 1 to 3, each better than the one before, and 4, a branch of 3 and the best of all."""
    folder = ExperimentFolder(tmp_path / "experiment")
    write_experiment(folder, SETTINGS)
    add(folder, 0, control="one_shot")
    for number in (1, 2, 3):
        add(folder, number)
    add(folder, 4, parent=Parent(number=3, epoch=1, alpha=0.5))
    return folder


def add(
    folder: ExperimentFolder, number: int, *, state: State = "complete", sparsity: float = 0.5, **record: object
) -> None:
    config = TrialConfig(epochs=3, seed=5, alpha=OneShot()) if record.get("control") else TrialConfig(epochs=3, seed=5)
    trial = folder.trial_folder(number)
    cut = make_cut(parameters=100, val_accuracy=0.1)
    trial.create(TrialRecord(number, as_json(config), state=state, cut=cut, **record))  # type: ignore[arg-type]
    for epoch in (1, 2, 3):
        accuracy = (number + epoch) / 10
        trial.append_row(make_row(epoch, alpha=0.0, pruned_val_accuracy=accuracy, mac_sparsity=sparsity))


def written(folder: ExperimentFolder, records: list[TrialRecord]) -> list[TrialRecord]:
    for record in records:
        folder.trial_folder(record.number).create(record)
    return [folder.trial_folder(record.number).read_record() for record in records]


def test_the_best_and_the_controls_are_repeated_with_only_the_seed_changed(folder: ExperimentFolder) -> None:
    found = written(folder, plan_repeats(folder, top=2, seeds=3))
    assert [repeat.number for repeat in found] == list(range(5, 14))
    assert [repeat.confirms for repeat in found] == [0, 0, 0, 2, 2, 2, 3, 3, 3]
    for repeat in found:
        original = folder.trial_folder(repeat.confirms or 0).read_record()
        assert repeat.control == original.control
        assert {**repeat.config, "seed": 5} == original.config
        assert (repeat.state, repeat.attempt, repeat.kind, repeat.params) == ("running", 0, "repeat", {})
    assert [repeat.config["seed"] for repeat in found] == [6, 7, 8] * 3


def test_nothing_is_written(folder: ExperimentFolder) -> None:
    before = sorted(folder.path.glob("trials/*"))
    assert len(plan_repeats(folder, top=2, seeds=3)) == 9
    assert sorted(folder.path.glob("trials/*")) == before


def test_confirming_again_adds_what_is_missing(folder: ExperimentFolder) -> None:
    assert len(written(folder, plan_repeats(folder, top=1, seeds=2))) == 4
    assert plan_repeats(folder, top=1, seeds=2) == []
    new = plan_repeats(folder, top=2, seeds=3)
    assert [(repeat.confirms, repeat.config["seed"]) for repeat in new] == [(0, 8), (2, 6), (2, 7), (2, 8), (3, 8)]


def test_each_amount_that_the_controls_cut_gets_its_best(folder: ExperimentFolder) -> None:
    add(folder, 5, control="one_shot", sparsity=0.9)
    add(folder, 6, sparsity=0.9)
    for number in (7, 8):
        add(folder, number)
    assert {repeat.confirms for repeat in plan_repeats(folder, top=2, seeds=1)} == {0, 5, 8, 6}
    assert {repeat.confirms for repeat in plan_repeats(folder, top=None, seeds=1)} == {0, 5, 8, 6, 7}


@pytest.mark.parametrize("damage", ["config", "params"])
@pytest.mark.parametrize("number", [0, 3])
def test_a_trial_whose_record_is_damaged_is_not_repeated(folder: ExperimentFolder, number: int, damage: str) -> None:
    """The control, or the best: the analysis ranks it all the same, as it needs no configuration for that."""
    path = folder.trial_folder(number).record_path
    values = json.loads(path.read_text())
    values |= {"config": {**values["config"], "epochs": "three"}} if damage == "config" else {"params": {"rate": 3}}
    path.write_text(json.dumps(values))
    found = plan_repeats(folder, top=1, seeds=1)
    assert [repeat.confirms for repeat in found] == ([0, 2] if number == 3 else [3])
    assert [repeat.number for repeat in found] == [5, 6][: len(found)]


def test_the_number_of_a_control_still_to_come_is_not_taken(folder: ExperimentFolder) -> None:
    """The search gives it to the control when it continues."""
    settings = replace(SETTINGS, controls=replace(SETTINGS.controls, amounts=tuple(x / 10 for x in range(1, 9))))
    write_experiment(folder, settings)
    assert [repeat.number for repeat in plan_repeats(folder, top=1, seeds=1)] == [8, 9]


def test_a_search_runs_the_repeats_without_asking_the_study(folder: ExperimentFolder) -> None:
    created = [repeat.number for repeat in written(folder, plan_repeats(folder, top=1, seeds=2))]
    source = open_source(folder, SETTINGS)
    assert source.planned_trials == 9  # a control, three trials, a branch, four repeats
    handed_out = [source.next_trial() for _ in created]
    assert [record and record.number for record in handed_out] == created
    assert source.next_trial() is None
    assert len(source.study.trials) == 3


@pytest.mark.parametrize(("top", "seeds"), [(0, 3), (3, 0), (None, 0)])
def test_counts_below_one_are_refused(folder: ExperimentFolder, top: int | None, seeds: int) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        plan_repeats(folder, top=top, seeds=seeds)


def test_an_experiment_with_nothing_complete_is_refused(tmp_path: Path) -> None:
    folder = ExperimentFolder(tmp_path / "experiment")
    write_experiment(folder, SETTINGS)
    with pytest.raises(ValueError, match="only complete trials can be repeated"):
        plan_repeats(folder, top=1, seeds=1)
    add(folder, 0, state="failed")
    with pytest.raises(ValueError, match="only complete trials can be repeated"):
        plan_repeats(folder, top=1, seeds=1)

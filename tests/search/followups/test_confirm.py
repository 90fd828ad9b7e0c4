"""Which repeats with other seeds are recorded. No trial is trained here; tests/search/test_results.py runs them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from examples import make_cut, make_row
from hypothesis import given
from hypothesis import strategies as st
from searches import open_source, write_experiment

from records.experiment import ExperimentFolder
from records.trial import Parent, State, TrialRecord
from search.followups.confirm import count_twin_epochs, plan_confirmation
from search.settings import resolve_settings
from trainable.config import TrialConfig, as_json
from trainable.schedules.alpha import Exponential, OneShot

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
    folder: ExperimentFolder,
    number: int,
    *,
    state: State = "complete",
    sparsity: float = 0.5,
    accuracy: float | None = None,
    seed: int = 5,
    **record: object,
) -> None:
    alpha = OneShot() if record.get("control") else Exponential()
    config = TrialConfig(epochs=3, seed=seed, alpha=alpha)
    trial = folder.trial_folder(number)
    cut = make_cut(parameters=100, val_accuracy=0.1)
    trial.create(TrialRecord(number, as_json(config), state=state, cut=cut, **record))  # type: ignore[arg-type]
    for epoch in (1, 2, 3):
        reached = (number + epoch) / 10 if accuracy is None else accuracy
        fades = epoch == 1 and isinstance(alpha, Exponential)
        costs = {"phase": "alpha" if fades else "retrain", "training_cost": 1.0 if fades else 1 - sparsity}
        trial.append_row(make_row(epoch, alpha=0.0, pruned_val_accuracy=reached, mac_sparsity=sparsity, **costs))


def written(folder: ExperimentFolder, records: Sequence[TrialRecord]) -> list[TrialRecord]:
    for record in records:
        folder.trial_folder(record.number).create(record)
    return [folder.trial_folder(record.number).read_record() for record in records]


def test_the_best_and_the_controls_are_repeated_with_only_the_seed_changed(folder: ExperimentFolder) -> None:
    found = written(folder, plan_confirmation(folder, top=2, seeds=3).records)
    assert [record.number for record in found] == list(range(5, 26))
    assert [record.confirms for record in found] == [0] * 3 + [2] * 9 + [3] * 9
    repeats = [record for record in found if record.kind == "repeat"]
    for repeat in repeats:
        original = folder.trial_folder(repeat.confirms or 0).read_record()
        assert repeat.control == original.control
        assert {**repeat.config, "seed": 5} == original.config
        assert (repeat.state, repeat.attempt, repeat.kind, repeat.params) == ("running", 0, "repeat", {})
    assert [repeat.config["seed"] for repeat in repeats] == [6, 7, 8] * 3


def test_each_repeat_of_a_fading_trial_has_two_twins_that_only_do_not_fade(folder: ExperimentFolder) -> None:
    """The trial fades for one epoch of three and cuts half of the MACs: that epoch costs as much as two without it."""
    found = written(folder, plan_confirmation(folder, top=1, seeds=2).records)
    of_best = [record for record in found if record.confirms == 3]
    assert [(record.twin, record.config["seed"]) for record in of_best] == [
        (twin, seed) for seed in (6, 7) for twin in (None, "epochs", "compute")
    ]
    for repeat, equal_epochs, equal_compute in (of_best[:3], of_best[3:]):
        assert (repeat.kind, equal_epochs.kind, equal_compute.kind) == ("repeat", "twin", "twin")
        one_shot = {**repeat.config, "alpha": {"family": "one_shot"}}
        assert equal_epochs.config == one_shot
        assert equal_compute.config == {**one_shot, "epochs": 4}
    assert all(record.twin is None for record in found if record.confirms == 0)


def test_a_fade_that_pays_for_no_epoch_has_one_twin(folder: ExperimentFolder) -> None:
    """The fade takes half an epoch and costs a whole one of the pruned network, so half an epoch would be left over."""
    config = TrialConfig(epochs=10, alpha_fraction=0.05, epochs_per_alpha=0.1, alpha=Exponential(), lr_span="trial")
    trial = folder.trial_folder(5)
    trial.create(TrialRecord(5, as_json(config), state="complete", cut=make_cut(parameters=100, val_accuracy=0.1)))
    for epoch in range(1, 11):
        cost = 0.75 if epoch == 1 else 0.5
        trial.append_row(make_row(epoch, pruned_val_accuracy=0.9, mac_sparsity=0.5, training_cost=cost))
    found = written(folder, plan_confirmation(folder, top=1, seeds=2).records)
    of_best = [record for record in found if record.confirms == 5]
    assert [record.twin for record in of_best] == [None, "both"] * 2
    assert of_best[1].config == {**of_best[0].config, "alpha": {"family": "one_shot"}}
    assert plan_confirmation(folder, top=1, seeds=2).records == ()


@given(
    epochs=st.integers(1, 60),
    faded=st.floats(0, 20),
    kept=st.floats(0.01, 0.9),
    is_known=st.booleans(),
)
def test_a_twin_costs_no_more_than_its_trial_and_less_than_an_epoch_less(
    epochs: int, faded: float, kept: float, is_known: bool
) -> None:
    """Also where the cut comes within an epoch, and where rows are so old that they do not say what they cost."""
    faded = faded if is_known else float(int(faded))
    costs = [part + (1 - part) * kept for epoch in range(epochs) for part in [min(1.0, max(0.0, faded - epoch))]]
    twin = count_twin_epochs(
        [
            make_row(
                epoch,
                phase="alpha" if epoch <= faded else "retrain",
                mac_sparsity=1 - kept,
                training_cost=cost if is_known else None,
            )
            for epoch, cost in enumerate(costs, start=1)
        ]
    )
    assert sum(costs) - kept < twin * kept <= sum(costs) + 1e-5
    assert twin >= epochs


def test_nothing_is_written(folder: ExperimentFolder) -> None:
    before = sorted(folder.path.glob("trials/*"))
    assert len(plan_confirmation(folder, top=2, seeds=3).records) == 21
    assert sorted(folder.path.glob("trials/*")) == before


def test_confirming_again_adds_what_is_missing(folder: ExperimentFolder) -> None:
    assert len(written(folder, plan_confirmation(folder, top=1, seeds=2).records)) == 8
    assert plan_confirmation(folder, top=1, seeds=2).records == ()
    new = plan_confirmation(folder, top=2, seeds=3).records
    missing = [(0, 8), (2, 6), (2, 7), (2, 8), (3, 8)]
    assert [(each.confirms, each.config["seed"]) for each in new if each.kind == "repeat"] == missing
    assert len(new) == 1 + 3 * 4


def test_confirming_again_goes_on_with_the_same_trials(folder: ExperimentFolder) -> None:
    """Although the repeat was worse than the trial's own run, so that others look better now."""
    (repeat,) = (
        each for each in plan_confirmation(folder, top=1, seeds=1).records if each.confirms == 3 and not each.twin
    )
    add(folder, repeat.number, accuracy=0.01, confirms=3, seed=6)
    assert {each.confirms for each in plan_confirmation(folder, top=1, seeds=2).records} == {0, 3}


def test_each_amount_that_the_controls_cut_gets_its_best(folder: ExperimentFolder) -> None:
    add(folder, 5, control="one_shot", sparsity=0.9)
    add(folder, 6, sparsity=0.9)
    for number in (7, 8):
        add(folder, number)
    assert {repeat.confirms for repeat in plan_confirmation(folder, top=2, seeds=1).records} == {0, 5, 8, 6}
    assert {repeat.confirms for repeat in plan_confirmation(folder, top=None, seeds=1).records} == {0, 5, 8, 6, 7}


@pytest.mark.parametrize("damage", ["config", "params"])
@pytest.mark.parametrize("number", [0, 3])
def test_a_trial_whose_record_is_damaged_is_not_repeated(folder: ExperimentFolder, number: int, damage: str) -> None:
    """The control, or the best: the analysis ranks it all the same, as it needs no configuration for that."""
    path = folder.trial_folder(number).record_path
    values = json.loads(path.read_text())
    values |= {"config": {**values["config"], "epochs": "three"}} if damage == "config" else {"params": {"rate": 3}}
    path.write_text(json.dumps(values))
    found = plan_confirmation(folder, top=1, seeds=1).records
    assert [record.confirms for record in found if record.kind == "repeat"] == ([0, 2] if number == 3 else [3])
    assert [record.number for record in found] == [5, 6, 7, 8][: len(found)]


def test_a_trial_whose_last_rows_are_lost_has_no_twin(folder: ExperimentFolder) -> None:
    """What it cost, which a twin of equal compute may cost, is not known."""
    whole = [record.twin for record in plan_confirmation(folder, top=9, seeds=1).records if record.confirms == 3]
    assert whole == [None, "epochs", "compute"]
    rows = folder.trial_folder(3).rows_path
    rows.write_bytes(rows.read_bytes()[:-20])
    lost = [record.twin for record in plan_confirmation(folder, top=9, seeds=1).records if record.confirms == 3]
    assert lost in ([], [None])


def test_the_number_of_a_control_still_to_come_is_not_taken(folder: ExperimentFolder) -> None:
    """The search gives it to the control when it continues."""
    settings = replace(SETTINGS, controls=replace(SETTINGS.controls, amounts=tuple(x / 10 for x in range(1, 9))))
    write_experiment(folder, settings)
    assert [record.number for record in plan_confirmation(folder, top=1, seeds=1).records] == [8, 9, 10, 11]


def test_a_search_runs_the_repeats_without_asking_the_study(folder: ExperimentFolder) -> None:
    created = [repeat.number for repeat in written(folder, plan_confirmation(folder, top=1, seeds=2).records)]
    source = open_source(folder, SETTINGS)
    assert source.planned_trials == 13  # a control, three trials, a branch, four repeats, four twins
    handed_out = [source.next_trial() for _ in created]
    assert [record and record.number for record in handed_out] == created
    assert source.next_trial() is None
    assert len(source.study.trials) == 3


@pytest.mark.parametrize(("top", "seeds"), [(0, 3), (3, 0), (None, 0)])
def test_counts_below_one_are_refused(folder: ExperimentFolder, top: int | None, seeds: int) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        plan_confirmation(folder, top=top, seeds=seeds)


def test_an_experiment_with_nothing_complete_is_refused(tmp_path: Path) -> None:
    folder = ExperimentFolder(tmp_path / "experiment")
    write_experiment(folder, SETTINGS)
    with pytest.raises(ValueError, match="only complete trials can be confirmed"):
        plan_confirmation(folder, top=1, seeds=1)
    add(folder, 0, state="failed")
    with pytest.raises(ValueError, match="only complete trials can be confirmed"):
        plan_confirmation(folder, top=1, seeds=1)

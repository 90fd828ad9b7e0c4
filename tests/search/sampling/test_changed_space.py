"""What a changed space keeps of what was learned: trials whose values it could still suggest, and no others."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from examples import make_cut, make_row
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from searches import open_source

from records.experiment import ExperimentFolder
from search.sampling.changed_space import fit_trials
from search.sampling.trial_source import TrialSource
from search.settings import Settings, resolve_settings
from trainable.config import TrialConfig

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def make_trial(name: str, distribution: BaseDistribution, value: Any) -> optuna.trial.FrozenTrial:
    return create_trial(
        state=TrialState.COMPLETE, value=0.5, params={name: value, "z": 1}, distributions={name: distribution, "z": Z}
    )


Z = IntDistribution(0, 3)
FLOAT = FloatDistribution(0, 1)


@pytest.mark.parametrize(
    ("before", "value", "now", "fits"),
    [
        (CategoricalDistribution(["a", "b"]), "b", CategoricalDistribution(["b", "c", "a"]), True),
        (CategoricalDistribution(["a", "b"]), "b", CategoricalDistribution(["a"]), False),
        (CategoricalDistribution([0.5, 0.75]), 0.5, FLOAT, True),
        (CategoricalDistribution(["a", "b"]), "b", FLOAT, False),
        (CategoricalDistribution([None, 1]), None, FLOAT, False),
        (FLOAT, 0.5, CategoricalDistribution([0.25, 0.5]), True),
        (FLOAT, 0.4, CategoricalDistribution([0.25, 0.5]), False),
        (FLOAT, 0.9, FloatDistribution(-1, 2), True),
        (FLOAT, 0.9, FloatDistribution(0, 0.5), False),
        (FLOAT, 0.5, FloatDistribution(1e-3, 1, log=True), True),
        (FLOAT, 0.0, FloatDistribution(1e-3, 1, log=True), False),
        (FLOAT, 0.5, FloatDistribution(0, 1, step=0.25), True),
        (FLOAT, 0.4, FloatDistribution(0, 1, step=0.25), False),
        (FLOAT, 1.0, IntDistribution(0, 3), True),
        (FLOAT, 0.5, IntDistribution(0, 3), False),
        (IntDistribution(1, 9), 3, FloatDistribution(1, 4), True),
        (IntDistribution(1, 9), 4, IntDistribution(1, 9, step=2), False),
    ],
)
def test_a_trial_is_kept_if_its_values_are_still_possible(
    before: BaseDistribution, value: Any, now: BaseDistribution, fits: bool, warned: Callable[[], list[str]]
) -> None:
    trials = [make_trial("x", before, value), make_trial("y", FLOAT, 0.5)]
    first, second = fit_trials(trials, {"x": now, "new": FLOAT})
    if fits:
        assert (first.params, first.distributions) == ({"x": value, "z": 1}, {"x": now, "z": Z})
    assert (first.state, first.value) == ((TrialState.COMPLETE, 0.5) if fits else (TrialState.FAIL, None))
    assert second.distributions == {"y": FLOAT, "z": Z}  # nothing is known of it, so it stays
    assert trials[0].distributions == {"x": before, "z": Z}
    assert bool(warned()) != fits


def test_one_line_says_what_cannot_be_used(warned: Callable[[], list[str]]) -> None:
    trials = [make_trial("rate", FLOAT, number / 10) for number in range(10)]
    trials.append(make_trial("family", CategoricalDistribution(["a", "b"]), "b"))
    fit_trials(trials, {"rate": FloatDistribution(0, 0.65), "family": CategoricalDistribution(["a", "c"]), "z": Z})
    (line,) = warned()
    assert line == (
        "the space has changed: 4 of 11 recorded trials have values of family, rate that it no longer has, so the "
        "sampler does not learn from them"
    )


def test_an_unchanged_space_is_not_mentioned(logged: Callable[[], list[str]]) -> None:
    trials = [make_trial("x", FLOAT, 0.5)]
    assert fit_trials(trials, {"x": FLOAT, "z": Z}) == trials
    assert logged() == []


def settings(trials: int) -> Settings:
    return resolve_settings({"search": {"trials": trials}, "controls": {"kinds": []}, "trial": {"epochs": 9}})


def make_space(**suggest: Callable[[optuna.Trial], Any]) -> Callable[[optuna.Trial, TrialConfig], TrialConfig]:
    """A space that suggests these parameters; all that they change is the seed, so that no two trials are equal."""

    def space(trial: optuna.Trial, base: TrialConfig) -> TrialConfig:
        for each in suggest.values():
            each(trial)
        return replace(base, seed=trial.number)

    return space


def run_all(source: TrialSource, folder: ExperimentFolder) -> list[int]:
    numbers = []
    while (record := source.next_trial()) is not None:
        trial = folder.trial_folder(record.number)
        for epoch in range(1, 10):
            trial.append_row(make_row(epoch, pruned_val_accuracy=epoch / (20 + record.number)))
        trial.write_record(replace(trial.read_record(), cut=make_cut(macs=1000 + record.number)))
        trial.record_end("complete")
        source.tell_end(record.number)
        numbers.append(record.number)
    return numbers


def suggest_x(trial: optuna.Trial) -> Any:
    return trial.suggest_float("x", 0, 1)


CHANGES: dict[str, Callable[[optuna.Trial], Any]] = {
    "a choice added": lambda trial: trial.suggest_categorical("y", ["a", "b", "c"]),
    "a choice removed": lambda trial: trial.suggest_categorical("y", ["b"]),
    "choices in another order": lambda trial: trial.suggest_categorical("y", ["b", "a"]),
    "choices that are numbers": lambda trial: trial.suggest_float("y", 0, 1),
    "a parameter that went": lambda trial: None,
    "a parameter that came": lambda trial: (
        trial.suggest_categorical("y", ["a", "b"]),
        trial.suggest_float("new", 0, 1),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_resumed_search_is_still_tpe(tmp_path: Path, change: str, warned: Callable[[], list[str]]) -> None:
    folder = ExperimentFolder(tmp_path / "experiment")
    run_all(open_source(folder, settings(25), make_space(x=suggest_x, y=choose_y)), folder)
    records = [trial.record_path.read_bytes() for trial in folder.trial_folders()]
    assert warned() == []
    source = open_source(folder, settings(35), make_space(x=suggest_x, y=CHANGES[change]))
    kept = [trial.state for trial in source.study.trials].count(TrialState.COMPLETE)
    assert kept > 10 or change == "choices that are numbers"
    assert run_all(source, folder) == list(range(25, 35))
    assert source.space_error is None
    assert not [line for line in warned() if "reject" in line]
    # TPE notes what it has drawn for all parameters together; it does not for the ten that it needs to begin with.
    drawn = [trial.system_attrs for trial in source.study.trials[25:]]
    assert len(drawn) == 10
    assert all(any(key.startswith("tpe:relative_params") for key in each) for each in drawn[max(0, 10 - kept) :])
    assert [trial.record_path.read_bytes() for trial in folder.trial_folders()][:25] == records


def choose_y(trial: optuna.Trial) -> Any:
    return trial.suggest_categorical("y", ["a", "b"])


@pytest.mark.parametrize(
    "now",
    [
        lambda trial: trial.suggest_float("x", 0, 100),
        lambda trial: trial.suggest_float("x", 5, 9),
        lambda trial: trial.suggest_float("x", 0.01, 100, log=True),
        lambda trial: trial.suggest_float("x", 0, 10, step=0.5),
        lambda trial: trial.suggest_int("x", 0, 9),
        lambda trial: trial.suggest_categorical("x", [0.5, 7]),
    ],
)
def test_a_range_that_has_changed_is_searched_from_now_on(tmp_path: Path, now: Callable[[optuna.Trial], Any]) -> None:
    """Optuna would stay within the range that the first trial had, or refuse another scale."""
    folder = ExperimentFolder(tmp_path / "experiment")
    run_all(open_source(folder, settings(15), make_space(x=suggest_x)), folder)
    source = open_source(folder, settings(45), make_space(x=now))
    assert len(run_all(source, folder)) == 30
    values = [folder.trial_folder(number).read_record().params["x"] for number in range(15, 45)]
    assert max(values) > 1


def test_what_was_running_runs_again_even_if_it_no_longer_fits(tmp_path: Path) -> None:
    folder = ExperimentFolder(tmp_path / "experiment")
    source = open_source(folder, settings(12), make_space(x=suggest_x))
    for _ in range(3):
        assert source.next_trial() is not None
    source = open_source(folder, settings(12), make_space(x=lambda trial: trial.suggest_float("x", 5, 9)))
    assert [trial.state for trial in source.study.trials] == [TrialState.FAIL] * 3
    assert run_all(source, folder) == list(range(12))
    assert [trial.state for trial in source.study.trials] == [TrialState.FAIL] * 3 + [TrialState.COMPLETE] * 9

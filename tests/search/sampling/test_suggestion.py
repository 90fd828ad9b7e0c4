"""A space's choices become plain values, its own errors are told from Optuna's, and what it returns can be recorded."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from enum import Enum, StrEnum
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search.sampling.suggestion import SpaceError, SpaceFunction, ask_study, sample_distributions, suggest_config
from trainable.config import TrialConfig, trial_config
from trainable.schedules.alpha import Polynomial

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
BASE = TrialConfig(epochs=9)


def make_study() -> optuna.Study:
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))


def choosing(choices: Any, use: Callable[[Any], float] = lambda choice: 0.02) -> SpaceFunction:
    def space(trial: optuna.Trial, base: TrialConfig) -> TrialConfig:
        return replace(base, alpha_lr=use(trial.suggest_categorical("choice", choices)))

    return space


class Size(Enum):
    SMALL = 0.01
    LARGE = 0.05


class Kind(StrEnum):
    WARM = "warm"
    COLD = "cold"


@pytest.mark.parametrize(
    ("choices", "plain"),
    [
        (list(np.arange(1, 4)), [1, 2, 3]),
        (np.linspace(0, 1, 3), [0.0, 0.5, 1.0]),
        ([np.float32(0.1), np.float16(0.5)], [float(np.float32(0.1)), 0.5]),
        ([np.bool(True), np.bool(False)], [True, False]),
        ([np.str_("a"), "b"], ["a", "b"]),
        (list(Size), [0.01, 0.05]),
        (list(Kind), ["warm", "cold"]),
        ({"a": 1, "b": 2}.keys(), ["a", "b"]),
        ([None, True, 3, 0.5, "text"], [None, True, 3, 0.5, "text"]),
    ],
)
def test_choices_are_recorded_as_plain_values_and_the_space_gets_its_own(choices: Any, plain: list[Any]) -> None:
    study, seen = make_study(), []
    for _ in range(30):
        suggestion = suggest_config(choosing(choices, lambda it: seen.append(it) or 0.02), ask_study(study), BASE)
        record = json.loads(json.dumps(suggestion.as_record(3).params))
        position = [value is seen[-1] or (value == seen[-1]) for value in choices].index(True)
        assert record == {"choice": plain[position]}
        assert type(record["choice"]) is type(plain[position])
    assert {type(value) for value in seen} == {type(value) for value in choices}
    assert study.trials[0].distributions == {"choice": CategoricalDistribution(plain)}


@pytest.mark.parametrize(
    "odd",
    [math.nan, math.inf, np.float32("nan"), (1, 2), [1], {"a": 1}, 1 + 2j, np.longdouble(1), object(), TrialConfig],
)
def test_choices_that_no_record_can_hold_are_refused(odd: Any) -> None:
    with pytest.raises(
        ValueError, match=r"the choices of 'choice' must be text, finite numbers, booleans or None, but"
    ):
        suggest_config(choosing([0.5, odd]), ask_study(make_study()), BASE)


def test_numpy_choices_come_with_tpe_too() -> None:
    """It writes what it draws as JSON, which has no NumPy numbers, once it has seen ten trials."""
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0, multivariate=True, group=True))
    for number in range(15):
        trial = ask_study(study)
        suggest_config(choosing(np.arange(4)), trial, BASE)
        study.tell(trial, number)
    assert len(study.trials) == 15


def test_numbers_of_numpy_in_the_configuration_are_recorded_as_plain_ones() -> None:
    def space(trial: optuna.Trial, base: TrialConfig) -> TrialConfig:
        low, high = np.float32(0.25), np.float64(0.5)
        fraction = trial.suggest_float("fraction", low, high)
        alpha = Polynomial(rate=np.int64(1) + trial.suggest_int("k", np.int64(1), np.int64(2)))
        return replace(base, alpha=alpha, alpha_fraction=np.float64(fraction), epochs_per_alpha=np.int64(1))

    suggestion = suggest_config(space, ask_study(make_study()), BASE)
    record = json.loads(json.dumps(suggestion.as_record(0).config, allow_nan=False))
    assert trial_config(record) == suggestion.config


def returning(change: Callable[[optuna.Trial, TrialConfig], Any]) -> SpaceFunction:
    return change


@pytest.mark.parametrize(
    ("space", "says"),
    [
        (lambda trial, base: replace(base, epochs=base.epochs + 1), "must leave trial.epochs unchanged"),
        (
            lambda trial, base: (trial.set_user_attr("a", object()), base)[1],
            "must be recordable as JSON, but Object of",
        ),
        (lambda trial, base: (trial.suggest_float(5, 0, 1), base)[1], "must be recordable as JSON, but a value is"),
        (lambda trial, base: (trial.suggest_float("x", 1, 0), base)[1], "`low <= high` must hold"),
    ],
)
def test_what_cannot_be_run_or_recorded_is_refused(space: SpaceFunction, says: str) -> None:
    with pytest.raises(ValueError, match=says) as refused:
        suggest_config(space, ask_study(make_study()), BASE)
    assert "\n" not in str(refused.value)


def test_an_error_in_the_function_is_no_refusal_and_names_its_line() -> None:
    def space(trial: optuna.Trial, base: TrialConfig) -> TrialConfig:
        return {}["missing"]  # type: ignore[no-any-return]

    with pytest.raises(
        SpaceError, match=r"the space failed with KeyError: 'missing' \(.*test_suggestion.py, line \d+\)"
    ):
        suggest_config(space, ask_study(make_study()), BASE)


class Broken(optuna.samplers.RandomSampler):
    def sample_independent(self, *arguments: Any) -> Any:
        raise ValueError("the sampler is broken")


def test_an_error_of_optuna_is_no_refusal() -> None:
    study = optuna.create_study(sampler=Broken())
    with pytest.raises(SpaceError, match=r"Optuna cannot suggest 'choice' from .*: ValueError: the sampler is broken"):
        suggest_config(choosing(["a", "b"]), ask_study(study), BASE)
    study = make_study()
    suggest_config(choosing(["a", "b"]), ask_study(study), BASE)
    with pytest.raises(SpaceError, match="dynamic value space"):
        suggest_config(choosing(["a", "b", "c"]), ask_study(study), BASE)


def test_the_distributions_of_a_conditional_space_are_all_found() -> None:
    def space(trial: optuna.Trial, base: TrialConfig) -> TrialConfig:
        family = trial.suggest_categorical("family", [*range(12)])
        if family == 11:
            trial.suggest_float("rate", 0, 1)
        if family == 10:
            raise ValueError("not this one")
        trial.suggest_int("moving", 0, 1 + family)
        return base

    found = sample_distributions(space, BASE, ["rate", "gone"])
    assert found == {"family": CategoricalDistribution([*range(12)]), "rate": FloatDistribution(0, 1)}
    assert "moving" not in found  # its range is another in each trial
    assert sample_distributions(lambda trial, base: (trial.suggest_int("k", 0, 3), base)[1], BASE, ["k"]) == {
        "k": IntDistribution(0, 3)
    }

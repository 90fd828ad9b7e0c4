"""What draws the trials is a setting: Optuna's samplers by name, or a function of the user's."""

from collections.abc import Callable
from typing import Any

import optuna
import pytest
from pydantic import ValidationError

from search.sampling.samplers import create_sampler, create_study
from search.settings import SAMPLERS, SearchSettings

Write = Callable[[str], None]


@pytest.fixture
def write(write_module: Callable[[str, str], None]) -> Write:
    """Writes `my_sampler.py`."""
    return lambda body: write_module("my_sampler", f"import optuna\n{body}\n")


def draw(settings: SearchSettings, *, asked: int = 0, trials: int = 14) -> list[dict[str, Any]]:
    """What a study suggests for a conditional space with two objectives."""
    study = create_study(settings, asked=asked)
    drawn = []
    for _ in range(trials):
        trial = study.ask()
        x = trial.suggest_float("x", 0, 1)
        if trial.suggest_categorical("kind", ["a", "b"]) == "b":
            trial.suggest_float("y", 1e-4, 1, log=True)
        study.tell(trial, [x, x])
        drawn.append(trial.params)
    return drawn


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_draws_the_same_from_the_same_seed_and_count(name: str) -> None:
    settings = SearchSettings(sampler=name, seed=3)
    drawn = draw(settings)
    assert drawn == draw(settings)
    assert drawn != draw(SearchSettings(sampler=name, seed=4))
    assert drawn[0] != draw(settings, asked=1, trials=1)[0]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("tpe", optuna.samplers.TPESampler),
        ("gp", optuna.samplers.GPSampler),
        ("random", optuna.samplers.RandomSampler),
    ],
)
def test_the_names(name: str, kind: type) -> None:
    assert type(create_sampler(name, seed=0)) is kind


def test_a_function_of_ones_own(write: Write) -> None:
    write("def brute_force(seed):\n    return optuna.samplers.BruteForceSampler(seed=seed)")
    sampler = create_sampler("my_sampler:brute_force", seed=0)
    assert isinstance(sampler, optuna.samplers.BruteForceSampler)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "sampler 'my_sampler:create': .*my_sampler.py has no 'create'; it has no function"),
        ("def create(seed): return 3", "sampler 'my_sampler:create' must return an Optuna sampler, but returned a int"),
        ("def create(): ...", "sampler 'my_sampler:create': TypeError: .*; it is called with a seed and must return"),
        ("import absent", "sampler 'my_sampler:create': importing my_sampler raised ModuleNotFoundError"),
    ],
)
def test_what_is_no_sampler_is_refused_in_one_line(write: Write, body: str, message: str) -> None:
    write(body)
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        create_sampler("my_sampler:create", seed=0)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(
        ValidationError, match=r"`sampler` must be tpe, gp, random or package\.module:function, but got"
    ):
        SearchSettings(sampler="optuna")
    with pytest.raises(ValidationError, match="got 'randon'; did you mean 'random'"):
        SearchSettings(sampler="randon")

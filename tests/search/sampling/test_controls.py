"""What alpha has to beat: one-shot cuts with the same budget, and the numbers that are reserved for them."""

from dataclasses import replace

import pytest

from search.sampling.controls import control_configs, next_number
from search.settings import Settings, resolve_settings


def settings() -> Settings:
    base = resolve_settings({"controls": {"amounts": [0.5, 0.75]}})
    return replace(base, trial=replace(base.trial, epochs=9))


def test_controls_differ_from_the_base_only_in_what_they_control() -> None:
    chosen = settings()
    for kind, config in control_configs(chosen):
        assert config.list_alphas(1) == ()
        assert config.epochs == config.retrain_epochs == chosen.trial.epochs
        assert config.pruning.amount in (0.5, 0.75)
        assert (config.pruning.criterion == "random") == (kind == "random_channels")
        assert (config.initial == "random") == (kind == "from_scratch")
        assert (config.lr, config.optimizer, config.seed) == (
            chosen.trial.lr,
            chosen.trial.optimizer,
            chosen.trial.seed,
        )


def test_controls_are_ordered_by_number() -> None:
    """A resumed search recognises each of them by its number."""
    found = [(kind, config.pruning.amount) for kind, config in control_configs(settings())]
    assert found == [
        ("one_shot", 0.5),
        ("random_channels", 0.5),
        ("from_scratch", 0.5),
        ("one_shot", 0.75),
        ("random_channels", 0.75),
        ("from_scratch", 0.75),
    ]


@pytest.mark.parametrize(
    ("numbers", "following"), [(set(), 6), ({0}, 6), ({0, 3, 5}, 6), ({6}, 7), ({2, 11}, 12), (range(6), 6)]
)
def test_new_trials_are_numbered_after_all_others_and_all_controls(numbers: set[int], following: int) -> None:
    assert next_number(numbers, settings()) == following

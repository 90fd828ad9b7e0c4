"""Unit tests of a space: copy this file, and put your own preset in place of quickstart.

python -m pytest examples/test_my_space.py
"""

import optuna
import pytest

import alphaprune


def test_all_of_it_is_valid() -> None:
    samples = alphaprune.check("quickstart", samples=100)
    assert samples.distinct > 90
    assert not samples.unseen, "too few samples, or a choice that cannot be drawn"


def test_steep_schedules_are_left_out() -> None:
    with pytest.raises(ValueError, match="families"):
        alphaprune.check("quickstart", **{"space.options": {"families": ["steep"]}})


def test_given_suggestions_make_the_trial_that_was_meant() -> None:
    suggested = {
        "alpha.polynomial.rate": 3.0,
        "alpha_fraction": 0.4,
        "alpha_lr": 0.01,
        "lr.peak": 0.05,
        "optimizer.weight_decay": 1e-3,
        "optimizer.label_smoothing": 0.0,
    }
    config = alphaprune.alpha_pruning(
        optuna.trial.FixedTrial(suggested),
        alphaprune.TrialConfig(),
        amounts=[0.75],
        families=["polynomial"],
        policies=["cosine"],
        criteria=["l1"],
        scopes=["global"],
        lr_spans=["retrain"],
    )
    assert config.alpha == alphaprune.Polynomial(rate=3.0)
    assert config.lr == alphaprune.CosineAnnealing(peak=0.05)

"""The recipes of benchmarks/screening.py that are part of TrialConfig: both ways give the same network, to the bit."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from trainable.config import DataConfig, OptimizerConfig, PruningConfig, TrialConfig
from trainable.data.dataset import Data, load_data
from trainable.dense import DenseNetwork
from trainable.device import prepare_device
from trainable.schedules.alpha import AlphaSchedule, Exponential, OneShot, Polynomial
from trainable.schedules.lr_policies import CosineAnnealing
from trainable.trial import Trial

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import screening
import vgg16


@pytest.fixture(scope="module")
def data() -> Data:
    """Digits in two batches, the second of which is smaller."""
    return load_data(DataConfig(images=250, validation_fraction=0.2, flip=True))


@pytest.fixture(scope="module")
def dense() -> DenseNetwork:
    return vgg16.create_dense(1 / 16)


@pytest.mark.parametrize(
    ("recipe", "alpha", "changed"),
    [
        ("today_epochs", Exponential(), {"alpha_fraction": 0.34}),
        ("one_curve_epochs", Exponential(), {"alpha_fraction": 0.34, "lr_span": "trial"}),
        ("one_shot_epochs", OneShot(), {}),
        ("fade_1_decay_2", Polynomial(rate=1), {"epochs_per_alpha": 0, "lr_span": "trial"}),
        ("fade_025", Polynomial(rate=1), {"epochs_per_alpha": 0, "lr_span": "trial"}),
    ],
)
def test_a_recipe_and_a_trial_give_the_same_network(
    recipe: str, alpha: AlphaSchedule, changed: dict[str, Any], data: Data, dense: DenseNetwork, tmp_path: Path
) -> None:
    prepare_device(screening.CPU, 1)  # as a worker does, and a trial
    chosen = screening.RECIPES[recipe]
    training = screening.Training(chosen, 0.5, 3, tmp_path, dense.network, dense.layout, data)
    training.run()
    if chosen.by_step:
        # So that rounding leaves the number of batches that the recipe fades for.
        changed = {"alpha_fraction": round(chosen.fade * training.steps) / (training.steps * training.epochs)} | changed
    config = TrialConfig(
        seed=3,
        epochs=training.epochs,
        alpha=alpha,
        lr=CosineAnnealing(peak=0.05, warmup_epochs=2),
        pruning=PruningConfig(amount=0.5, round_to=4),
        optimizer=OptimizerConfig(weight_decay=chosen.weight_decay),
        **changed,
    )
    trial = Trial(config, data, dense)
    while not trial.is_finished:
        trial.run_epoch()
    assert sum(row.training_cost or 0 for row in trial.rows) == pytest.approx(training.compute)
    for ours, theirs in zip(trial.network.state_dict().values(), training.network.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)

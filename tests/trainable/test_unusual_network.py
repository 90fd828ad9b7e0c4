"""Networks of people's own have frozen layers, names that are ours, and tensors that no state dict has."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from records.epoch import EpochRow
from trainable.config import DenseConfig, NetworkConfig, OptimizerConfig, PruningConfig, TrialConfig
from trainable.data.dataset import Data
from trainable.dense import DenseNetwork, load_dense, train_dense
from trainable.trial import Trial

CONFIG = DenseConfig(epochs=2, peak=0.02, optimizer=OptimizerConfig(batch_size=12))


@pytest.fixture(scope="module")
def unusual(data: Data, tmp_path_factory: pytest.TempPathFactory) -> DenseNetwork:
    folder: Path = tmp_path_factory.mktemp("unusual") / "dense"
    train_dense(CONFIG, data, folder, threads=1, network=NetworkConfig("networks:build_unusual"))
    return load_dense(folder)


def test_frozen_layers_are_groups_and_stay_frozen(
    unusual: DenseNetwork, small: Callable[..., TrialConfig], data: Data
) -> None:
    assert [group.name for group in unusual.layout.groups] == ["first.0", "second.0"]
    trial = Trial(small(pruning=PruningConfig(amount=0.5, round_to=1, criterion="taylor")), data, unusual)
    before = {name: each.clone() for name, each in trial._inner_network.named_parameters() if not each.requires_grad}
    assert "first.1.weight" in before
    trial.run_epoch()
    trained = dict(trial._inner_network.named_parameters())
    assert all(torch.equal(each, trained[name]) for name, each in before.items())


@pytest.mark.parametrize("epochs", [1, 3], ids=["before the cut", "after it"])
def test_a_trial_continues_where_it_was(
    unusual: DenseNetwork,
    small: Callable[..., TrialConfig],
    timeless: Callable[[Sequence[EpochRow]], list[dict[str, Any]]],
    data: Data,
    epochs: int,
) -> None:
    trial, continued = Trial(small(), data, unusual), Trial(small(), data, unusual)
    for _ in range(epochs):
        trial.run_epoch()
    continued.load_state_dict(copy.deepcopy(trial.state_dict()))  # as if it had been written and read
    while not trial.is_finished:
        trial.run_epoch()
        continued.run_epoch()
    assert timeless(continued.rows) == timeless(trial.rows)


def test_a_state_that_does_not_fit_leaves_the_trial_as_it_was(
    unusual: DenseNetwork, small: Callable[..., TrialConfig], data: Data
) -> None:
    trial = Trial(small(), data, unusual)
    while trial.cut is None:
        trial.run_epoch()
    state = trial.state_dict()
    del state["network"]["alpha"]
    fresh = Trial(small(), data, unusual)
    with pytest.raises(ValueError, match="alpha"):
        fresh.load_state_dict(state)
    assert (fresh.epoch, fresh.rows, fresh.cut) == (0, [], None)
    assert isinstance(fresh._inner_network, nn.Module)
    fresh.run_epoch()

"""A trial that is saved after any epoch and continued in a new object gives the same rows, to the bit."""

import io
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import list_widths

from records.epoch import EpochRow
from trainable.config import OptimizerConfig, PruningConfig, TrialConfig, as_json
from trainable.data.dataset import Data
from trainable.dense import DenseNetwork
from trainable.network.vgg import VGG
from trainable.pruning.masks import widths_of
from trainable.schedules.alpha import Multiplicative, OneShot, Polynomial
from trainable.schedules.lr_policies import CosineAnnealing, CosineRestarts, OneCycle, Plateau, StagnationRestart
from trainable.trial import Trial

ROOT = Path(__file__).parents[2]
Timeless = Callable[[Sequence[EpochRow]], list[dict[str, Any]]]


def saved(trial: Trial) -> bytes:
    file = io.BytesIO()
    torch.save(trial.state_dict(), file)
    return file.getvalue()


def loaded(state: bytes) -> dict[str, Any]:
    """It holds nothing that would run code."""
    found: dict[str, Any] = torch.load(io.BytesIO(state), weights_only=True)
    return found


def run(trial: Trial, epochs: int = 100) -> list[EpochRow]:
    while not trial.is_finished and epochs > 0:
        trial.run_epoch()
        epochs -= 1
    return trial.rows


def weights(trial: Trial) -> list[torch.Tensor]:
    """All but alpha, which each batch sets."""
    return list(trial._inner_network.state_dict().values())


@pytest.fixture(scope="module")
def few(make_data: Callable[..., Data]) -> Data:
    """Few images: what is tested is what happens between the epochs."""
    return make_data(18, 8)


@pytest.fixture(scope="module")
def short(small: Callable[..., TrialConfig]) -> Callable[..., TrialConfig]:
    return lambda **changed: small(**({"optimizer": OptimizerConfig(batch_size=6)} | changed))


# What the small config (two epochs of alpha, three of retraining, three batches each) is changed to.
CASES: dict[str, dict[str, Any]] = {
    "plateau": {"lr": Plateau(peak=0.1, patience=0, warmup_epochs=1)},
    "cosine": {"lr": CosineAnnealing(peak=0.05, warmup_epochs=1)},
    "cosine_restarts": {"lr": CosineRestarts(peak=0.05, period_epochs=1, period_factor=1)},
    "one_cycle": {"lr": OneCycle(peak=0.05)},
    "stagnation_restart": {"lr": StagnationRestart((1e-6, 0.01, 0.1), patience=1)},
    "conv_weight": {"pruning": PruningConfig(amount=0.5, round_to=1, gate="conv_weight")},
    "epochs_per_alpha": {"alpha_fraction": 0.8, "epochs_per_alpha": 2, "optimizer": OptimizerConfig(batch_size=9)},
    "multiplicative": {
        "epochs": 6,
        "alpha_fraction": 0.9,
        "alpha": Multiplicative(0.5, 0.05),
        "optimizer": OptimizerConfig(batch_size=9),
    },
    "every batch": {"epochs_per_alpha": 0, "alpha_fraction": 0.3},
    "parts of an epoch": {"epochs_per_alpha": 0.3, "alpha_fraction": 0.5, "lr_span": "trial"},
    "one curve": {"lr_span": "trial", "lr": CosineAnnealing(peak=0.05, warmup_epochs=1)},
    "one plateau": {"lr_span": "trial", "lr": Plateau(peak=0.1, patience=0, warmup_epochs=1)},
    "from scratch": {"epochs": 3, "alpha": OneShot(), "initial": "random", "lr": OneCycle(peak=0.05)},
}


@pytest.mark.parametrize("changed", CASES.values(), ids=CASES.keys())
def test_it_continues_the_same_from_every_epoch(
    changed: dict[str, Any],
    few: Data,
    dense: DenseNetwork,
    short: Callable[..., TrialConfig],
    timeless: Timeless,
) -> None:
    """Before the first epoch, within each phase, on the border between them, and after the last."""
    config = short(**changed)
    whole = Trial(config, few, dense)
    states = [saved(whole)]
    while not whole.is_finished:
        whole.run_epoch()
        states.append(saved(whole))
    for epoch, state in enumerate(states):
        trial = Trial(config, few, dense)
        trial.load_state_dict(loaded(state))
        assert (trial.epoch, trial.phase) == (epoch, "alpha" if epoch < len(config.list_alphas(1)) else "retrain")
        assert trial.rows == whole.rows[:epoch]
        assert timeless(run(trial)) == timeless(whole.rows)
        assert trial.cut == whole.cut
        assert all(torch.equal(*pair) for pair in zip(weights(trial), weights(whole), strict=True))


def test_it_continues_the_same_when_it_is_interrupted_after_each_epoch(
    few: Data, dense: DenseNetwork, short: Callable[..., TrialConfig], timeless: Timeless
) -> None:
    config = short(lr=Plateau(peak=0.1, patience=0, warmup_epochs=1))
    whole = run(Trial(config, few, dense))
    trial = Trial(config, few, dense)
    while not trial.is_finished:
        trial.run_epoch()
        state = saved(trial)
        trial = Trial(config, few, dense)
        trial.load_state_dict(loaded(state))
    assert timeless(trial.rows) == timeless(whole)


FRESH = """
import json, pickle, sys
from pathlib import Path
import torch
from trainable.config import trial_config
from trainable.dense import load_dense
from trainable.trial import Trial

folder, dense = map(Path, sys.argv[1:])
trial = Trial(
    trial_config(json.loads((folder / "config.json").read_text())),
    pickle.loads((folder / "data").read_bytes()),
    load_dense(dense),
)
trial.load_state_dict(torch.load(folder / "state.pt", weights_only=True))
while not trial.is_finished:
    trial.run_epoch()
print(json.dumps([row.as_values() for row in trial.rows]))
"""


@pytest.mark.slow
def test_it_continues_the_same_in_another_process(
    few: Data,
    dense: DenseNetwork,
    dense_folder: Path,
    short: Callable[..., TrialConfig],
    timeless: Timeless,
    tmp_path: Path,
) -> None:
    config = short(lr=CosineAnnealing(peak=0.05))
    trial = Trial(config, few, dense)
    run(trial, 3)
    (tmp_path / "state.pt").write_bytes(saved(trial))
    (tmp_path / "data").write_bytes(pickle.dumps(few))
    (tmp_path / "config.json").write_text(json.dumps(as_json(config)))
    command = [sys.executable, "-c", FRESH, str(tmp_path), str(dense_folder)]
    output = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}, check=True, capture_output=True, text=True
    ).stdout
    rows = [EpochRow.from_values(values, epoch) for epoch, values in enumerate(json.loads(output), start=1)]
    assert timeless(rows) == timeless(run(trial))


def test_a_state_goes_back_in_time_in_the_same_object(
    few: Data, dense: DenseNetwork, short: Callable[..., TrialConfig], timeless: Timeless
) -> None:
    """Also from after the cut to before it, where the network is a different one."""
    trial = Trial(short(), few, dense)
    run(trial, 1)
    state = saved(trial)
    whole = timeless(run(trial))
    trial.load_state_dict(loaded(state))
    assert (trial.epoch, trial.cut, len(trial.rows)) == (1, None, 1)
    assert timeless(run(trial)) == whole


# What a scheduler that clones trials may change, before the cut and after it.
CLONES: list[dict[str, Any]] = [
    {"seed": 7},
    {"alpha": Polynomial(2), "lr": OneCycle(peak=0.03)},
    {"lr": StagnationRestart()},
    {"optimizer": OptimizerConfig(batch_size=9, weight_decay=1e-3, momentum=0.8)},
    {"epochs": 7, "alpha_fraction": 0.3, "alpha_lr": 0.005},
]


@pytest.mark.parametrize("epoch", [1, 2, 4])
def test_a_clone_takes_network_epochs_and_rows_and_does_the_rest_its_own_way(
    epoch: int, few: Data, dense: DenseNetwork, short: Callable[..., TrialConfig]
) -> None:
    parent = Trial(short(), few, dense)
    run(parent, epoch)
    state = saved(parent)
    for changed in CLONES:
        config = short(**changed)
        clone = Trial(config, few, dense)
        clone.load_state_dict(loaded(state))
        assert (clone.epoch, clone.rows, clone.cut) == (epoch, parent.rows, parent.cut)
        assert all(torch.equal(*pair) for pair in zip(weights(clone), weights(parent), strict=True))
        optimizer = clone.state_dict()["optimizer"]
        assert optimizer["param_groups"][0]["weight_decay"] == config.optimizer.weight_decay
        assert optimizer["param_groups"][0]["momentum"] == config.optimizer.momentum
        assert optimizer["state"] == {}
        row = clone.run_epoch()
        assert (row.epoch, len(clone.rows)) == (epoch + 1, epoch + 1)
        assert row.alpha == (config.list_alphas(1)[epoch] if epoch < 2 else 0)
        assert row.lr == pytest.approx(config.alpha_lr) if epoch < 2 else 0 < row.lr <= 0.05


def test_a_clone_cuts_the_channels_that_its_parent_marked(
    few: Data, dense: DenseNetwork, short: Callable[..., TrialConfig]
) -> None:
    parent = Trial(short(pruning=PruningConfig(amount=0.3, round_to=1, criterion="random")), few, dense)
    run(parent, 2)
    clone = Trial(short(pruning=PruningConfig(amount=0.8, round_to=1)), few, dense)
    assert widths_of(clone.masks) != widths_of(parent.masks)
    clone.load_state_dict(loaded(saved(parent)))
    rows = run(clone)
    assert isinstance(clone.network, VGG)
    assert list_widths(clone.network) == widths_of(parent.masks)
    assert {row.mac_sparsity for row in rows} == {parent.rows[0].mac_sparsity}


@pytest.mark.parametrize(
    ("epoch", "changed", "message"),
    [
        (1, {"pruning": PruningConfig(0.5, round_to=1, gate="conv_weight")}, "gate.*'bn_output'.*'conv_weight'"),
        (4, {"pruning": PruningConfig(0.5, round_to=1, gate="conv_weight")}, "gate.*'bn_output'.*'conv_weight'"),
        (2, {"alpha_fraction": 0.2}, r"before the cut \(epoch 2\).* alpha phase of 1 epochs"),
        (1, {"alpha_fraction": 0}, r"before the cut \(epoch 1\).* alpha phase of 0 epochs"),
        (3, {"alpha_fraction": 0.8}, r"after the cut \(epoch 3\).* alpha phase of 4 epochs"),
    ],
)
def test_a_clone_that_would_not_fit_is_refused_and_stays_as_it_was(
    epoch: int, changed: dict[str, Any], message: str, few: Data, dense: DenseNetwork, short: Callable[..., TrialConfig]
) -> None:
    parent = Trial(short(), few, dense)
    run(parent, epoch)
    clone = Trial(replace(parent.config, **changed), few, dense)
    before = [tensor.clone() for tensor in weights(clone)]
    with pytest.raises(ValueError, match=message):
        clone.load_state_dict(loaded(saved(parent)))
    assert (clone.epoch, clone.rows, clone.cut) == (0, [], None)
    assert all(torch.equal(*pair) for pair in zip(weights(clone), before, strict=True))


def test_a_clone_from_the_border_is_cut_first(
    few: Data, dense: DenseNetwork, short: Callable[..., TrialConfig]
) -> None:
    """Its parent had more of the alpha phase to come; the clone has not."""
    parent = Trial(short(alpha_fraction=0.8), few, dense)
    run(parent, 2)
    clone = Trial(short(), few, dense)
    clone.load_state_dict(loaded(saved(parent)))
    rows = run(clone)
    assert [row.phase for row in rows] == ["alpha"] * 2 + ["retrain"] * 3
    assert clone.cut is not None
    assert clone.cut.epoch == 2

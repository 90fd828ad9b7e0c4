"""Networks with layers that draw at random are trained as reproducibly as others."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from records.dense import DenseEpochRow
from records.epoch import EpochRow
from trainable.config import DenseConfig, NetworkConfig, OptimizerConfig, TrialConfig
from trainable.data.dataset import Data
from trainable.dense import load_dense, train_dense
from trainable.device import seed_layers
from trainable.trial import Trial

DROPPING = NetworkConfig("networks:build_dropping")
CONFIG = DenseConfig(epochs=3, peak=0.02, optimizer=OptimizerConfig(batch_size=12))


def draw_something() -> None:
    """What another trial in the same process might do."""
    torch.rand(7)


@pytest.fixture(scope="module")
def folder(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dropping") / "dense"
    train_dense(CONFIG, data, folder, threads=1, network=DROPPING)
    return folder


def test_an_interrupted_dense_network_is_the_same(folder: Path, data: Data, tmp_path: Path) -> None:
    def interrupt(row: DenseEpochRow) -> None:
        if row.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_dense(CONFIG, data, tmp_path, threads=1, network=DROPPING, on_epoch=interrupt)
    draw_something()
    train_dense(CONFIG, data, tmp_path, threads=1, network=DROPPING)
    assert (tmp_path / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_a_trial_has_the_same_rows_whatever_was_drawn_before(
    folder: Path,
    data: Data,
    small: Callable[..., TrialConfig],
    timeless: Callable[[Sequence[EpochRow]], list[dict[str, Any]]],
) -> None:
    def run(trial: Trial) -> list[dict[str, Any]]:
        while not trial.is_finished:
            trial.run_epoch()
        return timeless(trial.rows)

    dense = load_dense(folder)
    interrupted = Trial(small(), data, dense)
    interrupted.run_epoch()
    state = interrupted.state_dict()
    draw_something()
    whole = run(Trial(small(), data, dense))
    draw_something()
    continued = Trial(small(), data, dense)
    continued.load_state_dict(state)
    assert run(continued) == whole
    assert run(Trial(small(seed=1), data, dense)) != whole


def test_what_is_drawn_depends_on_the_seed_and_the_epoch() -> None:
    def draw(seed: int, epoch: int) -> float:
        with seed_layers(torch.device("cpu"), seed=seed, epoch=epoch):
            return torch.rand(()).item()

    assert draw(0, 1) == draw(0, 1)
    assert len({draw(seed, epoch) for seed in range(3) for epoch in range(3)}) == 9


def test_the_global_generator_stays_as_it_was(folder: Path, data: Data, small: Callable[..., TrialConfig]) -> None:
    before = torch.get_rng_state()
    Trial(small(), data, load_dense(folder)).run_epoch()
    assert torch.equal(torch.get_rng_state(), before)

"""Small real things: images that can be learnt in a few epochs, a dense network trained on them, a trial of seconds."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from records.epoch import EpochRow
from trainable.config import DenseConfig, OptimizerConfig, PruningConfig, TrialConfig
from trainable.data.dataset import Data, Split
from trainable.dense import DenseNetwork, load_dense, train_dense

CLASSES = 4
MEASURED = ("epoch_seconds", "images_per_second")  # by a clock, and therefore never the same twice


@contextmanager
def on_the_cpu() -> Iterator[None]:
    """Runs on the CPU, where results are repeatable to the bit, even on a machine with a GPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        torch.set_num_threads(1)
        yield


@pytest.fixture(scope="module", autouse=True)
def _on_the_cpu() -> Iterator[None]:
    with on_the_cpu():
        yield


def _split(rng: np.random.Generator, patterns: np.ndarray[Any, Any], count: int) -> Split:
    labels = np.arange(count) % len(patterns)
    images = patterns[labels] + rng.normal(0, 40, (count, 32, 32, 3))
    split = Split(images.clip(0, 255).astype(np.uint8), labels)
    for array in (split.images, split.labels):
        array.setflags(write=False)
    return split


@pytest.fixture(scope="session")
def make_data() -> Callable[..., Data]:
    """Data of any size: each class a coarse colour pattern under noise."""

    def make(train: int = 36, validation: int = 24, *, pad: int = 2, flip: bool = True, seed: int = 0) -> Data:
        patterns = np.random.default_rng(0).integers(0, 256, (CLASSES, 4, 4, 3)).repeat(8, 1).repeat(8, 2)
        rng = np.random.default_rng((seed, 1))
        splits = [_split(rng, patterns, count) for count in (train, validation, 20)]
        pixels = splits[0].images.reshape(-1, 3) / 255
        red, green, blue = (float(mean) for mean in pixels.mean(0))
        stds = tuple(float(std) for std in pixels.std(0))
        return Data("tiny", CLASSES, *splits, pad, flip, (red, green, blue), stds, f"{train} {validation} {seed}")

    return make


@pytest.fixture(scope="session")
def data(make_data: Callable[..., Data]) -> Data:
    """36 images to train on, 24 to validate with."""
    return make_data()


@pytest.fixture(scope="session")
def dense_config() -> DenseConfig:
    """VGG16 at a sixteenth of its width, 58,000 parameters."""
    return DenseConfig(width=1 / 16, epochs=6, peak=0.02, optimizer=OptimizerConfig(batch_size=12))


@pytest.fixture(scope="session")
def dense_folder(dense_config: DenseConfig, data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where train_dense put the dense network; not to be changed."""
    folder = tmp_path_factory.mktemp("experiment") / "dense"
    with on_the_cpu():
        train_dense(dense_config, data, folder, threads=1)
    return folder


@pytest.fixture(scope="session")
def dense(dense_folder: Path) -> DenseNetwork:
    return load_dense(dense_folder)


@pytest.fixture(scope="session")
def small() -> Callable[..., TrialConfig]:
    """A trial of 5 epochs of 3 batches, two of them in the alpha phase, with the given fields changed."""

    def config(**changed: Any) -> TrialConfig:
        pruning = PruningConfig(amount=0.5, round_to=1)
        values = {"epochs": 5, "alpha_fraction": 0.4, "pruning": pruning, "optimizer": OptimizerConfig(batch_size=12)}
        return TrialConfig(**(values | changed))

    return config


@pytest.fixture(scope="session")
def timeless() -> Callable[[Sequence[EpochRow]], list[dict[str, Any]]]:
    """Rows without what a clock measured: the rest must be the same to the bit."""
    return lambda rows: [
        {name: value for name, value in row.as_values().items() if name not in MEASURED} for row in rows
    ]


@pytest.fixture
def one_cpu() -> Iterator[int]:
    """Keeps this process, and whatever it starts, on one CPU."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("processes cannot be kept on one CPU here")
    before = os.sched_getaffinity(0)
    chosen = min(before)
    os.sched_setaffinity(0, {chosen})
    yield chosen
    os.sched_setaffinity(0, before)

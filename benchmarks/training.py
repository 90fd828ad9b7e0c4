"""How fast an epoch trains beside the bare step and a DataLoader, and how much faster once the network is pruned.

    python benchmarks/training.py [--widths 0.25 1] [--rounds 5]

One thread, batches of 128 random images, which take as long as real ones. The sides of a comparison take turns, and
the ratios are medians over the rounds, with quartiles. Nothing else should be running.

1. Images per second of an epoch as trials train it (augmented, with losses and accuracies summed), of the bare step
   (forward, backward and SGD on one batch in memory), and of PyTorch's ordinary pipeline: torchvision's transforms on
   PIL images, in a DataLoader in the same process.
2. Seconds of an epoch of a trial's alpha phase over those of its retrain phase, each with validation as in a search,
   for two values of pruning.round_to.
"""

import argparse
import math
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from itertools import product

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from vgg16 import CLASSES, IMAGE_SIZE, create_dense

from trainable.config import OptimizerConfig, PruningConfig, TrialConfig
from trainable.data.batches import DeviceSplit
from trainable.data.dataset import Data, Split
from trainable.device import default_device, device_name, prepare_device
from trainable.graphed_step import create_step
from trainable.measurement.latency import compute_quartiles
from trainable.network.placement import place_on
from trainable.schedules.alpha import OneShot
from trainable.schedules.lr_schedulers import LRDriver
from trainable.training import autocast_on, create_sgd, train_batches
from trainable.trial import Trial

BATCH = 128
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
# Batches of an epoch in the first table, and in the second; a search validates on a quarter as many images as it
# trains on.
BATCHES = {0.25: 10, 1.0: 2}
AMOUNTS = (0.8, 0.9)
# pruning.round_to of cifar10-small, and the block of channels that AVX2 kernels compute at once.
ROUND_TO = (4, 8)
OPTIMIZER = OptimizerConfig(batch_size=BATCH)


def make_data(images: int) -> Data:
    """Random images in the sizes of CIFAR-10's."""
    random = np.random.default_rng(0)

    def split(count: int) -> Split:
        pixels = random.integers(0, 256, (count, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        return Split(pixels, random.integers(0, CLASSES, count))

    splits = split(images), split(images // 4), split(1)
    return Data("random", CLASSES, *splits, pad=4, flip=True, mean=MEAN, std=STD, fingerprint="")


class PILImages(Dataset[tuple[Tensor, int]]):
    """The training images as torchvision's own data sets hand them out."""

    def __init__(self, split: Split) -> None:
        self._split = split
        self._transform = transforms.Compose(
            [
                transforms.RandomCrop(IMAGE_SIZE, padding=4, padding_mode="reflect"),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self._split.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(Image.fromarray(self._split.images[index])), int(self._split.labels[index])


class Trained:
    """A network in training, and its optimizer."""

    def __init__(self, width: float, device: torch.device) -> None:
        self.device = device
        self.network = place_on(create_dense(width).network, device)
        self.optimizer = create_sgd(self.network, OPTIMIZER, 0.01)

    def step(self, inputs: Tensor, labels: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        with autocast_on(self.device):
            loss = functional.cross_entropy(self.network(inputs), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()


def epochs_of(width: float, data: Data, device: torch.device) -> Mapping[str, Callable[[], object]]:
    """An epoch of each side of the first table."""
    images = DeviceSplit(data.train, data, device)
    steps = images.count_steps(BATCH)
    ours, bare, loaded = (Trained(width, device) for _ in range(3))
    rate = LRDriver(ours.optimizer, None, total=steps, steps=steps)
    training = create_step(ours.network, ours.optimizer, images, label_smoothing=0.0)
    inputs, labels = next(images.plain_batches(BATCH))
    loader = DataLoader(PILImages(data.train), batch_size=BATCH, shuffle=True)

    def train() -> None:
        train_batches(training, rate, images.draw_batches(BATCH, seed=0, epoch=1))

    def step() -> None:
        for _ in range(steps):
            bare.step(inputs, labels)

    def load() -> None:
        for batch, its_labels in loader:
            loaded.step(batch.to(device).contiguous(memory_format=torch.channels_last), its_labels.to(device))

    return {"bare step": step, "DataLoader": load, "trial": train}


def phases_of(width: float, amount: float, round_to: int, data: Data) -> Mapping[str, Callable[[], object]]:
    """An epoch of the alpha phase and one of the retrain phase, each of a trial that has nothing else."""
    pruning, dense, endless = PruningConfig(amount, round_to=round_to), create_dense(width), 10_000
    fading = TrialConfig(epochs=endless, alpha_fraction=0.5, pruning=pruning, optimizer=OPTIMIZER)
    cut = TrialConfig(epochs=endless, alpha=OneShot(), pruning=pruning, optimizer=OPTIMIZER)
    alpha, retrain = Trial(fading, data, dense), Trial(cut, data, dense)
    return {"alpha phase": alpha.run_epoch, "retrain phase": retrain.run_epoch}


def time_in_turn(
    sides: Mapping[str, Callable[[], object]], rounds: int, device: torch.device, *, until: float = math.inf
) -> dict[str, list[float]]:
    """Seconds of each side in each round; a first round, which warms up, is not counted.

    None begins after time.perf_counter() has reached `until`, except for the two that quartiles need.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        if number > 2 and time.perf_counter() > until:
            break
        # Every other round backwards, so that none always follows the same one.
        for name, work in list(sides.items())[:: 1 if number % 2 else -1]:
            synchronise(device)
            began = time.perf_counter()
            work()
            synchronise(device)
            if number:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def quartiles_of_ratios(above: list[float], below: list[float]) -> str:
    found = compute_quartiles([a / b for a, b in zip(above, below, strict=True)])
    return f"{found.median:.2f}  ({found.q1:.2f} to {found.q3:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=float, nargs="+", default=[0.25, 1.0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    device, console = default_device(), Console(width=100)
    prepare_device(device, 1)
    console.print(f"{device_name(device)} ({platform.machine()}), one thread, torch {torch.__version__}")
    for width in options.widths:
        data = make_data(BATCH * BATCHES.get(width, 10))
        seconds = time_in_turn(epochs_of(width, data, device), options.rounds, device)
        table = Table("", "images/s", "trial's speed over it", title=f"training epoch, width {width:g}")
        for name, times in seconds.items():
            ratio = "" if name == "trial" else quartiles_of_ratios(times, seconds["trial"])
            table.add_row(name, f"{len(data.train.labels) / statistics.median(times):.0f}", ratio)
        console.print(table)
        table = Table(
            *("MACs cut", "widths in multiples of", "alpha phase, s", "retrain phase, s", "ratio"),
            title=f"epoch of a trial, width {width:g}",
        )
        for amount, round_to in product(AMOUNTS, ROUND_TO):
            phases = phases_of(width, amount, round_to, data)
            alpha, retrain = time_in_turn(phases, options.rounds, device).values()
            table.add_row(
                f"{amount:.0%}",
                f"{round_to}",
                f"{statistics.median(alpha):.3f}",
                f"{statistics.median(retrain):.3f}",
                quartiles_of_ratios(alpha, retrain),
            )
        console.print(table)


if __name__ == "__main__":
    main()

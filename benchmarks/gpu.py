"""What a GPU makes of training: CUDA graphs, batch sizes, several trials at once, MPS. Ten minutes at most.

    python benchmarks/gpu.py [--data FOLDER] [--width 1]
    python benchmarks/gpu.py --smoke [--data digits]        # tries all of it out, on a CPU, too: no figures

Random images in the number of CIFAR-10's training images (45,000) take as long as real ones. Nothing else should be
using the GPU. Each table is printed as soon as it is ready; what there was no time for is missing and said to be.

1. Seconds of an epoch of training, eager and with the step as a CUDA graph, of the dense network, of the gated one and
   of one that 90% of the MACs were cut from. The sides take turns; medians over the rounds, the ratio with quartiles.
2. Images per second of 1, 2, 4 and 8 processes together that train on the GPU at once, each with graphs, at batch 128:
   with and without MPS, for which this starts a daemon of its own and stops it. One run each.
3. With --data (a folder as for `alphaprune run`, or cifar10): validation accuracy of the dense network after 20 epochs
   of its one-cycle recipe, at learning rates in proportion to the batch size. One run each.
"""

import argparse
import logging
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from training import make_data, quartiles_of_ratios, synchronise, time_in_turn
from vgg16 import create_dense, remove_doomed

from records.dense import DenseEpochRow
from trainable.config import DataConfig, DenseConfig, OptimizerConfig, PruningConfig
from trainable.data.batches import DeviceSplit, Draw
from trainable.data.dataset import Data, load_data
from trainable.dense import train_dense
from trainable.device import default_device, device_name, prepare_device
from trainable.errors import DivergedError, TrialError
from trainable.graphed_step import GraphedStep, create_step
from trainable.network.placement import place_on
from trainable.pruning.criteria import score_channels
from trainable.pruning.gates import GatedNetwork
from trainable.pruning.masks import choose_masks
from trainable.schedules.lr_schedulers import LRDriver
from trainable.training import TrainingStep, create_sgd, train_batches

AMOUNT = 0.9
NETWORKS = ("dense", "gated", "pruned")
# The learning rate of batch 128; a batch of n has n / 128 times as much.
PEAK, BATCH = 0.1, 128
# So that all processes that train at once end at about the same time.
BATCHES_AHEAD = 20
MPS = "nvidia-cuda-mps-control"
NOT_GPU = (
    "[bold]NOT GPU FIGURES[/]: this machine has no GPU, so nothing was graphed. It only shows that the script runs."
)


@dataclass(frozen=True)
class Sizes:
    """How much is measured, and the seconds after which each part begins nothing new: together less than ten minutes.

    images: of an epoch. trials: processes at once, each for `seconds`. epochs: of the dense network.
    """

    width: float
    images: int = 45_000
    batches: Sequence[int] = (128, 512, 1024)
    rounds: int = 4
    trials: Sequence[int] = (1, 2, 4, 8)
    seconds: float = 5.0
    epochs: int = 20
    part_seconds: tuple[float, float, float] = (170.0, 220.0, 140.0)


SMOKE = Sizes(1 / 16, images=250, batches=(8, 16), rounds=2, trials=(1, 2), seconds=0.5, epochs=2)


def create_network(kind: str, width: float, device: torch.device) -> nn.Module:
    """One of NETWORKS; no time depends on its weights, which are random."""
    dense = create_dense(width)
    if kind == "dense":
        return place_on(dense.network, device)
    scores = score_channels(dense.network, dense.layout, "l1", batches=(), seed=0)
    masks = choose_masks(scores, PruningConfig(AMOUNT, round_to=8 if width == 1 else 1), dense.layout)
    if kind == "pruned":
        return place_on(remove_doomed(dense, masks), device)
    gated = GatedNetwork(place_on(dense.network, device), dense.layout, masks, "bn_output")
    gated.set_alpha(0.5)
    return gated


class Training:
    """A network in training."""

    def __init__(self, kind: str, width: float, images: DeviceSplit, batch: int, *, graphed: bool) -> None:
        network = create_network(kind, width, images.pixels.device)
        optimizer = create_sgd(network, OptimizerConfig(batch_size=batch), 0.01)
        self.step = (create_step if graphed else TrainingStep)(network, optimizer, images, label_smoothing=0.0)
        steps = images.count_steps(batch)
        self._learning_rate = LRDriver(optimizer, None, total=steps, steps=steps)
        self._images, self._batch = images, batch

    def train_epoch(self) -> None:
        train_batches(self.step, self._learning_rate, self._images.draw_batches(self._batch, seed=0, epoch=1))

    def measure_rate(self, seconds: float) -> float:
        """Images per second of epoch after epoch, in about `seconds`."""
        began = time.perf_counter()
        sums = train_batches(self.step, self._learning_rate, self._draw_until(began + seconds))
        return sums.images / (time.perf_counter() - began)

    def _draw_until(self, end: float) -> Iterator[Draw]:
        for epoch in count():
            for number, draw in enumerate(self._images.draw_batches(self._batch, seed=0, epoch=epoch)):
                if number % BATCHES_AHEAD == 0:
                    synchronise(self._images.pixels.device)  # or many seconds of work could be queued at the end
                    if time.perf_counter() > end:
                        return
                yield draw


def time_epochs(sizes: Sizes, device: torch.device, console: Console) -> None:
    until = time.perf_counter() + sizes.part_seconds[0]
    data = make_data(sizes.images)
    images = DeviceSplit(data.train, data, device)
    table = Table(
        "network", "batch", "eager, s", "graphed, s", "eager / graphed", title=f"an epoch of {sizes.images:,} images"
    )
    for batch in sizes.batches:
        for kind in NETWORKS:
            if time.perf_counter() > until:
                table.add_row(kind, str(batch), "no time left")
                continue
            sides = [Training(kind, sizes.width, images, batch, graphed=graphed) for graphed in (False, True)]
            work = dict(zip(("eager", "graphed"), (side.train_epoch for side in sides), strict=True))
            eager, graphed = time_in_turn(work, sizes.rounds, device, until=until).values()
            table.add_row(
                kind,
                str(batch),
                f"{statistics.median(eager):.3f}",
                f"{statistics.median(graphed):.3f}" + ("" if is_graphed(sides[1].step) else " (not graphed)"),
                quartiles_of_ratios(eager, graphed),
            )
    console.print(table)


def is_graphed(step: TrainingStep) -> bool:
    return isinstance(step, GraphedStep) and bool(step.captured_sizes)


def train_when_asked(pipe: Connection, sizes: Sizes, device_type: str) -> None:
    """A process beside others: for each (network, seconds) that it is sent, it answers with images per second.

    Its first answer, once it is ready, is 1 if all steps are CUDA graphs, else 0. If it fails, it answers with the
    error's text.
    """
    try:
        device = default_device()
        if device.type != device_type:
            raise RuntimeError(f"a process found no {device_type}")
        prepare_device(device, 1)
        data = make_data(sizes.images)
        images = DeviceSplit(data.train, data, device)
        trainings = {kind: Training(kind, sizes.width, images, BATCH, graphed=True) for kind in NETWORKS[1:]}
        for training in trainings.values():
            training.train_epoch()
        pipe.send(float(all(is_graphed(training.step) for training in trainings.values())))
        while (task := pipe.recv()) is not None:
            kind, seconds = task
            pipe.send(trainings[kind].measure_rate(seconds))
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}".splitlines()[0])


def time_trials_at_once(sizes: Sizes, console: Console) -> None:
    until = time.perf_counter() + sizes.part_seconds[1]
    table = Table(
        "network", "MPS", *(f"{trials} at once" for trials in sizes.trials), title=f"images/s together, batch {BATCH}"
    )
    for use in (False, True):
        name, problem = "yes" if use else "no", ""
        rates: dict[str, list[Rate]] = {kind: [] for kind in NETWORKS[1:]}
        try:
            with set_up_mps(use=use):
                # Half of the time each, so that there is some for MPS.
                measure_rates(rates, sizes, until - (0 if use else sizes.part_seconds[1] / 2))
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            problem = f"not all was measured: {error}"
        for kind, found in rates.items():
            if found:
                table.add_row(kind, name, *(rate.describe(found[0]) for rate in found))
        if problem:
            table.add_row("", name, problem)
    console.print(table)


@dataclass(frozen=True)
class Rate:
    """Images per second of several processes together; graphed: whether all their steps are CUDA graphs."""

    images_per_second: float
    graphed: bool

    def describe(self, one: "Rate") -> str:
        """The rate, and in brackets how often that of one process it is."""
        ratio = self.images_per_second / one.images_per_second
        return f"{self.images_per_second:,.0f}  ({ratio:.2f})" + ("" if self.graphed else " not graphed")


def measure_rates(rates: dict[str, list[Rate]], sizes: Sizes, until: float) -> None:
    """Adds the rates of each network to `rates`, for each of `sizes.trials` that there is time for.

    Raises:
        RuntimeError: if a process fails, does not answer in time, or there is no time left.
    """
    spawn = multiprocessing.get_context("spawn")
    workers: list[tuple[BaseProcess, Connection]] = []
    graphed = True
    try:
        for trials in sizes.trials:
            added = []
            while len(workers) < trials:
                ours, theirs = spawn.Pipe()
                process = spawn.Process(
                    target=train_when_asked, args=(theirs, sizes, default_device().type), daemon=True
                )
                process.start()
                theirs.close()
                workers.append((process, ours))
                added.append(ours)
            for pipe in added:
                graphed = bool(receive(pipe, until)) and graphed
            pipes = [pipe for _, pipe in workers]
            for kind, found in rates.items():
                if time.perf_counter() + sizes.seconds > until:
                    raise RuntimeError("no time left")
                for pipe in pipes:
                    pipe.send((kind, sizes.seconds))
                found.append(Rate(sum(receive(pipe, until + 20) for pipe in pipes), graphed))
    finally:
        stop_workers(workers)


def stop_workers(workers: Sequence[tuple[BaseProcess, Connection]]) -> None:
    """Lets them end by themselves, which MPS wants; whatever has not after ten seconds is killed."""
    for _, pipe in workers:
        with suppress(OSError):
            pipe.send(None)
    end = time.perf_counter() + 10
    for process, _ in workers:
        process.join(max(0.0, end - time.perf_counter()))
        process.kill()


def receive(pipe: Connection, until: float) -> float:
    """What a worker answers; raises RuntimeError if it has failed or does not answer in time."""
    if not pipe.poll(max(0.0, until - time.perf_counter())):
        raise RuntimeError("a process did not answer in time")
    try:
        answer = pipe.recv()
    except EOFError:
        raise RuntimeError("a process died") from None
    if isinstance(answer, str):
        raise RuntimeError(answer)
    return float(answer)


@contextmanager
def set_up_mps(*, use: bool) -> Iterator[None]:
    """Processes that are started while active use an MPS daemon of our own, or none, not even one that is running.

    Raises:
        RuntimeError: if there is no MPS on this machine, or it does not start.
    """
    if use and shutil.which(MPS) is None:
        raise RuntimeError(f"there is no {MPS}")
    names = ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY")
    before = {name: os.environ[name] for name in names if name in os.environ}
    with tempfile.TemporaryDirectory(prefix="mps-", ignore_cleanup_errors=True) as folder:
        os.environ.update(dict.fromkeys(names, folder))
        try:
            if use:
                control_mps(["-d"])
            try:
                yield
            finally:
                if use:
                    control_mps([], "quit\n")
        finally:
            for name in names:
                os.environ.pop(name)
            os.environ.update(before)


def control_mps(arguments: list[str], commands: str = "") -> None:
    """Starts the daemon, or gives it commands; raises RuntimeError with what it says if that fails."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:  # not a pipe, which the daemon might keep open
        ran = subprocess.run(
            [MPS, *arguments], input=commands, stdout=output, stderr=output, text=True, timeout=20, check=False
        )
        output.seek(0)
        if ran.returncode:
            raise RuntimeError(f"{MPS}: {output.read().strip()}")


class OutOfTimeError(Exception):
    """A part has used up its time."""


def train_at_batch_sizes(source: str, sizes: Sizes, console: Console) -> None:
    until = time.perf_counter() + sizes.part_seconds[2]
    data = load_data(DataConfig(source))
    table = Table(
        "batch", "peak learning rate", "validation accuracy", "an epoch, s", title=f"dense, {sizes.epochs} epochs"
    )
    for batch in sizes.batches:
        peak = PEAK * batch / BATCH
        accuracy, seconds = train_dense_until(batch, peak, data, sizes, until)
        table.add_row(str(batch), f"{peak:g}", accuracy, f"{statistics.median(seconds):.2f}" if seconds else "")
    console.print(table)


def train_dense_until(batch: int, peak: float, data: Data, sizes: Sizes, until: float) -> tuple[str, list[float]]:
    """The accuracy at the end, or why there is none, and the seconds of each epoch."""
    rows: list[DenseEpochRow] = []

    def add(row: DenseEpochRow) -> None:
        rows.append(row)
        if time.perf_counter() > until and len(rows) < sizes.epochs:
            raise OutOfTimeError

    optimizer = OptimizerConfig(batch_size=batch)
    config = DenseConfig(width=sizes.width, epochs=sizes.epochs, peak=peak, optimizer=optimizer)
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            train_dense(config, data, Path(folder), threads=1, on_epoch=add)
        outcome = f"{rows[-1].val_accuracy:.2%}"
    except OutOfTimeError:
        outcome = f"no time left after {len(rows)} epochs"
    except DivergedError:
        outcome = f"diverged in epoch {len(rows) + 1}"
    except TrialError as error:
        outcome = str(error)
    return outcome, [row.epoch_seconds for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="FOLDER")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s")  # that a step could not be captured
    device, console = default_device(), Console(width=100)
    if device.type != "cuda" and not options.smoke:
        parser.error("there is no GPU; --smoke tries the script out without one")
    sizes = SMOKE if options.smoke else Sizes(options.width)
    prepare_device(device, 1)
    console.print(f"{device_name(device)} ({platform.machine()}), torch {torch.__version__}, width {sizes.width:g}")
    note = NOT_GPU if device.type != "cuda" else "Smoke test: sizes too small for figures." if options.smoke else ""
    console.print(note)
    time_epochs(sizes, device, console)
    torch.cuda.empty_cache()  # the processes to come need the memory
    time_trials_at_once(sizes, console)
    if options.data:
        train_at_batch_sizes(options.data, sizes, console)
    else:
        console.print("Dense accuracy: skipped, there is no --data.")
    console.print(note)


if __name__ == "__main__":
    main()

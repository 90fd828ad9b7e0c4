"""How far measurements can be trusted: `python benchmarks/measurement.py [--width 0.25]`.

Prints four tables, each as soon as it is ready. Each ratio is dense time / pruned time, the median of the pairs, as in
measure.json.

1. The same network timed several times on a quiet machine.
2. Memory of the same two networks, each in several processes.
3. Widths rounded up to a multiple of 1, 8 and 16, at the same amount of MACs cut.
4. Like 1, but with trials training at the same time, as if measuring did not wait for them.
"""

import argparse
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from vgg16 import CLASSES, IMAGE_SIZE, create_dense, save

from records.measurement import Measurement, NetworkMeasurement, Quartiles
from trainable.config import PruningConfig
from trainable.measurement.protocol import run_job
from trainable.network.layout import Layout
from trainable.pruning.masks import choose_masks, widths_of

REPEATS = 4
TEST_IMAGES = 1000
# Trains during the measurement, with one thread as trials do, but without the lock that keeps the two apart.
TRAINS = """
import torch
from trainable.network.vgg import vgg16
torch.set_num_threads(1)
network = vgg16(10, {width})
print("there", flush=True)
while True:
    network(torch.randn(128, 3, 32, 32)).sum().backward()
"""


def draw_masks(layout: Layout, round_to: int) -> list[Tensor]:
    """Those that cut three quarters of the MACs, with channels ranked at random."""
    torch.manual_seed(0)
    scores = [torch.rand(width) for width in layout.widths]
    return choose_masks(scores, PruningConfig(amount=0.75, round_to=round_to), layout)


def ratios(dense: Path, pruned: Path) -> dict[int, Quartiles]:
    """The quartiles of the speed-up, by batch size."""
    return {each.batch_size: each.speedup for each in run_job("latency", dense, pruned, result=Measurement).latency}


def spread(runs: list[dict[int, Quartiles]]) -> list[str]:
    """How far apart the medians of the runs are, by batch size."""
    medians = [[run[size].median for run in runs] for size in runs[0]]
    return [f"{max(each) / min(each) - 1:.1%}" for each in medians]


def of_ratios(title: str, runs: list[dict[int, Quartiles]]) -> Table:
    table = Table("", *(f"batch {size}" for size in runs[0]), title=title)
    for number, run in enumerate(runs, start=1):
        cells = (f"{each.median:.2f}  ({each.q1:.2f} to {each.q3:.2f})" for each in run.values())
        table.add_row(f"run {number}", *cells, end_section=number == len(runs))
    table.add_row("largest over smallest", *spread(runs))
    return table


def of_memory(networks: dict[str, Path], test: Path) -> Table:
    """Memory on the test set: peak_bytes and mean_bytes as in measure.json, above idle, weights included."""
    table = Table("MB", "weights", "peak", "mean", "peak, batch 1", title=f"memory, {TEST_IMAGES} test images")
    for name, network in networks.items():
        runs = [run_job("memory", network, test=test, result=NetworkMeasurement) for _ in range(REPEATS)]
        weights = runs[0].memory.weights_bytes / 1e6
        columns = [
            [run.test.peak_bytes for run in runs],
            [run.test.mean_bytes for run in runs],
            [run.memory.batches[0].peak_bytes for run in runs],
        ]
        for number, values in enumerate(zip(*columns, strict=True), start=1):
            cells = (f"{value / 1e6:.2f}" for value in values)
            table.add_row(f"{name}, run {number}", f"{weights:.2f}", *cells, end_section=number == REPEATS)
        cells = (f"{max(values) / min(values) - 1:.1%}" for values in columns)
        table.add_row(f"{name}: largest over smallest", "", *cells, end_section=True)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=float, default=0.25, help="width of the dense network")
    width = parser.parse_args().width
    console = Console(width=110)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as trainers:
        network = create_dense(width)
        masks = {each: draw_masks(network.layout, each) for each in (1, 8, 16)}
        dense = save(network, Path(folder) / "dense")
        by_rounding = {each: save(network, Path(folder) / f"r{each}", masks[each]) for each in masks}
        pruned, test = by_rounding[8], Path(folder) / "test.npz"
        images = np.random.default_rng(0).integers(0, 256, (TEST_IMAGES, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        np.savez(test, images=images, labels=np.arange(TEST_IMAGES) % CLASSES)
        title = f"dense / pruned, width {width:g}"
        console.print(of_ratios(f"{title}, quiet", [ratios(dense, pruned) for _ in range(REPEATS)]))
        console.print(of_memory({"dense": dense, "pruned": pruned}, test))
        table = Table("round_to", "MACs cut", "batch 1", "batch 32", "batch 256", title="widths rounded up")
        for each, path in by_rounding.items():
            cut = network.layout.compute_sparsities(widths_of(masks[each]))["mac_sparsity"]
            table.add_row(str(each), f"{cut:.1%}", *(f"{found.median:.2f}" for found in ratios(dense, path).values()))
        console.print(table)
        for _ in range(2):
            process = trainers.enter_context(
                subprocess.Popen([sys.executable, "-c", TRAINS.format(width=width)], stdout=subprocess.PIPE)
            )
            trainers.callback(process.kill)
            assert process.stdout is not None
            process.stdout.readline()
        console.print(of_ratios(f"{title}, while two trials train", [ratios(dense, pruned) for _ in range(REPEATS)]))


if __name__ == "__main__":
    main()

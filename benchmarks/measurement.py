"""How far measured latencies can be trusted: `python benchmarks/measurement.py [--width 0.25]`.

Prints three tables. Each ratio is dense time / pruned time, the median of the pairs, as in measure.json.

1. The same network measured several times on a quiet machine.
2. The same while trials train beside it, as if measuring did not wait for them.
3. Widths rounded up to a multiple of 1, 8 and 16, at the same amount of MACs cut.
"""

import argparse
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from search.measuring import job
from trainable.config import Pruning
from trainable.masks import choose, widths_of
from trainable.network import VGG16, dense_widths, macs
from trainable.weights import save_network

REPEATS = 5
CLASSES = 10
# What trains beside the measurement: one thread each, as trials do, without the lock that keeps them apart.
TRAINS = """
import torch
from trainable.network import VGG16, dense_widths
torch.set_num_threads(1)
network = VGG16(dense_widths({width}), 10)
print("there", flush=True)
while True:
    network(torch.randn(128, 3, 32, 32)).sum().backward()
"""


def saved(folder: Path, widths: tuple[int, ...]) -> Path:
    """A network of random weights: how long it takes depends on its widths alone."""
    torch.manual_seed(0)
    save_network(VGG16(widths, CLASSES), folder, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    return folder


def pruned_widths(width: float, round_to: int) -> tuple[int, ...]:
    """The widths that a cut of three quarters of the MACs leaves, channels ranked as in a random network."""
    torch.manual_seed(0)
    scores = [torch.rand(each) for each in dense_widths(width)]
    return widths_of(choose(scores, Pruning(amount=0.75, round_to=round_to), classes=CLASSES))


def ratios(dense: Path, pruned: Path) -> dict[int, Any]:
    """The quartiles of the speed-up, by batch size."""
    return {each["batch_size"]: each["speedup"] for each in job("latency", dense, pruned)["latency"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=float, default=0.25, help="of the dense network")
    width = parser.parse_args().width
    console = Console(width=110)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as trainers:
        dense = saved(Path(folder) / "dense", dense_widths(width))
        by_rounding = {each: saved(Path(folder) / f"r{each}", pruned_widths(width, each)) for each in (1, 8, 16)}
        quiet = [ratios(dense, by_rounding[8]) for _ in range(REPEATS)]
        rounded = {each: ratios(dense, path) for each, path in by_rounding.items()}
        for _ in range(2):
            process = trainers.enter_context(
                subprocess.Popen([sys.executable, "-c", TRAINS.format(width=width)], stdout=subprocess.PIPE)
            )
            trainers.callback(process.kill)
            assert process.stdout is not None
            process.stdout.readline()
        beside = [ratios(dense, by_rounding[8]) for _ in range(REPEATS)]
    table = Table("", *(f"batch {size}" for size in quiet[0]), title=f"dense / pruned, width {width:g}")
    for name, runs in (("quiet", quiet), ("beside two trials", beside)):
        for number, run in enumerate(runs, start=1):
            cells = (f"{each['median']:.2f}  ({each['q1']:.2f} to {each['q3']:.2f})" for each in run.values())
            table.add_row(f"{name}, run {number}", *cells, end_section=number == len(runs))
        spread = (
            f"{max(run[size]['median'] for run in runs) / min(run[size]['median'] for run in runs) - 1:.1%}"
            for size in quiet[0]
        )
        table.add_row(f"{name}: largest over smallest", *spread, end_section=True)
    console.print(table)
    table = Table("round_to", "MACs cut", *(f"batch {size}" for size in quiet[0]), title="rounding of the widths")
    for each, found in rounded.items():
        cut = 1 - macs(pruned_widths(width, each), CLASSES) / macs(dense_widths(width), CLASSES)
        table.add_row(str(each), f"{cut:.1%}", *(f"{speedup['median']:.2f}" for speedup in found.values()))
    console.print(table)


if __name__ == "__main__":
    main()

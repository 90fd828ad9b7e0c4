"""How much faster pruned networks are: `python benchmarks/inference.py [--widths 0.25 1]`.

Dense time over pruned time on random images, measured as `alphaprune measure` does, on all CPUs or the GPU: medians of
the pairs, with quartiles. The weights are random and the channels are ranked by l1 over all layers; no time depends on
the weights, but the widths do. Nothing else should be running.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from vgg16 import create_dense, save

from records.measurement import BATCH_SIZES, Measurement
from trainable.config import PruningConfig
from trainable.measurement.protocol import run_job
from trainable.pruning.criteria import score_channels
from trainable.pruning.masks import choose_masks, widths_of

AMOUNTS = (0.6, 0.8, 0.9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=float, nargs="+", default=[0.25, 1.0])
    console = Console(width=100)
    for width in parser.parse_args().widths:
        dense = create_dense(width)
        scores = score_channels(dense.network, dense.layout, "l1", batches=(), seed=0)
        found: dict[float, tuple[float, Measurement]] = {}
        with tempfile.TemporaryDirectory() as folder:
            whole = save(dense, Path(folder) / "dense")
            for amount in AMOUNTS:
                masks = choose_masks(scores, PruningConfig(amount), dense.layout)
                pruned = save(dense, Path(folder) / f"{amount}", masks)
                cut = dense.layout.compute_sparsities(widths_of(masks))["mac_sparsity"]
                found[amount] = cut, run_job("latency", whole, pruned, result=Measurement)
        where = found[AMOUNTS[0]][1]
        table = Table(
            "MACs cut",
            *(f"batch {size}" for size in BATCH_SIZES),
            title=f"dense / pruned, width {width:g}: {where.measured_on}, torch {torch.__version__}",
        )
        for cut, measurement in found.values():
            speedups = [each.speedup for each in measurement.latency]
            table.add_row(f"{cut:.1%}", *(f"{each.median:.2f}  ({each.q1:.2f} to {each.q3:.2f})" for each in speedups))
        console.print(table)


if __name__ == "__main__":
    main()

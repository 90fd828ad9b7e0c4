"""Whether one driver keeps 32 trials busy: `python benchmarks/driver.py [--trials 1000 --steps 20]`.

A whole search by `alphaprune.run` on a Ray cluster of this machine that claims 32 CPUs. Its trials train nothing: an
epoch is a second of sleep, and they write their records as real ones do. Their processes do not import torch, or 32 of
them would need too much memory. Printed are

- reports per second, beside what trials that never wait would give;
- the workers' busy share: the seconds of all epochs over those that the workers had, from the last worker's start to
  the first moment when nothing is left to hand out;
- the driver's CPU milliseconds per report, hand-outs included, in each fifth of that time.

The sampler is `random`: what TPE takes per hand-out grows with the number of trials (benchmarks/startup.py).
"""

import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
from ray import tune
from rich.console import Console
from rich.table import Table

import alphaprune
from records.epoch import EpochRow
from records.trial import Cut, TrialFolder
from search.backends.ray import cluster, tune_run
from search.observers.observer import SearchObserver
from search.settings import resolve_settings

EPOCH_SECONDS = 1.0
FIFTHS = 5


class IdleTrial(tune.Trainable):
    """Takes the place of RecordedAlphaPruning."""

    def setup(self, config: dict[str, Any], **parameters: Any) -> None:
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._folder, self._epoch = TrialFolder(Path(new_config["folder"])), 0
        return True

    def step(self) -> dict[str, Any]:
        if self._epoch == 0:
            self._attempt = self._folder.begin_attempt(f"idle:{os.getpid()}", "cpu").attempt
        time.sleep(EPOCH_SECONDS)
        self._epoch += 1
        row = EpochRow(
            epoch=self._epoch,
            phase="retrain",
            alpha=0.0,
            lr=0.1,
            train_loss=1.0,
            train_accuracy=0.5,
            val_loss=1.0,
            val_accuracy=0.5,
            pruned_val_accuracy=0.5,
            channel_sparsity=0.5,
            parameter_sparsity=0.5,
            mac_sparsity=0.5,
            images_per_second=1.0,
            epoch_seconds=EPOCH_SECONDS,
        )
        with self._folder.hold_fence(self._attempt) as record:
            self._folder.append_row(row)
            done = self._epoch == record.config["epochs"]
            if done:
                cut = Cut(epoch=0, widths=(64,), channels=64, parameters=1, macs=record.number + 1)
                self._folder.end(replace(record, cut=cut), "complete")
        return {**row.as_values(), "state": "complete" if done else "running", "done": done}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        pass

    def load_checkpoint(self, checkpoint_dir: Any) -> None:
        pass


class Clock(SearchObserver):
    """When each report reached the driver, and the driver's CPU seconds then."""

    def __init__(self) -> None:
        self.reports: list[tuple[float, float, int]] = []
        self._process = psutil.Process()

    def epoch_done(self, number: int, row: EpochRow) -> None:
        used = self._process.cpu_times()
        self.reports.append((time.perf_counter(), used.user + used.system, number))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--workers", type=int, default=32, help="fewer than --trials")
    options = parser.parse_args()
    optimizer = {"batch_size": 32}
    settings = resolve_settings(
        {
            "data": {"source": "digits", "images": 300},
            "dense": {"width": 0.0625, "epochs": 1, "optimizer": optimizer},
            "trial": {"epochs": options.steps, "optimizer": optimizer, "pruning": {"round_to": 1}},
            "controls": {"kinds": []},
            "search": {"trials": options.trials, "sampler": "random", "early_stopping": {"enabled": False}},
            "results": {"measure": False, "report": False},
        }
    )
    clock = Clock()
    with (
        tempfile.TemporaryDirectory() as storage,
        patch.object(cluster, "count_cpus", lambda: options.workers),
        patch.object(tune_run, "RecordedAlphaPruning", IdleTrial),
    ):
        alphaprune.run(settings, storage=storage, progress=False, callbacks=[clock])
    show(clock.reports, options)


def show(reports: list[tuple[float, float, int]], options: argparse.Namespace) -> None:
    first: dict[int, float] = {}
    for at, _, number in reports:
        first.setdefault(number, at)
    starts = sorted(first.values())
    # From the last worker's first report on, and while something is left to hand out.
    began, ended = starts[options.workers - 1], starts[-1]
    during = [report for report in reports if began <= report[0] <= ended]
    seconds = ended - began
    title = f"{options.workers} trials at once, {options.trials} of {options.steps} epochs of 1 s"
    table = Table(title=title, show_header=False)
    table.add_row("reports per second", f"{len(during) / seconds:.1f}, {options.workers} if none waited")
    table.add_row("busy share of the workers", f"{len(during) / seconds / options.workers:.3f}")
    parts = [during[len(during) * part // FIFTHS : len(during) * (part + 1) // FIFTHS] for part in range(FIFTHS)]
    cpu = [1e3 * (part[-1][1] - part[0][1]) / (len(part) - 1) for part in parts]
    table.add_row("driver CPU per report, ms", ", ".join(f"{each:.2f}" for each in cpu))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()

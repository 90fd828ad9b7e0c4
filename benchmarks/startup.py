"""How long a search takes to start from its records, and to hand out a trial and learn how it ended.

    python benchmarks/startup.py [--trials 125 500 1000 5000] [--epochs 60]

For each number of recorded trials: the driver's CPU seconds for reading the records, the early stopping, the study and
the observers (the journal that optuna-dashboard shows), then the milliseconds for a hand-out and a tell, on their own
(with a random sampler) and with TPE, whose time grows with what it has to model. Trials are drawn from the shipped
space, a third of them are stopped early, and the objectives are accuracy and MACs. Nothing is trained.
"""

import argparse
import json
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import optuna
from optuna.distributions import distribution_to_json

from records.epoch import EpochRow
from records.experiment import ExperimentFolder
from records.trial import Cut, TrialRecord
from search.observers.observer import SearchObserver, SearchStart
from search.observers.optuna_journal import OptunaJournal
from search.sampling.restore import restore_early_stopping
from search.sampling.trial_source import TrialSource
from search.settings import Settings, resolve_settings
from search.snapshot import Snapshot
from spaces.space import Space, load_space
from trainable.config import as_json

T = TypeVar("T")

HAND_OUTS = 20


@dataclass(frozen=True)
class Figures:
    """CPU seconds of each part of a start; CPU milliseconds of a hand-out and a tell."""

    trials: int
    read: float
    early_stopping: float
    study: float
    journal: float
    hand_out_ms: float
    hand_out_tpe_ms: float

    @property
    def start(self) -> float:
        return self.read + self.early_stopping + self.study + self.journal


def write_trials(folder: ExperimentFolder, settings: Settings, space: Space, count: int) -> None:
    """Writes `count` ended trials as a search would, without waiting for the disk."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    random = np.random.default_rng(0)
    for number in range(count):
        trial = study.ask()
        config = space(trial, settings.trial)
        distributions = {name: distribution_to_json(each) for name, each in trial.distributions.items()}
        stopped = number % 3 == 0
        record = TrialRecord(
            number,
            as_json(config),
            params=trial.params,
            distributions=distributions,
            state="stopped" if stopped else "complete",
            attempt=1,
            cut=Cut(
                epoch=1, widths=(64,) * 13, channels=832, parameters=10**6, macs=int(random.integers(10**6, 10**8))
            ),
        )
        files = folder.trial_folder(number)
        files.path.mkdir(parents=True)
        files.record_path.write_text(json.dumps(asdict(record), indent=1))
        epochs = 1 + settings.trial.epochs // 3 if stopped else settings.trial.epochs
        rows = (write_row(epoch, random) for epoch in range(1, epochs + 1))
        files.rows_path.write_text("".join(f"{json.dumps(row.as_values())}\n" for row in rows))


def write_row(epoch: int, random: np.random.Generator) -> EpochRow:
    loss, accuracy, sparsity, seconds = random.random(4).tolist()
    return EpochRow(
        epoch=epoch,
        phase="alpha" if epoch < 20 else "retrain",
        alpha=0.5,
        lr=0.05,
        train_loss=loss,
        train_accuracy=accuracy,
        val_loss=loss,
        val_accuracy=accuracy,
        pruned_val_accuracy=accuracy,
        channel_sparsity=sparsity,
        parameter_sparsity=sparsity,
        mac_sparsity=sparsity,
        images_per_second=1000 * seconds,
        epoch_seconds=seconds,
    )


def measure(folder: ExperimentFolder, settings: Settings, space: Space) -> Figures:
    read, snapshot = timed(lambda: Snapshot.read(folder))
    early_stopping, _ = timed(lambda: restore_early_stopping(settings, snapshot, ()))
    controls = replace(settings, controls=replace(settings.controls, kinds=()))
    build, source = timed(lambda: TrialSource(folder, controls, space, snapshot, SearchObserver()))
    mirror = OptunaJournal(folder, settings.search.objectives)
    start = SearchStart(source.study, snapshot, source.planned_trials, 0, folder)
    journal, _ = timed(lambda: mirror.search_started(start))
    tpe = hand_out_ms(source, folder)
    source.study.sampler = optuna.samplers.RandomSampler(seed=1)
    return Figures(len(snapshot.trials), read, early_stopping, build, journal, hand_out_ms(source, folder), tpe)


def hand_out_ms(source: TrialSource, folder: ExperimentFolder) -> float:
    """The median CPU milliseconds of a hand-out and a tell."""
    times = []
    for _ in range(HAND_OUTS):
        began = time.process_time()
        record = source.next_trial()
        handed_out = time.process_time() - began
        assert record is not None
        folder.trial_folder(record.number).record_end("stopped")
        began = time.process_time()
        source.tell_end(record.number)
        times.append(1e3 * (handed_out + time.process_time() - began))
    return statistics.median(times)


def timed(work: Callable[[], T]) -> tuple[float, T]:
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[125, 500, 1000, 5000])
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alphaprune").setLevel(logging.ERROR)
    settings = resolve_settings({"trial": {"epochs": options.epochs}, "search": {"trials": 10**6}})
    space = load_space(settings.space.function, settings.space.options)
    print("CPU s to start                                          CPU ms per hand-out and tell")
    print("trials    read  early stopping  study  journal   total  without TPE  with TPE")
    for count in options.trials:
        with tempfile.TemporaryDirectory() as storage:
            folder = ExperimentFolder(Path(storage) / "experiment")
            write_trials(folder, settings, space, count)
            each = measure(folder, settings, space)
        print(
            f"{each.trials:6}  {each.read:6.2f}  {each.early_stopping:14.2f}  {each.study:5.2f}  {each.journal:7.2f}"
            f"  {each.start:6.2f}  {each.hand_out_ms:11.1f}  {each.hand_out_tpe_ms:8.1f}"
        )


if __name__ == "__main__":
    main()

"""What a trial and an epoch cost besides training: alphaprune beside Ray Tune's own searcher with the same trainable.

    python benchmarks/overhead.py [--rounds 3]

Each run searches one trial after another on a Ray cluster of its own, in a process of its own: 300 of scikit-learn's
digits, VGG16 at a sixteenth of its width. Its overhead is the time from the first trial's being asked for to the last
one's end, less the epochs' own seconds. Three runs of different numbers of trials and epochs tell the cost of a trial
and of an epoch's report apart from the start of the workers, which each run has once. The sides take turns, and the
figures are medians over the rounds. Nothing else should be running.

`tune`: tune.Tuner with OptunaSearch, its default loggers and reused actors; it saves neither checkpoints nor pruned
networks. `tune, checkpoints`: the same with a checkpoint after each epoch.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial
from rich.console import Console
from rich.table import Table

import alphaprune
from records.epoch import EpochRow
from search.observers.observer import SearchObserver, StudyResult
from search.settings import resolve_settings
from search.snapshot import TrialSnapshot
from trainable.config import TrialConfig, trial_config

DATA: dict[str, Any] = {"source": "digits", "images": 300, "validation_fraction": 0.25}
OPTIMIZER = {"batch_size": 32}
DENSE = {"width": 0.0625, "epochs": 1, "optimizer": OPTIMIZER}
TRIAL = {"alpha_fraction": 0.5, "optimizer": OPTIMIZER, "pruning": {"round_to": 1}}
AMOUNTS = [0.5]
# Trials and epochs of the runs: the second less the first is the trials', the third less the second the epochs'.
FEW, MANY = 6, 18
SHORT, LONG = 2, 8
RUNS = ((FEW, SHORT), (MANY, SHORT), (MANY, LONG))


class Clock(SearchObserver):
    """From the first trial that is asked for to the last one's end, and what the epochs took."""

    def __init__(self) -> None:
        self.began = self.ended = self.training = 0.0

    def trial_asked(self, trial: FrozenTrial) -> None:
        self.began = self.began or time.perf_counter()

    def epoch_done(self, number: int, row: EpochRow) -> None:
        self.training += row.epoch_seconds or 0.0

    def trial_ended(self, number: int, trial: TrialSnapshot | None, result: StudyResult | None) -> None:
        self.ended = time.perf_counter()

    @property
    def overhead(self) -> float:
        return self.ended - self.began - self.training


def run_alphaprune(trials: int, epochs: int) -> float:
    settings = resolve_settings(
        {
            "data": DATA,
            "dense": DENSE,
            "trial": {**TRIAL, "epochs": epochs},
            "space": {"options": {"amounts": AMOUNTS}},
            "controls": {"kinds": []},
            "search": {"trials": trials, "early_stopping": {"enabled": False}},
            "results": {"measure": False, "report": False},
            "resources": {"concurrency": 1},
        }
    )
    clock = Clock()
    with tempfile.TemporaryDirectory() as storage:
        alphaprune.run(settings, storage=storage, progress=False, callbacks=[clock])
    return clock.overhead


def tune_space(trial: optuna.Trial, base: TrialConfig) -> dict[str, Any]:
    return alphaprune.as_json(alphaprune.alpha_pruning(trial, base, amounts=AMOUNTS))


def run_tune(trials: int, epochs: int, *, checkpoints: bool = False) -> float:
    # Or Tune prints hundreds of lines.
    os.environ |= {"RAY_AIR_NEW_OUTPUT": "0", "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0"}
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    base = trial_config({**TRIAL, "epochs": epochs})
    clock = Clock()

    class TuneClock(tune.Callback):
        def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
            clock.began = clock.began or time.perf_counter()

        def on_trial_result(
            self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
        ) -> None:
            clock.training += result["epoch_seconds"]

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            clock.ended = time.perf_counter()

    space = partial(tune_space, base=base)
    with tempfile.TemporaryDirectory() as folder:
        data = alphaprune.load_data(alphaprune.DataConfig(**DATA))
        recipe = resolve_settings({"dense": DENSE}).dense
        alphaprune.train_dense(recipe, data, Path(folder) / "dense", threads=1)
        ray.init(address="local", include_dashboard=False, log_to_driver=False)
        try:
            tuner = tune.Tuner(
                tune.with_parameters(alphaprune.AlphaPruning, data=data, dense=f"{folder}/dense"),
                tune_config=tune.TuneConfig(
                    search_alg=OptunaSearch(space, metric="pruned_val_accuracy", mode="max"),
                    num_samples=trials,
                    max_concurrent_trials=1,
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    storage_path=folder,
                    verbose=0,
                    callbacks=[TuneClock()],
                    checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=int(checkpoints), num_to_keep=2),
                ),
            )
            assert not tuner.fit().errors
        finally:
            ray.shutdown()
    return clock.overhead


SIDES: dict[str, Callable[[int, int], float]] = {
    "alphaprune": run_alphaprune,
    "tune": run_tune,
    "tune, checkpoints": partial(run_tune, checkpoints=True),
}


def measure(name: str) -> tuple[float, float, float]:
    """Seconds of the start of the workers, of a trial and of an epoch's report, by one round of a side."""
    few, many, long = (in_fresh_process(SIDES[name], *run) for run in RUNS)
    report = (long - many) / (MANY * (LONG - SHORT))
    trial = (many - few) / (MANY - FEW) - SHORT * report
    return few - FEW * (trial + SHORT * report), trial, report


def in_fresh_process(work: Callable[[int, int], float], *arguments: int) -> float:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def main() -> None:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in SIDES}
    for _ in range(rounds):
        for name, its in found.items():
            its.append(measure(name))
            print(name, *(f"{seconds:.4f}" for seconds in its[-1]), flush=True)
    table = Table(
        "", "start of a worker, s", "a trial, s", "an epoch's report, ms", title=f"medians of {rounds} rounds"
    )
    for name, its in found.items():
        start, trial, report = (statistics.median(each) for each in zip(*its, strict=True))
        table.add_row(name, f"{start:.2f}", f"{trial:.3f}", f"{1e3 * report:.1f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()

"""How long a search takes to reach an accuracy: alphaprune's, and Ray Tune's with the same trainable, but masked.

    python benchmarks/search_time.py --data FOLDER [--minutes 25] [--rounds 2] [--first-round 0]
                                     [--amount 0.9] [--accuracies 0.6 ...] [--set SECTION.KEY=VALUE]

Both search the space of cifar10-small for trials that cut as much, on all CPUs of this machine, with one CPU for each
trial, until the time is over; the dense network is trained first, and its time counts. `tune` is tune.Tuner as its
documentation shows it, with OptunaSearch and with ASHAScheduler on `val_accuracy`. Its trials do not remove channels
but keep them masked, as torch.nn.utils.prune does: the accuracies are the same, and an epoch takes as long as before.

For each round it prints what each side had completed when, and the minutes until it had a complete trial of at least
each of `--accuracies`: fixed ones, as the best of a side, taken afterwards, would be reached by it late and by luck.
Nothing else should be running.
"""

import argparse
import json
import math
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from rich.console import Console
from rich.table import Table

import alphaprune
from records.trial import Cut
from search.preset_files import read_preset
from search.settings import Settings, resolve_settings
from trainable.config import trial_config
from trainable.cpus import count_cpus
from trainable.pruning.gates import GatedNetwork
from trainable.pruning.masks import widths_of
from trainable.ray_trainable import AlphaPruning
from trainable.training import recalibrate_norms
from trainable.trial import Trial

PRESET = "cifar10-small"
# Nothing but the dense network and the trials that the study suggests.
ALONE = ("controls.kinds=[]", "results.measure=false", "results.report=false")
# The seconds since the start of a search at which a trial was complete, and its accuracy.
History = list[tuple[float, float]]


class MaskedTrial(Trial):
    """A trial that leaves the doomed channels in the network, multiplied by 0."""

    def _make_cut(self) -> None:
        assert isinstance(self.network, GatedNetwork)
        self.network.set_alpha(0)
        recalibrate_norms(self.network, self.train_images, self.config.optimizer.batch_size)
        widths = widths_of(self.masks)
        self.cut = Cut(
            epoch=self.epoch,
            widths=widths,
            channels=self.layout.count("channels", widths),
            parameters=self.layout.count("parameters", widths),
            macs=self.layout.count("macs", widths),
        )
        if self.config.lr_span == "trial":
            self._learning_rate.after_cut()
        else:
            self._start_phase()


class MaskedAlphaPruning(AlphaPruning):
    """AlphaPruning with masked trials."""

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        config = trial_config({name: value for name, value in new_config.items() if "." not in name})
        self._trial = MaskedTrial(config, self._data, self._dense, threads=self._threads)
        return True


def search_with_alphaprune(data: str, options: Sequence[str], amount: float, seed: int, minutes: float) -> History:
    began = time.time()
    command = [sys.executable, "-m", "alphaprune", "run", PRESET, "--name", "search", "--data", data]
    command += ["--trials", "1000", "--time-budget", f"{minutes * 60:.0f}s"]
    changed = [*options, f"search.seed={seed}", f"space.options.amounts=[{amount}]", *ALONE]
    with tempfile.TemporaryDirectory() as storage:
        command += ["--storage", storage, *(f"--set={each}" for each in changed)]
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert ended.returncode in (0, 130), ended.stdout
        trials = alphaprune.load(Path(storage) / "search").trials
    complete = trials[trials.state == "complete"].sort_values("finished")
    seconds = (complete.finished - pd.Timestamp(began, unit="s", tz="UTC")).dt.total_seconds()
    return list(zip(seconds, complete.pruned_val_accuracy, strict=True))


def search_with_tune(data: str, options: Sequence[str], amount: float, seed: int, minutes: float) -> History:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(run_tune, data, options, amount, seed, minutes).result()


def run_tune(data: str, options: Sequence[str], amount: float, seed: int, minutes: float) -> History:
    # Or Tune prints hundreds of lines.
    os.environ |= {"RAY_AIR_NEW_OUTPUT": "0", "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0"}
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a script
    warnings.simplefilter("ignore")
    began, history = time.time(), []
    settings = resolve_settings(read_preset(PRESET), [f"data.source={json.dumps(data)}", *options])
    epochs = settings.trial.epochs

    class Completions(tune.Callback):
        def on_trial_result(
            self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
        ) -> None:
            if result["epoch"] == epochs:
                history.append((time.time() - began, result["val_accuracy"]))

    space = partial(suggest_tree, settings=settings, amount=amount)
    with tempfile.TemporaryDirectory() as folder:
        images = alphaprune.load_data(settings.data)
        alphaprune.train_dense(settings.dense, images, Path(folder) / "dense", threads=count_cpus())
        ray.init(address="local", num_cpus=count_cpus(), include_dashboard=False, log_to_driver=False)
        try:
            results = tune.Tuner(
                tune.with_parameters(MaskedAlphaPruning, data=images, dense=f"{folder}/dense"),
                tune_config=tune.TuneConfig(
                    search_alg=OptunaSearch(space, metric="val_accuracy", mode="max", seed=seed),
                    scheduler=ASHAScheduler(metric="val_accuracy", mode="max", max_t=epochs),
                    num_samples=-1,
                    time_budget_s=minutes * 60 - (time.time() - began),
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(storage_path=folder, verbose=0, callbacks=[Completions()]),
            ).fit()
            assert not results.errors, results.errors[0]
        finally:
            ray.shutdown()
    return history


def suggest_tree(trial: optuna.Trial, settings: Settings, amount: float) -> dict[str, Any]:
    options = {**settings.space.options, "amounts": [amount]}
    return alphaprune.as_json(alphaprune.alpha_pruning(trial, settings.trial, **options))


SIDES: dict[str, Callable[[str, Sequence[str], float, int, float], History]] = {
    "alphaprune": search_with_alphaprune,
    "tune": search_with_tune,
}


def minutes_until(history: History, accuracy: float) -> float:
    """Infinite if the accuracy was not reached."""
    return min((seconds / 60 for seconds, reached in history if reached >= accuracy), default=math.inf)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10", help="CIFAR-10 as alphaprune takes it")
    parser.add_argument("--minutes", type=float, default=25, help="of each search")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--first-round", type=int, default=0, help="its number, which is also its seed")
    parser.add_argument("--amount", type=float, default=0.9, help="fraction of the multiply-accumulates that is cut")
    parser.add_argument("--set", dest="options", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--accuracies", type=float, nargs="+", default=[0.6, 0.64, 0.66, 0.68, 0.7])
    options = parser.parse_args()
    wanted = options.accuracies
    page = Table("round", "", "complete trials", "best accuracy", *(f"minutes to {each:.0%}" for each in wanted))
    for number in range(options.first_round, options.first_round + options.rounds):
        found = {
            name: search(options.data, options.options, options.amount, number, options.minutes)
            # Every other round the other way round.
            for name, search in list(SIDES.items())[:: 1 if number % 2 else -1]
        }
        for name in SIDES:
            print(number, name, [(round(seconds), round(accuracy, 4)) for seconds, accuracy in found[name]], flush=True)
            best = max((accuracy for _, accuracy in found[name]), default=0.0)
            minutes = [minutes_until(found[name], accuracy) for accuracy in wanted]
            took = ("never" if math.isinf(each) else f"{each:.1f}" for each in minutes)
            page.add_row(str(number), name, str(len(found[name])), f"{best:.4f}", *took)
    Console(width=100).print(page)


if __name__ == "__main__":
    main()

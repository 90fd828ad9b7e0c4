"""Pruning under a Tuner of your own: Ray's OptunaSearch and ASHA with the shipped space. A minute on two CPU cores.

python examples/own_tuner.py
"""

import os
import tempfile
from pathlib import Path
from typing import Any

os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # or Tune prints hundreds of lines

import optuna
import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

import alphaprune

BASE = alphaprune.TrialConfig(
    epochs=4,
    alpha_fraction=0.5,
    optimizer=alphaprune.OptimizerConfig(batch_size=32),
    pruning=alphaprune.PruningConfig(round_to=1),
)


def space(trial: optuna.Trial) -> dict[str, Any]:
    """What Tune hands to each trial: a TrialConfig as a tree."""
    return alphaprune.as_json(alphaprune.alpha_pruning(trial, BASE, amounts=[0.5]))


def main() -> tune.ResultGrid:
    folder = Path(tempfile.mkdtemp(prefix="own-tuner-"))
    data = alphaprune.load_data(alphaprune.DataConfig(source="digits", images=300, validation_fraction=0.25))
    recipe = alphaprune.DenseConfig(width=0.0625, epochs=3, optimizer=alphaprune.OptimizerConfig(batch_size=32))
    alphaprune.train_dense(recipe, data, folder / "dense", threads=2)

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        tuner = tune.Tuner(
            tune.with_parameters(alphaprune.AlphaPruning, data=data, dense=str(folder / "dense")),
            tune_config=tune.TuneConfig(
                search_alg=OptunaSearch(space=space, metric="pruned_val_accuracy", mode="max"),
                scheduler=ASHAScheduler(
                    metric="pruned_val_accuracy", mode="max", time_attr="epoch", max_t=4, grace_period=2
                ),
                num_samples=3,
                max_concurrent_trials=2,
            ),
            run_config=tune.RunConfig(storage_path=str(folder), verbose=0),
        )
        return tuner.fit()
    finally:
        ray.shutdown()


if __name__ == "__main__":
    results = main()
    best = results.get_best_result("pruned_val_accuracy", "max")
    assert best.metrics is not None
    print(f"{len(results)} trials, {results.num_errors} errors")
    print(f"best: {best.metrics['pruned_val_accuracy']:.4f} at {100 * best.metrics['mac_sparsity']:.0f}% fewer MACs")

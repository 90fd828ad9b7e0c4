"""How long reading an experiment takes: `python benchmarks/loading.py [--trials 1000 --epochs 10]`.

By default 1,000 trials of 10 epochs, beside Ray's ExperimentAnalysis of the same rows, and 10,000 of 100. Experiments
are made in a temporary folder (1.5 GB), what they hold is drawn at random, and all files are in the file cache when the
clock starts. Nothing else should run.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import distribution_to_json
from rich.console import Console
from rich.progress import track
from rich.table import Table

import analysis
from records.dense import DenseRecord
from records.epoch import METRICS, EpochRow
from records.experiment import DataRecord, ExperimentFolder, ExperimentRecord
from records.files import now, write_json
from records.trial import Cut, TrialRecord
from spaces.alpha_pruning import alpha_pruning
from trainable.config import TrialConfig, as_json

REPEATS = 15
SIZES = ((1_000, 10), (10_000, 100))
# Ray takes too long for more.
MOST_FOR_RAY = 20_000


def asked(count: int, epochs: int) -> list[dict[str, Any]]:
    """What a study asks: configurations of all families and policies, with the parameters they came from."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found = []
    for _ in range(count):
        trial = study.ask()
        config = as_json(alpha_pruning(trial, TrialConfig(epochs=epochs)))
        distributions = {name: distribution_to_json(each) for name, each in trial.distributions.items()}
        found.append({"config": config, "params": trial.params, "distributions": distributions})
    return found


def rows(epochs: int, draw: random.Random) -> list[EpochRow]:
    """Rows as a trial writes them, of numbers as long as those."""
    cut = max(1, epochs // 3)
    return [
        EpochRow(
            epoch=epoch,
            phase="alpha" if epoch <= cut else "retrain",
            alpha=draw.random() if epoch <= cut else 0.0,
            **{name: draw.random() for name in METRICS if name != "alpha"},
        )
        for epoch in range(1, epochs + 1)
    ]


def make_experiment(folder: ExperimentFolder, trials: int, epochs: int) -> None:
    """A finished experiment: a third of its trials was stopped half way, the others have a pruned network."""
    draw = random.Random(0)
    folder.dense.mkdir(parents=True)
    data = DataRecord(
        name="digits", fingerprint="0", classes=10, train_images=900, validation_images=100, test_images=100
    )
    settings = {"search": {"trials": trials}, "trial": {"epochs": epochs}}
    folder.write(ExperimentRecord(name=folder.path.name, settings=settings, data=data))
    accuracies = {name: draw.random() for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy")}
    whole = {"widths": (512,) * 13, "channels": 512 * 13, "parameters": 14_990_922, "macs": 313_740_000}
    machine = {"seconds": 900.0, "device": "cpu", "threads": 2}
    write_json(folder.dense / "dense.json", asdict(DenseRecord(hash="0", epochs=60, **accuracies, **whole, **machine)))
    candidates = asked(100, epochs)
    for number in track(range(trials), f"making {trials} trials", console=Console(stderr=True), transient=True):
        stopped = number % 3 == 2
        widths = tuple(draw.randrange(8, 513, 8) for _ in range(13))
        cut = Cut(
            epoch=epochs // 3,
            widths=widths,
            channels=sum(widths),
            parameters=draw.randrange(10**7),
            macs=draw.randrange(10**8),
            val_loss=draw.random(),
            val_accuracy=draw.random(),
            difference=1e-6 * draw.random(),
        )
        record = TrialRecord(
            number,
            **candidates[number % len(candidates)],
            state="stopped" if stopped else "complete",
            attempt=1,
            host=f"node-{number % 8}:{draw.randrange(10**5)}",
            device="NVIDIA H200",
            cut=cut,
            started=now(),
            finished=now(),
        )
        trial = folder.trial(number)
        trial.create(record)
        trial.replace_rows(rows(epochs // 2 if stopped else epochs, draw))
        if not stopped:
            trial.model.mkdir()
            (trial.model / "model.safetensors").write_bytes(b"weights")
    before = time.time() - 60  # what was written just now is read again, to be sure
    for path in folder.path.rglob("*"):
        os.utime(path, (before, before))


def make_ray_experiment(folder: ExperimentFolder, path: Path) -> None:
    """The same trials and rows as Tune writes them: the experiment's state, and a result.json each."""
    from ray.train._internal.storage import StorageContext
    from ray.tune import PlacementGroupFactory
    from ray.tune.experiment import Trial
    from ray.tune.utils.serialization import TuneFunctionEncoder

    states = []
    for trial in folder.trials():
        name = f"trial_{trial.number:05}"
        (path / name).mkdir(parents=True)
        record, found = asdict(trial.read()), [row.as_values() for row in trial.rows()]
        storage = StorageContext(str(path.parent), experiment_dir_name=path.name, trial_dir_name=name)
        one = Trial("trial", config=record["config"], trial_id=name, storage=storage, stub=True)
        extra = {"trial_id": name, "pid": 1, "hostname": "node", "node_ip": "127.0.0.1", "config": record["config"]}
        results = [row | extra | {"training_iteration": row["epoch"], "timestamp": 1, "done": False} for row in found]
        (path / name / "result.json").write_text("".join(json.dumps(result) + "\n" for result in results))
        one.placement_group_factory = PlacementGroupFactory([{"CPU": 1}])  # type: ignore[assignment]
        one.run_metadata.last_result = results[-1]
        states.append(one.get_json_state())
    state = json.dumps({"trial_data": states}, cls=TuneFunctionEncoder)
    (path / "experiment_state-2026-01-01_00-00-00.json").write_text(state)


def seconds(read: Callable[[], object], repeats: int) -> float:
    """The median; the first time does not count."""
    read()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        read()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def measured(storage: Path, trials: int, epochs: int) -> list[tuple[str, float]]:
    """What each way to read the experiment takes."""
    folder = ExperimentFolder(storage / f"{trials}x{epochs}")
    make_experiment(folder, trials, epochs)
    repeats = REPEATS if trials * epochs <= MOST_FOR_RAY else 5
    found = [
        ("from the records", seconds(lambda: analysis.load(folder.path, cache=False).epochs, repeats)),
        ("from the tables", seconds(lambda: analysis.load(folder.path), repeats)),
        ("from the tables, with the rows of all epochs", seconds(lambda: analysis.load(folder.path).epochs, repeats)),
    ]
    for column in ("trials", "epochs"):
        size = (folder.path / "tables" / f"{column}.parquet").stat().st_size
        Console(stderr=True).print(f"tables/{column}.parquet: {size / 1e6:.1f} MB")
    changed = folder.trial(trials // 2)
    found.append(("the same when one trial changed", seconds(lambda: after_a_change(changed.rows_path), repeats)))
    if trials * epochs <= MOST_FOR_RAY:
        from ray.tune import ExperimentAnalysis

        path = storage / "ray"
        make_ray_experiment(folder, path)
        assert len(ExperimentAnalysis(str(path)).trial_dataframes) == trials
        found.append(("Ray Tune, ExperimentAnalysis", seconds(lambda: ExperimentAnalysis(str(path)), 3)))
    shutil.rmtree(folder.path)
    return found


def after_a_change(rows_path: Path) -> analysis.Experiment:
    """What `status` reads while a trial runs."""
    rows_path.touch()
    return analysis.load(rows_path.parents[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int)
    parser.add_argument("--epochs", type=int, default=10)
    arguments = parser.parse_args()
    sizes = ((arguments.trials, arguments.epochs),) if arguments.trials else SIZES
    os.fsync = lambda descriptor: None  # type: ignore[assignment]  # what is made here may be lost
    for trials, epochs in sizes:
        table = Table("analysis.load", "ms", "us a trial", "times", title=f"{trials:,} trials of {epochs} epochs")
        with tempfile.TemporaryDirectory() as storage:
            found = measured(Path(storage), trials, epochs)
        for name, taken in found:
            table.add_row(name, f"{1e3 * taken:.1f}", f"{1e6 * taken / trials:.0f}", f"{taken / found[0][1]:.2f}")
        Console().print(table)


if __name__ == "__main__":
    main()

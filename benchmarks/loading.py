"""How long reading an experiment takes: `python benchmarks/loading.py [--trials 1000 --epochs 10]`.

By default 1,000 trials of 10 epochs, compared with Ray's ExperimentAnalysis of the same rows, and 10,000 of 100. The
targets are medians on two CPU cores: from the records, which is what a running search costs each time, and from the
tables, which a finished one has. Experiments are created in a temporary folder (1.5 GB) with random contents, and all
files are in the file cache when the clock starts. Nothing else should be running.
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
from records.dense import DenseRecord, write_dense_record
from records.epoch import METRICS, EpochRow
from records.experiment import DataRecord, ExperimentFolder, ExperimentRecord
from records.files import now
from records.trial import Cut, TrialRecord
from spaces.alpha_pruning import alpha_pruning
from trainable.config import TrialConfig, as_json

REPEATS = 15
FROM_RECORDS, FROM_TABLES = "from the records", "from the tables"
# Trials and epochs -> maximum seconds for each way of reading.
TARGETS = {
    (1_000, 10): {FROM_RECORDS: 0.1, FROM_TABLES: 0.03},
    (10_000, 100): {FROM_RECORDS: 2.5, FROM_TABLES: 0.2},
}
# With more rows than this, Ray takes too long.
MOST_FOR_RAY = 20_000


def ask_study(count: int, epochs: int) -> list[dict[str, Any]]:
    """What a study suggests: configurations of all families and policies, with the parameters they came from."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    candidates = []
    for _ in range(count):
        trial = study.ask()
        config = as_json(alpha_pruning(trial, TrialConfig(epochs=epochs)))
        distributions = {name: distribution_to_json(each) for name, each in trial.distributions.items()}
        candidates.append({"config": config, "params": trial.params, "distributions": distributions})
    return candidates


def draw_rows(epochs: int, draw: random.Random) -> list[EpochRow]:
    """Rows as a trial writes them, with numbers of the same length."""
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
    """A finished experiment: a third of its trials were stopped halfway, the others have a pruned network."""
    draw = random.Random(0)
    folder.dense_path.mkdir(parents=True)
    data = DataRecord(
        name="digits", fingerprint="0", classes=10, train_images=900, validation_images=100, test_images=100
    )
    settings = {"search": {"trials": trials}, "trial": {"epochs": epochs}}
    folder.write_record(ExperimentRecord(name=folder.path.name, settings=settings, data=data))
    dense = DenseRecord(
        hash="0",
        epochs=60,
        train_loss=draw.random(),
        train_accuracy=draw.random(),
        val_loss=draw.random(),
        val_accuracy=draw.random(),
        widths=(512,) * 13,
        channels=512 * 13,
        parameters=14_990_922,
        macs=313_740_000,
        seconds=900.0,
        device="cpu",
        threads=2,
    )
    write_dense_record(folder.dense_path, dense)
    candidates = ask_study(100, epochs)
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
            attempt=1,
            host=f"node-{number % 8}:{draw.randrange(10**5)}",
            device="NVIDIA H200",
            cut=cut,
            started=now(),
        )
        trial = folder.trial_folder(number)
        trial.create(record)
        trial.replace_rows(draw_rows(epochs // 2 if stopped else epochs, draw))
        trial.record_end("stopped" if stopped else "complete")
        if not stopped:
            trial.model_path.mkdir()
            (trial.model_path / "model.safetensors").write_bytes(b"weights")
    before = time.time() - 60  # tables are not made of files that have only just been written
    for path in folder.path.rglob("*"):
        os.utime(path, (before, before))


def make_ray_experiment(folder: ExperimentFolder, path: Path) -> None:
    """The same trials and rows as Tune writes them: the experiment's state, and one result.json per trial."""
    from ray.train._internal.storage import StorageContext
    from ray.tune import PlacementGroupFactory
    from ray.tune.experiment import Trial
    from ray.tune.utils.serialization import TuneFunctionEncoder

    states = []
    for trial in folder.trial_folders():
        name = f"trial_{trial.number:05}"
        (path / name).mkdir(parents=True)
        record, rows = asdict(trial.read_record()), [row.as_values() for row in trial.read_rows()]
        storage = StorageContext(str(path.parent), experiment_dir_name=path.name, trial_dir_name=name)
        one = Trial("trial", config=record["config"], trial_id=name, storage=storage, stub=True)
        extra = {"trial_id": name, "pid": 1, "hostname": "node", "node_ip": "127.0.0.1", "config": record["config"]}
        results = [row | extra | {"training_iteration": row["epoch"], "timestamp": 1, "done": False} for row in rows]
        (path / name / "result.json").write_text("".join(json.dumps(result) + "\n" for result in results))
        one.placement_group_factory = PlacementGroupFactory([{"CPU": 1}])  # type: ignore[assignment]
        one.run_metadata.last_result = results[-1]
        states.append(one.get_json_state())
    state = json.dumps({"trial_data": states}, cls=TuneFunctionEncoder)
    (path / "experiment_state-2026-01-01_00-00-00.json").write_text(state)


def median_seconds(read: Callable[[], object], repeats: int) -> float:
    """The median time; the first call does not count."""
    read()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        read()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def time_loading(storage: Path, trials: int, epochs: int) -> dict[str, float]:
    """The seconds that each way of reading the experiment takes."""
    folder = ExperimentFolder(storage / f"{trials}x{epochs}")
    make_experiment(folder, trials, epochs)
    repeats = REPEATS if trials * epochs <= MOST_FOR_RAY else 5
    seconds = {
        FROM_RECORDS: median_seconds(lambda: analysis.load(folder.path, cache=False).epochs, repeats),
        FROM_TABLES: median_seconds(lambda: analysis.load(folder.path), repeats),
        "from the tables, with the rows of all epochs": median_seconds(
            lambda: analysis.load(folder.path).epochs, repeats
        ),
    }
    for name in ("trials", "epochs"):
        size = (folder.path / "tables" / f"{name}.parquet").stat().st_size
        Console(stderr=True).print(f"tables/{name}.parquet: {size / 1e6:.1f} MB")
    if trials * epochs <= MOST_FOR_RAY:
        from ray.tune import ExperimentAnalysis

        path = storage / "ray"
        make_ray_experiment(folder, path)
        assert len(ExperimentAnalysis(str(path)).trial_dataframes) == trials
        seconds["Ray Tune, ExperimentAnalysis"] = median_seconds(lambda: ExperimentAnalysis(str(path)), 3)
    shutil.rmtree(folder.path)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int)
    parser.add_argument("--epochs", type=int, help="of each trial (default: 10)")
    arguments = parser.parse_args()
    if arguments.epochs and not arguments.trials:
        parser.error("--epochs needs --trials")
    sizes = [(arguments.trials, arguments.epochs or 10)] if arguments.trials else list(TARGETS)
    os.fsync = lambda descriptor: None  # type: ignore[assignment]  # nothing made here needs to last
    for trials, epochs in sizes:
        table = Table("analysis.load", "ms", "target", "us per trial", title=f"{trials:,} trials of {epochs} epochs")
        with tempfile.TemporaryDirectory() as storage:
            seconds = time_loading(Path(storage), trials, epochs)
        targets = TARGETS.get((trials, epochs), {})
        for name, taken in seconds.items():
            target = f"{1e3 * targets[name]:.0f}" if name in targets else ""
            table.add_row(name, f"{1e3 * taken:.1f}", target, f"{1e6 * taken / trials:.0f}")
        Console().print(table)


if __name__ == "__main__":
    main()

"""Trials as frames and as records, with just the outcomes that a test is about."""

import math
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from optuna.distributions import distribution_to_json

import analysis
from analysis import Experiment
from records.experiment import ExperimentFolder
from records.files import replace_rows, write_json
from records.trial import TrialRecord
from spaces.alpha_pruning import alpha_pruning
from trainable.config import PruningConfig, TrialConfig, as_json, trial_config
from trainable.schedules.alpha import OneShot

DATA = {"name": "cifar10", "classes": 10, "train_images": 45000, "validation_images": 5000, "test_images": 10000}
DENSE = {
    **{"hash": "0", "val_accuracy": 0.94, "macs": 313_740_000, "parameters": 14_990_922, "epochs": 60},
    "widths": [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512],
}
EPOCHS = 12
BASE = TrialConfig(epochs=EPOCHS, pruning=PruningConfig(amount=0.75))
BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CPU = "AMD EPYC 7B13, 2 threads"
NUMBERS = (
    *("rate", "parent", "confirms", "mac_sparsity", "parameter_sparsity", "macs", "accuracy_at_cut", "accuracy_drop"),
    *("pruned_val_accuracy", "val_accuracy", "test_accuracy", "peak_memory_bytes", "mean_memory_bytes", "size_bytes"),
    *("batch1_speedup", "batch32_speedup", "batch256_speedup", "batch256_latency_ms"),
)
TEXTS = ("control", "family", "policy", "state", "measured_on")

Frame = Callable[..., pd.DataFrame]


@pytest.fixture(scope="session")
def frame() -> Frame:
    """Makes trials of dicts, numbered from 0: `accuracy`, `cut`, `repeats` (accuracies with other seeds; of the test
    set as `test_repeats`), and any column. Repeats come behind all of them."""

    def make(*trials: dict[str, Any]) -> pd.DataFrame:
        rows, repeats = [], []
        for number, trial in enumerate(trials):
            values = {"state": "complete", "family": "one_shot" if trial.get("control") else "exponential"} | trial
            accuracies, tests = values.pop("repeats", ()), values.pop("test_repeats", None)
            row = {"pruned_val_accuracy": values.pop("accuracy", math.nan), "mac_sparsity": values.pop("cut", 0.75)}
            row |= {"macs": 1000 * (1 - row["mac_sparsity"])} | values
            rows.append(row)
            for accuracy, test in zip(accuracies, tests or [math.nan] * len(accuracies), strict=True):
                repeats.append({**row, "pruned_val_accuracy": accuracy, "test_accuracy": test, "confirms": number})
        made = pd.DataFrame([*rows, *repeats]).reindex(columns=[*NUMBERS, *TEXTS]).rename_axis("number")
        return made.astype(dict.fromkeys(NUMBERS, "float64") | dict.fromkeys(TEXTS, "str"))

    return make


class Search:
    """Writes the records of a search, the outcome of each trial as it is given."""

    def __init__(self, path: Path, **record: Any) -> None:
        self.folder = ExperimentFolder(path)
        path.mkdir(parents=True)
        settings = {
            "dense": {"width": 1.0},
            "trial": {"epochs": EPOCHS},
            "search": {"trials": 0, "objectives": ["pruned_val_accuracy", "macs"]},
        }
        versions = {"python": "3.11.7", "torch": "2.15.0"}
        values = {"name": path.name, "preset": "cifar10", "settings": settings, "data": DATA, "versions": versions}
        write_json(self.folder.record_path, values | record)
        self._study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
        self._random = random.Random(3)
        self._count = 0

    def load(self) -> Experiment:
        return analysis.load(self.folder.path)

    def dense(self) -> None:
        self.folder.dense.mkdir()
        write_json(self.folder.dense / "dense.json", DENSE)

    def asked(self, accuracy: float, amount: float = 0.75, **more: Any) -> int:
        """A trial that the study asked for, of whatever schedule it drew."""
        trial = self._study.ask()
        config = alpha_pruning(trial, BASE, amounts=(amount,))
        distributions = {name: distribution_to_json(each) for name, each in trial.distributions.items()}
        return self.trial(as_json(config), accuracy, params=trial.params, distributions=distributions, **more)

    def control(self, kind: str, accuracy: float, amount: float = 0.75, **more: Any) -> int:
        config = as_json(BASE) | {"alpha": as_json(OneShot())}
        config["pruning"] |= {"amount": amount}
        return self.trial(config, accuracy, control=kind, **more)

    def repeated(self, number: int, accuracies: Sequence[float], **more: Any) -> None:
        """The trial again with other seeds, each measured on the test set."""
        record = self.folder.trial(number).read()
        for seed, accuracy in enumerate(accuracies, start=1):
            config = record.config | {"seed": seed}
            repeat = self.trial(config, accuracy, control=record.control, confirms=number, **more)
            self.measured(repeat, accuracy - 0.005, latency=False)

    def trial(
        self, config: dict[str, Any], accuracy: float, *, state: str = "complete", epochs: int = EPOCHS, **record: Any
    ) -> int:
        number = self._count
        self._count += 1
        keep = 1 - config["pruning"]["amount"]
        alphas = trial_config(config).alphas
        cut = {
            "epoch": len(alphas),
            "macs": round(DENSE["macs"] * keep),
            "parameters": round(DENSE["parameters"] * keep),
        }
        cut |= {"widths": [max(1, round(width * keep**0.5)) for width in DENSE["widths"]], "val_accuracy": accuracy / 2}
        began = BEGAN + timedelta(seconds=40 * number)
        ended = None if state == "running" else (began + timedelta(seconds=6 * epochs)).isoformat()
        whole = {
            **{"attempt": 1, "host": f"node-{number % 2}:{4000 + number}", "device": "cpu"},
            **{"started": began.isoformat(), "finished": ended, "cut": cut if epochs > len(alphas) else None},
        }
        folder = self.folder.trial(number)
        folder.create(TrialRecord(number, config, state=state, **whole | record))
        rows = []
        for epoch in range(1, epochs + 1):
            left = EPOCHS - epoch
            now = max(0.0, accuracy - 0.02 * left - self._random.random() * 0.01 * min(1, left))
            rows.append(
                {
                    **{"epoch": epoch, "phase": "alpha" if epoch <= len(alphas) else "retrain"},
                    **{"alpha": alphas[epoch - 1] if epoch <= len(alphas) else 0.0, "lr": 0.05 * (left + 1) / EPOCHS},
                    **{"train_loss": 1.0, "train_accuracy": now, "val_loss": 1.0, "val_accuracy": now},
                    **{"pruned_val_accuracy": now, "channel_sparsity": 1 - keep**0.5, "parameter_sparsity": 1 - keep},
                    **{"mac_sparsity": 1 - keep, "images_per_second": 9000.0, "epoch_seconds": 6.0},
                }
            )
        replace_rows(folder.rows_path, rows)
        return number

    def measured(self, number: int, test: float, speedup: float = 2.0, latency: bool = True, **more: Any) -> None:
        """What `alphaprune measure` writes beside the pruned network."""

        def network(part: float, accuracy: float) -> dict[str, Any]:
            memory = {"weights_bytes": 1, "batches": [], "sample_ms": 20.0, "samples": 99}
            tested = {"images": 10000, "accuracy": accuracy, "loss": 0.3, "seconds": 20 * part}
            tested |= {"peak_bytes": int(3e8 * part), "mean_bytes": int(2e8 * part)}
            return {"size_bytes": int(6e7 * part), "macs": 1, "parameters": 1, "memory": memory, "test": tested}

        def row(size: int) -> dict[str, Any]:
            def spread(value: float) -> dict[str, float]:
                return {"median": value, "q1": 0.97 * value, "q3": 1.04 * value}

            factor = speedup * (0.6 if size == 1 else 1.0)
            return {
                **{"batch_size": size, "pairs": 30, "dense_ms": spread(size + 3.0)},
                **{"pruned_ms": spread((size + 3) / factor), "speedup": spread(factor)},
            }

        values = {
            **{"created": "2026-01-03T10:00:00.000+00:00", "measured_on": CPU, "host": "node-0", "device": "cpu"},
            **{"device_memory_bytes": None, "torch": "2.15.0", "cuda": None, "threads": 2, "dtype": "float32"},
            **{"memory_format": "channels_last", "latency": [row(size) for size in (1, 32, 256)] if latency else []},
            **{"dense": network(1.0, 0.936), "pruned": network(0.5 / speedup, test)},
        }
        folder = self.folder.trial(number).model
        folder.mkdir(exist_ok=True)
        write_json(folder / "measure.json", values | more)


def write_rich(path: Path) -> Search:
    """30 trials of all families, two amounts with their controls, repeats over 3 seeds, measured, some that failed."""
    settings = {
        "data": {"source": "cifar10", "validation_fraction": 0.1, "split_seed": 0, "images": None},
        "dense": {"width": 1.0},
        "trial": {"epochs": EPOCHS, "alpha": {"family": "piecewise", "segments": [{"rate": 0.05, "ends_at": 0.4}]}},
        "search": {"trials": 32, "objectives": ["pruned_val_accuracy", "macs"]},
    }
    search = Search(path, settings=settings)
    search.dense()
    draw = random.Random(7)
    controls = {
        (kind, amount): search.control(kind, base - 0.04 * (amount > 0.8), amount)
        for amount in (0.75, 0.9)
        for kind, base in (("one_shot", 0.926), ("random_channels", 0.915), ("from_scratch", 0.90))
    }
    asked = {
        (amount, index): search.asked(0.92 - 0.04 * (amount > 0.8) + draw.gauss(0, 0.005), amount)
        for index in range(14)
        for amount in (0.75, 0.9)
    }
    best = [search.asked(0.938, 0.75), search.asked(0.897, 0.9)]
    for epochs in (4, 4, 6):
        search.asked(0.8, state="stopped", epochs=epochs)
    search.asked(0.7, state="failed", epochs=2, error="CUDA error: out of memory\nat line 3")
    for number, test in ((best[0], 0.929), (best[1], 0.886), *((number, 0.91) for number in controls.values())):
        search.measured(number, test, speedup=2.4 if test > 0.9 else 3.6)
    for amount in range(3):
        search.measured(asked[0.9, amount], 0.87, speedup=0.9)
    search.repeated(best[0], (0.931, 0.934, 0.933))
    search.repeated(best[1], (0.884, 0.889, 0.893))
    search.repeated(controls["one_shot", 0.75], (0.925, 0.927, 0.924))
    search.repeated(controls["one_shot", 0.9], (0.886, 0.888, 0.881))
    return search


@pytest.fixture
def search(tmp_path: Path) -> Search:
    """A search of which nothing has begun."""
    return Search(tmp_path / "demo")


@pytest.fixture(scope="session")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    return write_rich(tmp_path_factory.mktemp("rich") / "cifar10-autumn").load()

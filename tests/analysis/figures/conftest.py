"""Synthetic experiments as figures meet them: full, empty, of one trial, running, failed and damaged."""

import math
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import distribution_to_json

import analysis
from analysis import Experiment
from records.experiment import ExperimentFolder
from records.files import replace_rows, write_json
from records.trial import TrialRecord
from spaces.alpha_pruning import alpha_pruning
from trainable.config import PruningConfig, TrialConfig, as_json, trial_config
from trainable.schedules.alpha import OneShot, Piecewise
from trainable.schedules.lr_policies import StagnationRestart

WIDTHS = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
DENSE = {
    "hash": "0",
    "val_accuracy": 0.94,
    "train_accuracy": 0.99,
    "macs": 313_740_000,
    "parameters": 14_990_922,
    "channels": sum(WIDTHS),
    "widths": WIDTHS,
    "seconds": 900.0,
    "device": "cpu",
    "epochs": 60,
}
EPOCHS = 20
BASE = TrialConfig(epochs=EPOCHS, pruning=PruningConfig(amount=0.75))
BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CPU = "AMD EPYC 7B13, 2 threads"


class Synthetic:
    """Writes the records of an experiment, with numbers that look like a search's."""

    def __init__(self, path: Path, objectives: tuple[str, ...] = ("pruned_val_accuracy", "macs")) -> None:
        self.folder = ExperimentFolder(path)
        path.mkdir(parents=True)
        settings = {"search": {"trials": 30, "objectives": list(objectives)}, "trial": {"epochs": EPOCHS}}
        write_json(self.folder.record_path, {"name": path.name, "preset": "cifar10", "settings": settings})
        self.folder.dense.mkdir()
        write_json(self.folder.dense / "dense.json", DENSE)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
        self._random = random.Random(3)
        self._count = 0

    def load(self) -> Experiment:
        return analysis.load(self.folder.path)

    def asked(self, state: str = "complete", epochs: int = EPOCHS, **record: Any) -> int:
        """A trial that the study asked for."""
        trial = self._study.ask()
        config = alpha_pruning(trial, BASE, amounts=(0.5, 0.75, 0.9))
        record |= {
            "params": trial.params,
            "distributions": {name: distribution_to_json(each) for name, each in trial.distributions.items()},
        }
        return self.trial(config, state=state, epochs=epochs, **record)

    def control(self, kind: str, amount: float, **record: Any) -> int:
        criterion = "random" if kind == "random_channels" else "l1"
        initial = "random" if kind == "from_scratch" else "dense"
        pruning = replace(BASE.pruning, amount=amount, criterion=criterion)
        config = replace(BASE, alpha=OneShot(), initial=initial, pruning=pruning)
        return self.trial(config, control=kind, **record)

    def report(self, rates: tuple[float, ...], **record: Any) -> int:
        """A trial as in the weekly report, whose learning rate steps up through `rates`."""
        lr = StagnationRestart(rates=rates)
        return self.trial(replace(BASE, alpha=Piecewise(), alpha_fraction=0.6, lr=lr), **record)

    def branch(self, parent: int, begun: int, rate: float) -> int:
        """A branch of `parent` behind its first `begun` epochs."""
        folder = self.folder.trial(parent)
        rows = folder.rows()[:begun]
        values = folder.read().config | {"begun": [row["alpha"] for row in rows]}
        values["lr"] = as_json(StagnationRestart(rates=(rate,)))
        origin = {"number": parent, "epoch": begun, "alpha": rows[-1]["alpha"]}
        return self.write(values, rows, state="complete", epochs=EPOCHS, parent=origin)

    def trial(self, config: TrialConfig, *, state: str = "complete", epochs: int = EPOCHS, **record: Any) -> int:
        return self.write(as_json(config), [], state=state, epochs=epochs, **record)

    def write(self, config: dict[str, Any], begun: list[Any], *, state: str, epochs: int, **record: Any) -> int:
        number, draw = self._count, self._random
        self._count += 1
        amount = config["pruning"]["amount"]
        keep = 1 - amount - 0.02 * draw.random()
        widths = [max(1, round(width * keep ** (0.3 + 0.06 * layer))) for layer, width in enumerate(WIDTHS)]
        penalty = {"random_channels": 0.02, "from_scratch": 0.035, "one_shot": 0.008}.get(
            record.get("control") or "", 0
        )
        end = 0.945 - 0.09 * amount**3 - penalty + draw.gauss(0, 0.004)
        alphas = trial_config(config).alphas
        cut = None
        if epochs > len(alphas):
            cut = {"epoch": len(alphas), "widths": widths, "macs": round(313_740_000 * keep), "channels": sum(widths)}
            cut |= {"parameters": round(14_990_922 * keep**1.3), "val_accuracy": end - 0.3, "difference": 1e-7}
        began = BEGAN + timedelta(seconds=40 * number)
        finished = None if state == "running" else (began + timedelta(seconds=6 * epochs)).isoformat()
        whole = {
            "attempt": 1,
            "host": f"node-{number % 2}:{4000 + number}",
            "device": "NVIDIA H200" if number % 2 else "cpu",
            "started": began.isoformat(),
            "finished": finished,
            "cut": cut,
        } | record
        folder = self.folder.trial(number)
        folder.create(TrialRecord(number, config, state=state, **whole))
        rows = list(begun)
        for epoch in range(len(begun) + 1, epochs + 1):
            alpha = alphas[epoch - 1] if epoch <= len(alphas) else 0.0
            rows.append(row_of(config, epoch, alpha, len(alphas), end, keep, draw))
        replace_rows(folder.rows_path, rows)
        return number

    def measured(self, number: int, on: str = CPU, speedup: float | None = None) -> None:
        """Puts what `alphaprune measure` writes beside a trial's pruned network."""
        folder = self.folder.trial(number)
        keep = (folder.read().cut or {})["macs"] / DENSE["macs"]
        speedup = speedup or 0.8 / (keep + 0.1)

        def network(part: float, accuracy: float) -> dict[str, Any]:
            memory = {"weights_bytes": int(6e7 * part), "sample_ms": 1.0, "samples": 99}
            memory["batches"] = [
                {"batch_size": size, "peak_bytes": int(3e8 * part), "mean_bytes": int(2e8 * part)}
                for size in (1, 32, 256)
            ]
            test = {"images": 10000, "accuracy": accuracy, "loss": 0.3, "seconds": 20 * part}
            test |= {"peak_bytes": int(3e8 * part), "mean_bytes": int(2e8 * part)}
            sizes = {"size_bytes": int(6e7 * part), "macs": 1, "parameters": 1}
            return {**sizes, "memory": memory, "test": test}

        def spread(value: float) -> dict[str, float]:
            return {"median": value, "q1": 0.97 * value, "q3": 1.04 * value}

        latency = [
            {
                **{"batch_size": size, "pairs": 30, "dense_ms": spread(0.9 * size + 3)},
                **{"pruned_ms": spread((0.9 * size + 3) / speedup), "speedup": spread(speedup)},
            }
            for size in (1, 32, 256)
        ]
        folder.model.mkdir(exist_ok=True)
        values = {
            **{"created": BEGAN.isoformat(), "measured_on": on, "host": "node-0", "device": "cpu", "threads": 2},
            **{"device_memory_bytes": None, "torch": "2.15.0", "cuda": None, "dtype": "float32"},
            **{"memory_format": "channels_last", "latency": latency},
            **{"dense": network(1.0, 0.936), "pruned": network(1 / speedup, 0.93)},
        }
        write_json(folder.model / "measure.json", values)


def row_of(
    config: dict[str, Any], epoch: int, alpha: float, cut: int, end: float, keep: float, draw: random.Random
) -> dict[str, Any]:
    done = epoch / EPOCHS
    pruned = end - 0.5 * math.exp(-5 * done) * (1 + 0.4 * alpha) + draw.gauss(0, 0.004)
    today = pruned if alpha == 0 else end - 0.15 * (1 - alpha) * math.exp(-2 * done)
    lr = config["alpha_lr"] if epoch <= cut else learning_rate(config["lr"], (epoch - cut) / (EPOCHS - cut))
    return {
        "epoch": epoch,
        "phase": "alpha" if epoch <= cut else "retrain",
        "alpha": alpha,
        "lr": lr,
        "train_loss": 1 - done / 2,
        "train_accuracy": min(1.0, today + 0.03 * done),
        "val_loss": 1.2 - done / 2,
        "val_accuracy": today,
        "pruned_val_accuracy": end if epoch == EPOCHS else pruned,
        "channel_sparsity": (1 - keep) / 2,
        "parameter_sparsity": 1 - keep**1.3,
        "mac_sparsity": 1 - keep,
        "images_per_second": 9000.0,
        "epoch_seconds": 6.0,
    }


def learning_rate(policy: dict[str, Any], done: float) -> float:
    if "rates" in policy:
        rates = policy["rates"]
        return float(rates[min(len(rates) - 1, int(done * len(rates)))])
    return float(policy["peak"] * (1.01 + math.cos(math.pi * done)) / 2)


def write_full(path: Path) -> Synthetic:
    """Several families, controls, stopped, failed, running, repeats, branches, measured."""
    search = Synthetic(path)
    controls = [
        search.control(kind, amount)
        for amount in (0.75, 0.9)
        for kind in ("one_shot", "random_channels", "from_scratch")
    ]
    asked = [search.asked() for _ in range(30)]
    for epochs in (6, 6, 12, 6, 12):
        search.asked("stopped", epochs)
    search.asked("failed", 4, error="CUDA error: <b>out of memory</b>")
    search.asked("running", 9)
    for original in (controls[0], asked[3], asked[4]):
        record = search.folder.trial(original).read()
        for seed in (1, 2, 3):
            config = record.config | {"seed": seed}
            search.write(config, [], state="complete", epochs=EPOCHS, control=record.control, confirms=original)
    report = search.report((0.001,))
    first = search.branch(report, 10, 0.01)
    search.branch(first, 14, 0.1)
    for number in (*controls, *asked[:12]):
        search.measured(number)
    search.measured(asked[12], on="NVIDIA H200")
    return search


@pytest.fixture
def synthetic_for_one(tmp_path: Path) -> Synthetic:
    """The same, its search having one objective."""
    return Synthetic(tmp_path / "one", objectives=("pruned_val_accuracy",))


@pytest.fixture
def synthetic(tmp_path: Path) -> Synthetic:
    """An experiment that has a dense network and no trials."""
    return Synthetic(tmp_path / "demo")


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    return write_full(tmp_path_factory.mktemp("full") / "demo").load()

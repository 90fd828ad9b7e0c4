"""Experiments of a few trials, written as the trials themselves write them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from records.experiment import ExperimentFolder
from records.files import append_row, write_json
from records.trial import Cut, State, TrialFolder, TrialRecord
from trainable.config import PruningConfig, TrialConfig, as_json
from trainable.schedules.alpha import AlphaSchedule, Exponential
from trainable.schedules.lr_policies import CosineAnnealing, LRPolicy

DENSE = {"val_accuracy": 0.94, "macs": 1000, "parameters": 500}


@dataclass(frozen=True)
class Builder:
    """Writes one experiment. Accuracy and MAC sparsity of trial n follow from n where they are not given."""

    folder: ExperimentFolder

    @property
    def path(self) -> Path:
        return self.folder.path

    def experiment(self, trials: int = 4, epochs: int = 3) -> "Builder":
        self.path.mkdir(parents=True, exist_ok=True)
        settings = {"search": {"trials": trials}, "trial": {"epochs": epochs}}
        write_json(self.folder.record_path, {"name": self.path.name, "preset": "quickstart", "settings": settings})
        return self

    def dense(self, **values: Any) -> "Builder":
        self.folder.dense.mkdir(exist_ok=True)
        write_json(self.folder.dense / "dense.json", {"hash": "0", **DENSE, **values})
        return self

    def trial(
        self,
        number: int,
        *,
        control: str | None = None,
        state: State = "complete",
        accuracies: Sequence[float | None] = (0.5, 0.8, 0.9),
        sparsity: float | None = 0.75,
        alpha: AlphaSchedule | None = None,
        lr: LRPolicy | None = None,
        epochs: int = 3,
        **record: Any,
    ) -> TrialFolder:
        """A trial with a row for each of `accuracies`: the first in the alpha phase, the cut behind it."""
        trial = self.folder.trial(number)
        config = TrialConfig(
            epochs=epochs, alpha=alpha or Exponential(), lr=lr or CosineAnnealing(), pruning=PruningConfig(amount=0.7)
        )
        cut = (
            Cut(epoch=1, widths=(1,), channels=1, macs=250, parameters=100, val_accuracy=0.6)
            if sparsity is not None
            else None
        )
        record = {
            "cut": cut,
            "attempt": 1,
            "host": "node",
            "device": "cpu",
            "started": "2026-01-02T03:04:05.678+00:00",
        } | record
        trial.create(TrialRecord(number, as_json(config), control=control, state=state, **record))
        for epoch, accuracy in enumerate(accuracies, start=1):
            append_row(trial.rows_path, row(epoch, accuracy, sparsity))
        return trial

    def measured(self, number: int, **values: Any) -> Path:
        """What `alphaprune measure` writes beside the trial's pruned network, but for `values`."""
        model = self.folder.trial(number).model
        model.mkdir(exist_ok=True)
        write_json(model / "measure.json", MEASURED | values)
        return model / "measure.json"


def _network(scale: float) -> dict[str, Any]:
    test = {"images": 10_000, "accuracy": 0.9 + scale / 100, "loss": 0.3, "seconds": 8.0 * scale}
    test |= {"peak_bytes": int(4000 * scale), "mean_bytes": int(3000 * scale)}
    return {"size_bytes": int(2000 * scale), "macs": 1, "parameters": 1, "memory": {"samples": 9}, "test": test}


def _spread(median: float) -> dict[str, float]:
    return {"median": median, "q1": 0.5 * median, "q3": 2 * median}


# A pruned network that is twice as fast and half as large as the dense one.
MEASURED: dict[str, Any] = {
    "created": "2026-03-04T05:06:07.891+00:00",
    "measured_on": "a CPU, 2 threads",
    "host": "node",
    "device": "cpu",
    "device_memory_bytes": None,
    "threads": 2,
    "latency": [
        {
            "batch_size": size,
            "pairs": 30,
            "dense_ms": _spread(2.0 * size),
            "pruned_ms": _spread(1.0 * size),
            "speedup": _spread(2.0),
        }
        for size in (1, 32, 256)
    ],
    "dense": _network(2.0),
    "pruned": _network(1.0),
}


def row(epoch: int, accuracy: float | None, sparsity: float | None) -> dict[str, Any]:
    alpha_phase = epoch == 1
    return {
        "epoch": epoch,
        "phase": "alpha" if alpha_phase else "retrain",
        "alpha": 0.3 if alpha_phase else 0,
        "lr": 0.1 / 3,
        "train_loss": 1.5,
        "train_accuracy": 0.7,
        "val_loss": 0.5,
        "val_accuracy": 0.85,
        "pruned_val_accuracy": accuracy,
        "channel_sparsity": 0.5,
        "parameter_sparsity": 0.8,
        "mac_sparsity": sparsity,
        "images_per_second": 1234.5,
        "epoch_seconds": 2.25,
    }


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    """An experiment without trials, its dense network trained."""
    return Builder(ExperimentFolder(tmp_path / "demo")).experiment().dense()

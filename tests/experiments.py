"""Synthetic experiments: the records that a search, its trials and their measurements leave, without any training.

All of it is written by the classes of `records` and read back by them, so a test can only write what a trial can write.
A test of damage does the damage itself, on the files.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypedDict, Unpack

import optuna
import pandas as pd
from optuna.distributions import distribution_to_json

import analysis
import records.measurement
from analysis import Experiment
from records.dense import DenseRecord, read_dense_record, write_dense_record
from records.epoch import EpochRow
from records.experiment import DataRecord, ExperimentFolder, ExperimentRecord
from records.measurement import (
    BATCH_SIZES,
    LatencyComparison,
    Measurement,
    NetworkMeasurement,
    NetworkMemory,
    Quartiles,
    TestRun,
    parse_measurement,
)
from records.trial import Budget, Cut, Parent, State, TrialFolder, TrialRecord, Twin
from spaces.alpha_pruning import FAMILIES, alpha_pruning
from trainable.config import PruningConfig, TrialConfig, as_json, trial_config
from trainable.schedules.alpha import AlphaSchedule, Exponential, OneShot, Piecewise
from trainable.schedules.lr_policies import CosineAnnealing, LRPolicy, StagnationRestart

DATA = DataRecord(
    name="cifar10", fingerprint="f8", classes=10, train_images=45_000, validation_images=5_000, test_images=10_000
)
WIDTHS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
DENSE = DenseRecord(
    hash="0",
    epochs=60,
    train_loss=0.05,
    train_accuracy=0.99,
    val_loss=0.2,
    val_accuracy=0.94,
    widths=WIDTHS,
    channels=sum(WIDTHS),
    parameters=14_990_922,
    macs=313_740_000,
    seconds=900.0,
    device="cpu",
    threads=2,
)
CPU = "AMD EPYC 7B13, 2 threads"


class RecordFields(TypedDict, total=False):
    """The fields of a trial's record that a test may choose."""

    state: State
    control: str | None
    parent: Parent
    confirms: int | None
    twin: Twin | None
    params: dict[str, Any]
    distributions: dict[str, str]
    host: str | None
    device: str | None
    error: str
    problems: list[str]
    created: str
    started: str | None
    finished: str


class ExperimentBuilder:
    """Writes the records of one experiment.

    Attributes:
        folder: the experiment's.
        base: the configuration that trials are variations of.
        dense: the network that sparsities refer to, whether or not its record has been written.
    """

    def __init__(
        self,
        path: Path,
        *,
        epochs: int = 20,
        epoch_seconds: float = 6.0,
        trials: int = 4,
        dense: DenseRecord = DENSE,
        devices: Sequence[str] = ("cpu", "NVIDIA H200"),
    ) -> None:
        """Makes the folder of an experiment that has its record, and no dense network and no trials yet.

        Args:
            epochs, epoch_seconds: of each trial.
            trials: how many the search is to ask for.
            devices: what trials run on, in turn.
        """
        self.folder, self.dense = ExperimentFolder(path), dense
        self.base = TrialConfig(epochs=epochs, pruning=PruningConfig(amount=0.75))
        self._epoch_seconds, self._devices, self._next = epoch_seconds, devices, 0
        self._random = random.Random(3)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
        path.mkdir(parents=True)
        search = {"trials": trials, "objectives": ["pruned_val_accuracy", "macs"]}
        settings = {"dense": {"width": 1.0}, "trial": {"epochs": epochs}, "search": search}
        versions = {"python": "3.11.7", "torch": "2.15.0"}
        record = ExperimentRecord(name=path.name, settings=settings, data=DATA, preset="cifar10", versions=versions)
        self.folder.write_record(record)

    @property
    def path(self) -> Path:
        return self.folder.path

    def load(self) -> Experiment:
        return analysis.load(self.path)

    def change_settings(self, settings: dict[str, Any]) -> None:
        self.folder.write_record(replace(self.folder.read_record(), settings=settings))

    def write_dense(self, **changes: float) -> None:
        self.dense = replace(self.dense, **changes)  # type: ignore[arg-type]  # it is read back
        self.folder.dense_path.mkdir(exist_ok=True)
        write_dense_record(self.folder.dense_path, self.dense)
        read_dense_record(self.folder.dense_path)

    def add_trial(
        self,
        number: int,
        accuracies: Sequence[float] = (0.5, 0.8, 0.9),
        *,
        mac_sparsity: float = 0.75,
        alpha: AlphaSchedule | None = None,
        lr: LRPolicy | None = None,
        **fields: Unpack[RecordFields],
    ) -> TrialFolder:
        """A trial with one epoch for each of `accuracies`."""
        alpha = alpha or (OneShot() if fields.get("control") else Exponential())
        config = replace(self.base, alpha=alpha, lr=lr or CosineAnnealing())
        ran: RecordFields = {"host": "node", "device": "cpu", "started": "2026-01-02T03:04:05.678+00:00"}
        rows = [self._row(config, epoch, each, mac_sparsity) for epoch, each in enumerate(accuracies, start=1)]
        return self._write(number, config, rows, mac_sparsity, {**ran, **fields})

    def add_searched(
        self,
        accuracy: float | None = None,
        *,
        amounts: Sequence[float] = (0.75,),
        families: Sequence[str] = FAMILIES,
        epochs: int | None = None,
        **fields: Unpack[RecordFields],
    ) -> TrialFolder:
        """A trial that the study asked for: whatever the space drew, cut by one of `amounts`."""
        trial = self._study.ask()
        config = alpha_pruning(trial, self.base, amounts=amounts, families=families)
        fields["params"] = trial.params
        fields["distributions"] = {name: distribution_to_json(each) for name, each in trial.distributions.items()}
        return self.add_config(config, accuracy, epochs=epochs, **fields)

    def add_control(
        self,
        kind: str,
        accuracy: float | None = None,
        amount: float = 0.75,
        *,
        epochs: int | None = None,
        **fields: Unpack[RecordFields],
    ) -> TrialFolder:
        pruning = PruningConfig(amount=amount, criterion="random" if kind == "random_channels" else "l1")
        initial: Any = "random" if kind == "from_scratch" else "dense"
        config = replace(self.base, alpha=OneShot(), initial=initial, pruning=pruning)
        fields["control"] = kind
        return self.add_config(config, accuracy, epochs=epochs, **fields)

    def add_restarting(
        self, rates: tuple[float, ...], *, epochs: int | None = None, **fields: Unpack[RecordFields]
    ) -> TrialFolder:
        """A trial like those of the weekly report, whose learning rate steps up through `rates`."""
        lr = StagnationRestart(rates=rates)
        config = replace(self.base, alpha=Piecewise(), alpha_fraction=0.6, lr=lr)
        return self.add_config(config, epochs=epochs, **fields)

    def add_branch(self, parent: TrialFolder, epoch: int, rate: float) -> TrialFolder:
        """A trial that continues from `epoch` of `parent` and retrains at `rate`."""
        begun = parent.read_rows()[:epoch]
        config = replace(
            trial_config(parent.read_record().config),
            begun=tuple(row.alpha for row in begun),
            lr=StagnationRestart(rates=(rate,)),
        )
        origin = Parent(number=parent.number, epoch=epoch, alpha=begun[-1].alpha)
        return self.add_config(config, begun=begun, parent=origin)

    def add_repeat(self, original: TrialFolder, seed: int, accuracy: float | None = None) -> TrialFolder:
        """The trial again with another seed."""
        record = original.read_record()
        config = replace(trial_config(record.config), seed=seed)
        return self.add_config(config, accuracy, control=record.control, confirms=record.number)

    def add_twin(self, original: TrialFolder, budget: Budget, seed: int, accuracy: float | None = None) -> TrialFolder:
        """The trial without a fade, with another seed and as many epochs or as much training compute."""
        from search.followups.confirm import count_twin_epochs  # brings torch

        config = replace(trial_config(original.read_record().config), seed=seed)
        epochs = config.epochs if budget == "epochs" else count_twin_epochs(original.read_rows())
        twin = replace(config, alpha=OneShot(), epochs=epochs)
        return self.add_config(twin, accuracy, confirms=original.number, twin=budget)

    def add_config(
        self,
        config: TrialConfig,
        accuracy: float | None = None,
        *,
        epochs: int | None = None,
        begun: Sequence[EpochRow] = (),
        **fields: Unpack[RecordFields],
    ) -> TrialFolder:
        """A trial on its way to `accuracy`, which is drawn if it is None.

        Args:
            epochs: how many it has run, by default all.
            begun: the first rows, of the trial that a branch continues from.
        """
        number, amount, mac_sparsity = self._next, config.pruning.amount, config.pruning.amount
        if accuracy is None:
            penalties = {"random_channels": 0.02, "from_scratch": 0.035, "one_shot": 0.008}
            accuracy = 0.945 - 0.09 * amount**3 - penalties.get(fields.get("control") or "", 0)
            accuracy += self._random.gauss(0, 0.004)
            mac_sparsity += 0.02 * self._random.random()
        rows = list(begun)
        for epoch in range(len(rows) + 1, (config.epochs if epochs is None else epochs) + 1):
            now = accuracy - 0.5 * math.exp(-5 * epoch / config.epochs) + self._random.gauss(0, 0.004)
            now = accuracy if epoch == config.epochs else min(1.0, max(0.0, now))
            rows.append(self._row(config, epoch, now, mac_sparsity))
        ran: RecordFields = {
            "host": f"node-{number % 2}:{4000 + number}",
            "device": self._devices[number % len(self._devices)],
            "started": (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC) + timedelta(seconds=40 * number)).isoformat(),
        }
        return self._write(number, config, rows, mac_sparsity, {**ran, **fields})

    def _write(
        self, number: int, config: TrialConfig, rows: Sequence[EpochRow], mac_sparsity: float, fields: RecordFields
    ) -> TrialFolder:
        state, started = fields.setdefault("state", "complete"), fields["started"]
        if len(rows) != config.epochs if state == "complete" else len(rows) > config.epochs:
            raise ValueError(f"a trial of {config.epochs} epochs that is {state} cannot have {len(rows)}")
        if started is None:
            fields["host"] = fields["device"] = None
        elif state != "running":
            finished = datetime.fromisoformat(started) + timedelta(seconds=len(rows) * self._epoch_seconds)
            fields.setdefault("finished", finished.isoformat(timespec="milliseconds"))
        cut = self._cut(config, mac_sparsity) if len(rows) > int(config.alpha_epochs) else None
        trial = self.folder.trial_folder(number)
        trial.create(TrialRecord(number, as_json(config), attempt=int(started is not None), cut=cut, **fields))
        trial.replace_rows(rows)
        trial.read_record()
        assert len(trial.read_rows()) == len(rows)
        self._next = max(self._next, number + 1)
        return trial

    def _cut(self, config: TrialConfig, mac_sparsity: float) -> Cut:
        keep = 1 - mac_sparsity
        widths = tuple(max(1, round(width * keep**0.5)) for width in self.dense.widths)
        macs, parameters = round(self.dense.macs * keep), round(self.dense.parameters * 0.8 * keep)
        cut = Cut(epoch=int(config.alpha_epochs), widths=widths, channels=sum(widths), parameters=parameters, macs=macs)
        return cut if config.initial == "random" else replace(cut, val_loss=1.5, val_accuracy=0.6, difference=1e-7)

    def _row(self, config: TrialConfig, epoch: int, accuracy: float, mac_sparsity: float) -> EpochRow:
        alphas, done, keep = config.list_alphas(1), epoch / config.epochs, 1 - mac_sparsity
        alpha = alphas[epoch - 1] if epoch <= len(alphas) else 0.0
        today = accuracy + alpha * (self.dense.val_accuracy - accuracy)  # at alpha = 1 it is the dense network
        return EpochRow(
            epoch=epoch,
            phase="alpha" if epoch <= len(alphas) else "retrain",
            alpha=alpha,
            lr=_learning_rate(config, epoch),
            train_loss=1 - done / 2,
            train_accuracy=min(1.0, today + 0.03 * done),
            val_loss=1.2 - done / 2,
            val_accuracy=today,
            pruned_val_accuracy=accuracy,
            channel_sparsity=1 - keep**0.5,
            parameter_sparsity=1 - 0.8 * keep,
            mac_sparsity=mac_sparsity,
            training_cost=1.0 if epoch <= len(alphas) else keep,
            images_per_second=9000.0,
            epoch_seconds=self._epoch_seconds,
        )


def _learning_rate(config: TrialConfig, epoch: int) -> float:
    cut, policy = int(config.alpha_epochs), config.lr
    if epoch <= cut:
        return config.alpha_lr
    done = (epoch - cut) / (config.epochs - cut)
    if isinstance(policy, StagnationRestart):
        return policy.rates[min(len(policy.rates) - 1, int(done * len(policy.rates)))]
    return policy.peak * (1.01 + math.cos(math.pi * done)) / 2


def write_measurement(trial: TrialFolder, measurement: Measurement) -> None:
    """What `alphaprune measure` leaves beside the trial's pruned network."""
    trial.model_path.mkdir(exist_ok=True)
    records.measurement.write_measurement(trial.measurement_path, measurement)
    parse_measurement(trial.measurement_path.read_bytes())


def make_measurement(
    test_accuracy: float = 0.91, *, dense_accuracy: float = 0.936, speedup: float = 2.0, measured_on: str = CPU
) -> Measurement:
    """Of a pruned network that is `speedup` times as fast as the dense one, and 0.6 times that in batches of 1."""
    speedups = {size: speedup * (0.6 if size == 1 else 1.0) for size in BATCH_SIZES}
    return Measurement(
        created="2026-01-03T10:00:00.000+00:00",
        measured_on=measured_on,
        host="node-0",
        device="cpu",
        torch="2.15.0",
        threads=2,
        dtype="float32",
        memory_format="channels_last",
        latency=tuple(make_latency(size, size + 3.0, factor) for size, factor in speedups.items()),
        dense=_network(1.0, dense_accuracy),
        pruned=_network(0.5 / speedup, test_accuracy),
    )


def make_light_measurement(test_accuracy: float) -> Measurement:
    """Of a repeat, of which only the test set is run."""
    test = TestRun(images=10_000, accuracy=test_accuracy, loss=0.3, seconds=10.0)
    return Measurement(created="2026-01-03T10:00:00.000+00:00", alone=True, pruned=NetworkMeasurement(test=test))


def make_latency(batch_size: int, dense_ms: float, speedup: float) -> LatencyComparison:
    dense, pruned, factor = (
        Quartiles(median=value, q1=0.97 * value, q3=1.04 * value) for value in (dense_ms, dense_ms / speedup, speedup)
    )
    return LatencyComparison(batch_size=batch_size, pairs=30, dense_ms=dense, pruned_ms=pruned, speedup=factor)


def _network(part: float, accuracy: float) -> NetworkMeasurement:
    size, peak, mean = int(6e7 * part), int(3e8 * part), int(2e8 * part)
    test = TestRun(images=10_000, accuracy=accuracy, loss=0.3, seconds=20 * part, peak_bytes=peak, mean_bytes=mean)
    return NetworkMeasurement(size_bytes=size, memory=NetworkMemory(weights_bytes=size, sample_ms=20.0), test=test)


_NUMBERS = (
    *(
        "alpha.rate",
        "parent",
        "confirms",
        "seed",
        "training_cost",
        "mac_sparsity",
        "parameter_sparsity",
        "macs",
        "accuracy_at_cut",
        "accuracy_drop",
    ),
    *("pruned_val_accuracy", "val_accuracy", "test_accuracy", "peak_memory_bytes", "mean_memory_bytes", "size_bytes"),
    *("batch1_speedup", "batch32_speedup", "batch256_speedup", "batch256_latency_ms"),
)
_TEXTS = ("kind", "control", "twin", "alpha.family", "lr.policy", "state", "measured_on")


def make_trials(*trials: dict[str, Any]) -> pd.DataFrame:
    """A frame of trials, numbered from 0, with just the columns that a test is about.

    Besides columns each gives `accuracy`, `cut` (of the MACs), and `repeats`, accuracies with the seeds 1, 2, … (of the
    test set as `test_repeats`), and `twins`, those of its twins by their budget. Repeats and twins come after all of
    them.
    """
    rows, repeats = [], []
    for number, trial in enumerate(trials):
        kind = "control" if trial.get("control") else "branch" if "parent" in trial else "searched"
        values = {"state": "complete", "kind": kind} | trial
        values.setdefault("alpha.family", "one_shot" if kind == "control" else "exponential")
        accuracies, tests, twins = values.pop("repeats", ()), values.pop("test_repeats", None), values.pop("twins", {})
        row = {"pruned_val_accuracy": values.pop("accuracy", math.nan), "mac_sparsity": values.pop("cut", 0.75)}
        row |= {"macs": 1000 * (1 - row["mac_sparsity"])} | values
        rows.append(row)
        followed = {"confirms": number, "test_accuracy": math.nan}
        for seed, accuracy in enumerate(accuracies, start=1):
            repeats.append({**row, **followed, "pruned_val_accuracy": accuracy, "kind": "repeat", "seed": seed})
            repeats[-1]["test_accuracy"] = tests[seed - 1] if tests else math.nan
        for budget, of_twins in twins.items():
            for seed, accuracy in enumerate(of_twins, start=1):
                twin = {"kind": "twin", "twin": budget, "alpha.family": "one_shot", "seed": seed}
                repeats.append({**row, **followed, **twin, "pruned_val_accuracy": accuracy})
    made = pd.DataFrame([*rows, *repeats]).reindex(columns=[*_NUMBERS, *_TEXTS]).rename_axis("number")
    return made.astype(dict.fromkeys(_NUMBERS, "float64") | dict.fromkeys(_TEXTS, "str"))

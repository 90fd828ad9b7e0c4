"""A table of trials that were drawn at random and run to their end, and a search space whose trials come from it.

    python benchmarks/trial_table.py EXPERIMENT ...

adds the complete trials of experiments to benchmarks/trials.parquet: one row for each, with what the space suggested,
what was cut and its curves. Trials that the space would no longer suggest are left out. The experiments must be on the
same data and have drawn their trials at random, with a seed of their own, and stopped none:

    alphaprune run cifar10-small --name NAME --trials 400 --data FOLDER --set search.seed=SEED \
        --set data.images=6000 --set data.validation_fraction=0.33334 \
        --set search.sampler=random --set search.early_stopping.enabled=false --set 'controls.kinds=[]' \
        --set 'space.options.amounts=[0.75,0.9]' --set results.measure=false --set results.report=false
"""

import argparse
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FixedTrial
from pyarrow import parquet
from sklearn.ensemble import ExtraTreesRegressor

from records.epoch import EpochRow
from records.experiment import ExperimentFolder
from search.sampling.suggestion import SpaceFunction, sample_distributions
from search.settings import Settings, as_settings_json, resolve_settings
from search.snapshot import Snapshot
from spaces.space import load_space

PATH = Path(__file__).with_name("trials.parquet")
# What of an epoch is kept; the rest takes a clock, or is the same in all epochs.
CURVES = (
    "alpha",
    "lr",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "pruned_val_accuracy",
    "training_cost",
)
SPARSITIES = ("channel_sparsity", "parameter_sparsity", "mac_sparsity")
TREES = 100


@dataclass(frozen=True, eq=False)
class RecordedTrial:
    """A complete trial of the table; experiment, number: where it comes from."""

    experiment: str
    number: int
    amount: float
    seed: int
    params: dict[str, Any]
    macs: int
    rows: tuple[EpochRow, ...]

    @property
    def accuracy(self) -> float:
        """Of the pruned network on the validation images, after the last epoch."""
        return self.rows[-1].pruned_val_accuracy

    @cached_property
    def cost(self) -> npt.NDArray[np.float64]:
        """What had been spent by the end of each epoch, in epochs of the dense network."""
        return np.cumsum([row.training_cost for row in self.rows])


@dataclass(frozen=True)
class TrialTable:
    """The recorded trials, and the settings that they were recorded with."""

    settings: Settings
    trials: tuple[RecordedTrial, ...]

    @classmethod
    def read_experiment(cls, folder: Path) -> Self:
        """The complete trials of an experiment that the space suggested."""
        experiment = ExperimentFolder(folder)
        settings = resolve_settings(experiment.read_record().settings)
        trials = [
            RecordedTrial(
                folder.name,
                trial.number,
                trial.config.pruning.amount,
                trial.config.seed,
                trial.record.params,
                trial.record.cut.macs,
                tuple(trial.rows),
            )
            for trial in Snapshot.read(experiment).trials
            if trial.record.kind == "searched" and trial.record.state == "complete" and trial.record.cut is not None
        ]
        return cls(settings, tuple(trials))

    def add_experiments(self, folders: Sequence[Path]) -> Self:
        """With the trials of these experiments, too, in the place of earlier ones with the same name and number.

        Raises:
            ValueError: if an experiment has other data, another recipe of the dense network or of the trials than the
                table, or has not drawn its trials at random, or may have stopped some.
        """
        trials = {(trial.experiment, trial.number): trial for trial in self.trials}
        for folder in folders:
            added = self.read_experiment(folder)
            for section, mine, its in (
                ("data", self.settings.data, replace(added.settings.data, source=self.settings.data.source)),
                ("dense", self.settings.dense, added.settings.dense),
                ("trial", self.settings.trial, added.settings.trial),
            ):
                if mine != its:
                    raise ValueError(f"{folder} must have the [{section}] of the table: {mine}, not {its}")
            search = added.settings.search
            if search.sampler != "random" or search.early_stopping.enabled:
                raise ValueError(f"{folder} must have drawn its trials at random, and have stopped none early")
            trials |= {(trial.experiment, trial.number): trial for trial in added.trials}
        return replace(self, trials=tuple(trials.values())).keep_suggested()

    def keep_suggested(self) -> Self:
        """The trials that the space could suggest."""
        space = self.create_space(self.amounts)
        return replace(self, trials=tuple(trial for trial in self.trials if _is_of(space, self.settings, trial)))

    @classmethod
    def read(cls, path: Path = PATH) -> Self:
        table = parquet.read_table(path)
        settings = resolve_settings(json.loads(table.schema.metadata[b"settings"]))
        return cls(settings, tuple(_read_trial(row) for row in table.to_pylist()))

    def write(self, path: Path = PATH) -> None:
        table = pa.Table.from_pylist([_as_row(trial) for trial in self.trials], _SCHEMA)
        # Without the path of the data, which is somebody's own.
        settings = replace(self.settings, data=replace(self.settings.data, source="cifar10"))
        metadata = {"settings": json.dumps(as_settings_json(settings))}
        parquet.write_table(table.replace_schema_metadata(metadata), path, compression="zstd")

    @property
    def amounts(self) -> list[float]:
        return sorted({trial.amount for trial in self.trials})

    def create_space(self, amounts: Sequence[float]) -> SpaceFunction:
        """The space that the trials were drawn from, with these amounts alone."""
        space = self.settings.space
        return load_space(space.function, {**space.options, "amounts": list(amounts)})


class Pool:
    """The recorded trials of one amount, each of which is handed out once.

    A suggestion gets the trial that is nearest to it of those left. How near two are is how many trees of a forest
    put them into the same leaf; the forest has learnt from all trials of the amount what their accuracies, and their
    costs, depend on, so parameters without influence do not count.
    """

    def __init__(self, trials: Iterable[RecordedTrial], distributions: Mapping[str, BaseDistribution]) -> None:
        self.trials = tuple(trials)
        self._distributions = distributions
        told = np.array([(trial.accuracy, trial.cost[-1]) for trial in self.trials])
        told = (told - told.mean(0)) / told.std(0)
        self._forest = ExtraTreesRegressor(TREES, min_samples_leaf=3, random_state=0)
        features = np.array([self._encode(trial.params) for trial in self.trials])
        self._leaves = self._forest.fit(features, told).apply(features)  # trials x trees

    @property
    def best(self) -> float:
        """The highest accuracy of all."""
        return max(trial.accuracy for trial in self.trials)

    def rank(self, params: Mapping[str, Any]) -> list[int]:
        """The positions of all trials, the nearest to `params` first."""
        same = (self._leaves == self._forest.apply(self._encode(params)[None])).sum(1)
        return [int(position) for position in np.argsort(-same, kind="stable")]

    def _encode(self, params: Mapping[str, Any]) -> npt.NDArray[np.float32]:
        """`params` as numbers: a number in its range from 0 to 1, each choice as 0 or 1; -1 if it was not suggested."""
        values: list[float] = []
        for name, distribution in self._distributions.items():
            value = params.get(name)
            if isinstance(distribution, CategoricalDistribution):
                values.extend(float(value == choice) for choice in distribution.choices)
            elif value is None:
                values.append(-1.0)
            else:
                low, high = distribution.low, distribution.high  # type: ignore[attr-defined]
                if distribution.log:  # type: ignore[attr-defined]
                    low, high, value = np.log((low, high, value))
                values.append((value - low) / (high - low))
        return np.array(values, np.float32)


def create_pools(table: TrialTable, amounts: Collection[float]) -> dict[float, Pool]:
    """The pool of each amount."""
    space = table.create_space(table.amounts)
    names = {name for trial in table.trials for name in trial.params}
    distributions = sample_distributions(space, table.settings.trial, names)
    distributions = {name: each for name, each in sorted(distributions.items()) if name != "pruning.amount"}
    return {
        amount: Pool((trial for trial in table.trials if trial.amount == amount), distributions) for amount in amounts
    }


def _is_of(space: SpaceFunction, settings: Settings, trial: RecordedTrial) -> bool:
    """Whether `space` could suggest the trial's parameters."""
    fixed = FixedTrial(trial.params)
    try:
        space(fixed, settings.trial)
    except ValueError:
        return False
    # FixedTrial only warns of numbers that are out of their range.
    return fixed.params == trial.params and all(
        distribution._contains(distribution.to_internal_repr(fixed.params[name]))
        for name, distribution in fixed.distributions.items()
    )


_SCHEMA = pa.schema(
    [
        ("experiment", pa.string()),
        ("number", pa.int32()),
        ("amount", pa.float64()),
        ("seed", pa.int64()),
        ("params", pa.string()),
        ("macs", pa.int64()),
        *((name, pa.float64()) for name in SPARSITIES),
        *((name, pa.list_(pa.float32())) for name in CURVES),
    ]
)


def _as_row(trial: RecordedTrial) -> dict[str, Any]:
    last = trial.rows[-1]
    return {
        "experiment": trial.experiment,
        "number": trial.number,
        "amount": trial.amount,
        "seed": trial.seed,
        "params": json.dumps(trial.params),
        "macs": trial.macs,
        **{name: getattr(last, name) for name in SPARSITIES},
        **{name: [getattr(row, name) for row in trial.rows] for name in CURVES},
    }


def _read_trial(row: Mapping[str, Any]) -> RecordedTrial:
    sparsities = {name: row[name] for name in SPARSITIES}
    rows = tuple(
        EpochRow(
            epoch=epoch,
            phase="alpha" if values[0] > 0 else "retrain",
            **dict(zip(CURVES, values, strict=True)),
            **sparsities,
        )
        for epoch, values in enumerate(zip(*(row[name] for name in CURVES), strict=True), start=1)
    )
    known = (row[name] for name in ("experiment", "number", "amount", "seed"))
    return RecordedTrial(*known, json.loads(row["params"]), row["macs"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", type=Path, nargs="+", help="their folders")
    table = TrialTable.read().add_experiments(parser.parse_args().experiments)
    table.write()
    print(f"{len(table.trials)} trials in {PATH.name}, {PATH.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()

"""An experiment as its records tell it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.columns import describe_columns
from analysis.objectives import DEFAULT_OBJECTIVES
from analysis.rank import hypervolume, ranking
from analysis.rank.main_columns import show_main_columns, show_main_values
from analysis.tables.measurements import read_measurement
from analysis.tables.problems import Problems
from analysis.text import format_count
from analysis.trial import ExperimentTrial
from records.dense import DenseRecord
from records.experiment import ExperimentFolder, ExperimentRecord
from records.measurement import Measurement
from records.trial import TrialFolder, TrialRecord

if TYPE_CHECKING:
    import optuna


def summary(name: str, states: "pd.Series[str]", problems: Sequence[str]) -> str:
    """What an experiment or several are, on one line: the name, the trials by state, how many problems."""
    counts = ", ".join(f"{count:,} {state}" for state, count in sorted(states.value_counts().items()))
    trials, trouble = format_count(len(states), "trial"), format_count(len(problems), "problem")
    return f"<{name}: {trials}{f' ({counts})' if counts else ''}, {trouble}>"


class RankedTrials:
    """What one experiment's trials and those of several can be asked for."""

    trials: pd.DataFrame

    def _number_trials(self) -> pd.DataFrame:
        """The frame to be ranked, indexed by one number a trial."""
        return self.trials

    def _restore_index(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rows of it with the index of `trials` again."""
        return rows

    @property
    def controls(self) -> pd.DataFrame:
        """The rows of `trials` that are controls; their repeats with other seeds are none."""
        return self.trials[self.trials["kind"] == "control"]

    def rank(
        self,
        by: str | Sequence[str] | None = None,
        where: str | None = None,
        top: int | None = None,
        weights: Mapping[str, float] | None = None,
        columns: str | Sequence[str] = "main",
    ) -> pd.DataFrame:
        """The complete trials, controls included, best first; a trial and its repeats are one row.

            experiment.rank(by=["-pruned_val_accuracy", "macs"], where="mac_sparsity >= 0.75", top=5)

        Args:
            by: columns, each deciding where those before it are equal; a leading - or + puts high or low values first
                (by default what is better). None: by front, inside a front by accuracy.
            where: a condition on the columns; only what fits is ranked and can be on the front.
            top: how many of the best to keep.
            weights: instead of `by`, column -> weight of a weighted sum of the columns, each scaled to [0, 1].
            columns: `main`: the frame has all columns and shows those that matter; `all`: it shows all; or a list of
                those to keep.

        All that is to be known about the order: analysis.rank.ranking.rank.

        Raises:
            ValueError: in one line, for a column that does not exist or has no order, and an invalid condition.
        """
        ranked = self._restore_index(ranking.rank(self._number_trials(), by, where, top, weights))
        keys = [by] if isinstance(by, str) else [*(by or ()), *(weights or ())]
        return show_main_columns(ranked, columns, [ranking.split_direction(key)[0] for key in keys])

    def pareto(self, objectives: Sequence[str] = DEFAULT_OBJECTIVES, where: str | None = None) -> pd.DataFrame:
        """The complete trials that no other beats in all `objectives`: see analysis.rank.ranking.pareto."""
        return self._restore_index(ranking.pareto(self._number_trials(), objectives, where))

    def best(
        self, by: str | Sequence[str] | None = None, where: str | None = None, columns: str | Sequence[str] = "main"
    ) -> "pd.Series[Any]":
        """The first trial of a ranking, its name being its place in the index; arguments as in `rank`.

        The best of many single runs looks better than it is; where="seeds >= 2" keeps confirmed trials only.

        Raises:
            ValueError: in one line, as `rank` does, and where no complete trial fits, or none that does has a known
                value in the first column.
        """
        best = ranking.best(self._number_trials(), by, where)
        return show_main_values(self._restore_index(best.to_frame().T).iloc[0], columns)

    def hypervolume(
        self, objectives: Sequence[str] = hypervolume.FRACTION_OBJECTIVES, reference: Sequence[float] | None = None
    ) -> float:
        """What the complete trials dominate together: see analysis.rank.hypervolume.hypervolume."""
        return hypervolume.hypervolume(self._number_trials(), objectives, reference)


@dataclass(frozen=True, eq=False, repr=False)
class Experiment(RankedTrials):
    """What `analysis.load` read. Equal to nothing but itself.

    record: experiment.json. dense: dense/dense.json, None before it is trained and where it is damaged. dense_measure:
    how fast, large and accurate the dense network is, by the names of the trials' columns (tables.measurements); {}
    where nothing was measured. trials: one row per trial, controls and repeats included (columns: tables.trials).
    problems: what could not be read or does not fit together, a line each that begins with the file's name.
    """

    path: Path
    record: ExperimentRecord
    dense: DenseRecord | None
    dense_measure: dict[str, Any]
    trials: pd.DataFrame
    problems: list[str]
    _read_epochs: Callable[[], pd.DataFrame]
    _records: dict[int, TrialRecord] = field(default_factory=dict)
    _measurements: dict[int, Measurement | None] = field(default_factory=dict)

    def __repr__(self) -> str:
        return summary(f"Experiment {self.name!r}", self.trials["state"], self.problems)

    def _repr_html_(self) -> str:
        from analysis.notebook import experiment_html

        return experiment_html(self)

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def settings(self) -> dict[str, Any]:
        """The resolved settings, as experiment.json holds them."""
        return self.record.settings

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """One row per epoch, indexed by the trial's number (columns: tables.epochs), as when `trials` was read."""
        return self._read_epochs()

    def __getstate__(self) -> dict[str, Any]:
        """With the epochs themselves, since what reads them may not be pickled."""
        return self.__dict__ | {"epochs": self.epochs, "_read_epochs": self.epochs.copy}

    @cached_property
    def ranked(self) -> pd.DataFrame:
        """`rank(columns="all")`, computed once; not to be changed."""
        return self.rank(columns="all")

    @property
    def columns(self) -> pd.DataFrame:
        """What the columns of `trials`, `epochs` and rankings are: see analysis.columns.describe_columns."""
        return describe_columns({"trials": self.trials, "epochs": self.epochs, "ranking": self.ranked})

    def trial(self, number: int) -> ExperimentTrial:
        """The trial `number`; raises ValueError, in one line, where there is none."""
        if number not in self.trials.index:
            there = f"{self.trials.index.min()} to {self.trials.index.max()}" if len(self.trials) else "none yet"
            raise ValueError(f"there is no trial {number!r} in {self.name!r} ({there})")
        return ExperimentTrial(self, int(number))

    def trial_record(self, number: int) -> TrialRecord:
        """A trial's record, read when it is first asked for unless it was read before.

        Raises:
            ValueError: in one line, where it is not there, or has been damaged or lost since `trials` was read.
        """
        if number not in self._records:
            self._records[number] = self._folder(number).read_record()
        return self._records[number]

    def measurement(self, number: int) -> Measurement | None:
        """What was measured of a trial, as `trial_record`; None where nothing was or the file is damaged."""
        if number not in self._measurements:
            self._measurements[number] = read_measurement(self._folder(number), Problems())
        return self._measurements[number]

    @cached_property
    def searched_study(self) -> "optuna.Study":
        """`study()`, computed once; not to be changed.

        Raises:
            ValueError: as `study`.
        """
        return self.study()

    def study(self) -> "optuna.Study":
        """What the search asked for, as an Optuna study in memory: see analysis.optuna_study.study_of."""
        from analysis.optuna_study import study_of

        return study_of(self)

    def _folder(self, number: int) -> TrialFolder:
        return ExperimentFolder(self.path).trial_folder(number)

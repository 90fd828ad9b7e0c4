"""An experiment as its records tell it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.rank import hypervolume, ranking

if TYPE_CHECKING:
    import optuna


class Once:
    """A frame that is made when it is first asked for."""

    def __init__(self, make: Callable[[], pd.DataFrame]) -> None:
        self._make: Callable[[], pd.DataFrame] | None = make
        self._frame = pd.DataFrame()

    def get(self) -> pd.DataFrame:
        if self._make is not None:
            self._frame, self._make = self._make(), None
        return self._frame

    def __reduce__(self) -> tuple[Callable[..., "Once"], tuple[pd.DataFrame]]:
        return _made, (self.get(),)


def _made(frame: pd.DataFrame) -> Once:
    return Once(lambda: frame)


def summary(name: str, states: "pd.Series[str]", problems: Sequence[str]) -> str:
    """What an experiment or several are, on one line: the name, the trials by state, how many problems."""
    counts = ", ".join(f"{count:,} {state}" for state, count in sorted(states.value_counts().items()))
    trials, trouble = (
        f"{len(things):,} {thing}{'' if len(things) == 1 else 's'}"
        for things, thing in ((states, "trial"), (problems, "problem"))
    )
    return f"<{name}: {trials}{f' ({counts})' if counts else ''}, {trouble}>"


@dataclass(frozen=True, eq=False, repr=False)
class Experiment:
    """What `analysis.load` read. Equal to nothing but itself.

    record: experiment.json. dense: dense/dense.json, None as long as there is none. dense_measure: how fast, large and
    accurate the dense network is, by the names of the trials' columns (tables.measurements); {} where nothing was
    measured. trials: a row a trial, controls and repeats included (columns: tables.trials). problems: what could not
    be read or does not fit together, a line each that begins with the file's name.
    """

    path: Path
    record: dict[str, Any]
    dense: dict[str, Any] | None
    dense_measure: dict[str, Any]
    trials: pd.DataFrame
    problems: list[str]
    _epochs: Once

    def __repr__(self) -> str:
        return summary(f"Experiment {self.name!r}", self.trials["state"], self.problems)

    @property
    def name(self) -> str:
        return str(self.record["name"])

    @property
    def settings(self) -> dict[str, Any]:
        """The resolved settings, as experiment.json holds them."""
        settings: dict[str, Any] = self.record["settings"]
        return settings

    @property
    def epochs(self) -> pd.DataFrame:
        """A row an epoch, in the order of the trials (columns: tables.epochs), as it was when `trials` was read."""
        return self._epochs.get()

    @property
    def controls(self) -> pd.DataFrame:
        """The rows of `trials` that are controls; their repeats with other seeds are none."""
        return self.trials[self.trials["control"].notna() & self.trials["confirms"].isna()]

    def rank(
        self,
        by: str | Sequence[str] | None = None,
        where: str | None = None,
        top: int | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> pd.DataFrame:
        """The complete trials, controls included, best first: see analysis.rank.ranking.rank."""
        return ranking.rank(self.trials, by, where, top, weights)

    def pareto(self, objectives: Sequence[str] = ranking.OBJECTIVES, where: str | None = None) -> pd.DataFrame:
        """The complete trials that no other beats in all `objectives`: see analysis.rank.ranking.pareto."""
        return ranking.pareto(self.trials, objectives, where)

    def best(self, by: str | Sequence[str] | None = None, where: str | None = None) -> "pd.Series[Any]":
        """The first trial of a ranking: see analysis.rank.ranking.best."""
        return ranking.best(self.trials, by, where)

    def hypervolume(
        self, objectives: Sequence[str] = hypervolume.OBJECTIVES, reference: Sequence[float] | None = None
    ) -> float:
        """What the complete trials dominate: see analysis.rank.hypervolume.hypervolume."""
        return hypervolume.hypervolume(self.trials, objectives, reference)

    def study(self) -> "optuna.Study":
        """What the search asked for, as an Optuna study in memory: see analysis.optuna_study.study_of."""
        from analysis.optuna_study import study_of

        return study_of(self)

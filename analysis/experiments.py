"""Several experiments as one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from analysis.experiment import Experiment, summary
from analysis.rank import hypervolume, ranking
from analysis.text import printable


@dataclass(frozen=True, eq=False, repr=False)
class Experiments:
    """What `analysis.load` read of several folders. Equal to nothing but itself.

    by_name: each, by its name, or by its path if two share a name.
    """

    by_name: dict[str, Experiment]

    @classmethod
    def of(cls, experiments: Sequence[Experiment]) -> "Experiments":
        """Raises ValueError, in one line, for none and for one that is given twice."""
        if not experiments:
            raise ValueError("at least one folder with an experiment must be given")
        paths = [str(experiment.path) for experiment in experiments]
        places = [experiment.path.resolve() for experiment in experiments]
        for path, place in zip(paths, places, strict=True):
            if places.count(place) > 1:
                raise ValueError(f"{path!r} is given twice")
        names = [experiment.name for experiment in experiments]
        labels = names if len(set(names)) == len(names) else paths
        return cls(dict(zip(labels, experiments, strict=True)))

    def __repr__(self) -> str:
        return summary(f"Experiments {', '.join(map(repr, self.by_name))}", self.trials["state"], self.problems)

    @cached_property
    def trials(self) -> pd.DataFrame:
        """The trials of all, indexed by (experiment, number); columns as in tables.trials."""
        return pd.concat({name: each.trials for name, each in self.by_name.items()}, names=["experiment"])

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """The rows of all; `experiment` stands before the columns of tables.epochs."""
        frames = [each.epochs.assign(experiment=name) for name, each in self.by_name.items()]
        joined = pd.concat(frames, ignore_index=True)
        return joined[["experiment", *joined.columns.drop("experiment")]]

    @property
    def controls(self) -> pd.DataFrame:
        """The rows of `trials` that are controls; their repeats with other seeds are none."""
        return self.trials[self.trials["control"].notna() & self.trials["confirms"].isna()]

    @property
    def problems(self) -> list[str]:
        """Those of each, a line each that begins with its name."""
        return [f"{printable(name)}: {line}" for name, each in self.by_name.items() for line in each.problems]

    def rank(
        self,
        by: str | Sequence[str] | None = None,
        where: str | None = None,
        top: int | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> pd.DataFrame:
        """The complete trials of all, best first: see analysis.rank.ranking.rank. `experiment` is a column like any."""
        return self._indexed(ranking.rank(self._numbered, by, where, top, weights))

    def pareto(self, objectives: Sequence[str] = ranking.OBJECTIVES, where: str | None = None) -> pd.DataFrame:
        """The complete trials that no other of any beats in all `objectives`: see analysis.rank.ranking.pareto."""
        return self._indexed(ranking.pareto(self._numbered, objectives, where))

    def best(self, by: str | Sequence[str] | None = None, where: str | None = None) -> "pd.Series[Any]":
        """The first trial of a ranking, its name being (experiment, number): see analysis.rank.ranking.best."""
        found = ranking.best(self._numbered, by, where)
        return found.drop(["experiment", "number"]).rename((found["experiment"], found["number"]))

    def hypervolume(
        self, objectives: Sequence[str] = hypervolume.OBJECTIVES, reference: Sequence[float] | None = None
    ) -> float:
        """What the complete trials of all dominate together: see analysis.rank.hypervolume.hypervolume."""
        return hypervolume.hypervolume(self._numbered, objectives, reference)

    @property
    def _numbered(self) -> pd.DataFrame:
        """The trials numbered through, `confirms` included, with `experiment` and `number` as columns.

        A number says which trial it is only inside its experiment; ranking takes it for all.
        """
        trials = self.trials.reset_index()
        places = pd.Series(trials.index, pd.MultiIndex.from_frame(trials[["experiment", "number"]]))
        repeats = trials["confirms"].notna()
        of = pd.MultiIndex.from_frame(trials.loc[repeats, ["experiment", "confirms"]])
        trials["confirms"] = trials["confirms"].mask(repeats)
        # A repeat of a trial that is not there stays a repeat.
        trials.loc[repeats, "confirms"] = places.reindex(of).fillna(-1).to_numpy()
        return trials.rename_axis("row")

    @staticmethod
    def _indexed(found: pd.DataFrame) -> pd.DataFrame:
        return found.set_index(["experiment", "number"])

"""Several experiments as one."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from analysis.experiment import Experiment, RankedTrials, summary
from analysis.text import printable


@dataclass(frozen=True, eq=False, repr=False)
class Experiments(RankedTrials):
    """What `analysis.load` read of several folders. Equal to nothing but itself.

    by_name: each, by its name, or by its path if two share a name. trials: those of all, indexed by (experiment,
    number); columns as in tables.trials.
    """

    by_name: dict[str, Experiment]
    trials: pd.DataFrame

    @classmethod
    def of(cls, experiments: Sequence[Experiment]) -> "Experiments":
        """Raises ValueError, in one line, for none and for one that is given twice."""
        if not experiments:
            raise ValueError("at least one folder with an experiment must be given")
        paths = [str(experiment.path) for experiment in experiments]
        places = [experiment.path.resolve() for experiment in experiments]
        if twice := [path for path, place in zip(paths, places, strict=True) if places.count(place) > 1]:
            raise ValueError(f"{twice[0]!r} is given twice")
        names = [experiment.name for experiment in experiments]
        labels = names if len(set(names)) == len(names) else paths
        trials = pd.concat([experiment.trials for experiment in experiments], keys=labels, names=["experiment"])
        return cls(dict(zip(labels, experiments, strict=True)), trials)

    def __repr__(self) -> str:
        return summary(f"Experiments {', '.join(map(repr, self.by_name))}", self.trials["state"], self.problems)

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """The rows of all, indexed by (experiment, number); columns as in tables.epochs."""
        return pd.concat({name: each.epochs for name, each in self.by_name.items()}, names=["experiment"])

    @property
    def problems(self) -> list[str]:
        """Those of each, a line each that begins with its name."""
        return [f"{printable(name)}: {line}" for name, each in self.by_name.items() for line in each.problems]

    def _number_trials(self) -> pd.DataFrame:
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

    def _restore_index(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows.set_index(["experiment", "number"])

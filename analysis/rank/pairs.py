"""What fading itself does: a trial's repeats against its twins, which are the same without a fade, seed by seed."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from analysis.columns import PAIR_COLUMNS
from analysis.rank.intervals import Outcome, judge_difference, mean_margin
from records.trial import BUDGETS, Budget


@dataclass(frozen=True)
class TwinComparison:
    """The trial `number` against its twins of one budget, over the seeds with which both are complete.

    on: the images that all accuracies are from: the test images where both of each pair have been tested. pairs: how
    many. accuracy, cost: means over the repeats; twin_accuracy, twin_cost: over the twins. Costs are training_cost, NaN
    where it is not known. difference: the mean of repeat less twin. margin: half the width of its 95% interval
    (Student's t over the differences), NaN where it cannot be told (mean_margin).
    """

    number: int
    budget: Budget
    on: Literal["test", "validation"]
    pairs: int
    accuracy: float
    twin_accuracy: float
    cost: float
    twin_cost: float
    difference: float
    margin: float

    @property
    def outcome(self) -> Outcome:
        """What the trial is: better or worse than its twins, or neither."""
        return judge_difference(self.difference, self.margin)


def compare_with_twins(trials: pd.DataFrame) -> list[TwinComparison]:
    """A comparison for each budget of each trial that has pairs, by number; equal compute comes before equal epochs.

    Args:
        trials: one row per trial, repeats and twins included (tables.trials).
    """
    if not {"twin", "seed"} <= set(trials.columns):
        return []
    complete = trials[(trials["state"] == "complete") & trials["pruned_val_accuracy"].notna() & trials["seed"].notna()]
    complete = complete[complete["confirms"] >= 0].drop_duplicates(["confirms", "twin", "seed"])  # -1: of a lost trial
    repeats, found = complete[complete["twin"].isna()], []
    for number in sorted(complete["confirms"].unique()):
        for budget in reversed(BUDGETS):
            twins = complete[complete["twin"].isin([budget, "both"]) & (complete["confirms"] == number)]
            twins = twins.drop_duplicates("seed")  # earlier versions may have left one of both budgets beside it
            ours = repeats[(repeats["confirms"] == number) & repeats["seed"].isin(twins["seed"])].sort_values("seed")
            theirs = twins[twins["seed"].isin(ours["seed"])].sort_values("seed")
            if len(ours):
                found.append(_compare_pairs(int(number), budget, ours, theirs))
    return found


def group_by_trial(comparisons: Iterable[TwinComparison]) -> dict[int, dict[Budget, TwinComparison]]:
    """The comparisons by trial and budget, in their order."""
    grouped: dict[int, dict[Budget, TwinComparison]] = {}
    for one in comparisons:
        grouped.setdefault(one.number, {})[one.budget] = one
    return grouped


def _compare_pairs(number: int, budget: Budget, repeats: pd.DataFrame, twins: pd.DataFrame) -> TwinComparison:
    """The comparison of as many repeats as twins, in the same order of seeds."""
    tested = all(side["test_accuracy"].notna().all() for side in (repeats, twins))
    name = "test_accuracy" if tested else "pruned_val_accuracy"
    ours, theirs = repeats[name].tolist(), twins[name].tolist()
    differences = [one - other for one, other in zip(ours, theirs, strict=True)]
    return TwinComparison(
        number,
        budget,
        on="test" if tested else "validation",
        pairs=len(differences),
        accuracy=statistics.mean(ours),
        twin_accuracy=statistics.mean(theirs),
        cost=float(repeats["training_cost"].mean(skipna=False)),
        twin_cost=float(twins["training_cost"].mean(skipna=False)),
        difference=statistics.mean(differences),
        margin=mean_margin(differences),
    )


def pair_columns(trials: pd.DataFrame, numbers: pd.Index) -> pd.DataFrame:
    """columns.PAIR_COLUMNS, a row for each of `numbers`.

    Args:
        trials: as in compare_with_twins.
        numbers: of trials.
    """
    rows: dict[int, dict[str, float]] = {}
    for one in compare_with_twins(trials):
        row = rows.setdefault(one.number, {"pairs": 0})
        row["pairs"] = max(row["pairs"], one.pairs)
        row |= {f"twin_{one.budget}_difference": one.difference, f"twin_{one.budget}_margin": one.margin}
    made = pd.DataFrame.from_dict(rows, orient="index", columns=list(PAIR_COLUMNS)).reindex(numbers)
    kinds = {name: "int64" if column.kind == "whole" else "float64" for name, column in PAIR_COLUMNS.items()}
    return made.fillna({"pairs": 0}).astype(kinds)

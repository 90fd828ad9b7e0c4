"""Trials with an alpha schedule against the controls that cut as much: how far apart, and whether that is noise."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from analysis.figures.described import numbers_in
from analysis.trials import number_of

# Cuts that differ by no more of the dense network's MACs count as the same.
WITHIN = 0.02

# The 97.5 % quantile of Student's t for 1, 2, ... degrees of freedom.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120)
_NORMAL = 1.960

Basis = Literal["seeds", "images", "unknown"]


@dataclass(frozen=True)
class Contender:
    """A trial in a comparison. kind: its family or, of a control, its control; None where the record does not say.

    accuracy: on what the comparison is on; std: its sample standard deviation over `seeds` repeats, NaN for fewer
    than two. cut: mac_sparsity.
    """

    number: int
    kind: str | None
    accuracy: float
    std: float
    seeds: int
    cut: float


@dataclass(frozen=True)
class Comparison:
    """The best trial with alpha and the best control of those that cut `cut` of the MACs or more.

    on: the images that both accuracies are from; both were chosen by validation accuracy. margin: half the width of
    the difference's 95 % interval, in accuracy, NaN where it is not known. basis: what that is from: the spread over
    seeds (Welch), or the number of images (binomial). images: how many there are, None if not known.
    """

    cut: float
    alpha: Contender
    control: Contender
    on: Literal["test", "validation"]
    images: int | None
    margin: float
    basis: Basis

    @property
    def difference(self) -> float:
        """Accuracy with alpha less the control's."""
        return self.alpha.accuracy - self.control.accuracy

    @property
    def outcome(self) -> Literal["better", "worse", "noise", "unknown"]:
        """What alpha is; noise where the 95 % interval of the difference holds 0."""
        if self.difference == 0:
            return "noise"
        if math.isnan(self.margin):
            return "unknown"
        if abs(self.difference) <= self.margin:
            return "noise"
        return "better" if self.difference > 0 else "worse"


def with_alpha(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials that have an alpha schedule, branches included: no controls and no repeats."""
    return trials[trials["control"].isna() & trials["confirms"].isna() & (trials["family"] != "one_shot")]


def comparisons(alphas: pd.DataFrame, controls: pd.DataFrame, data: Mapping[str, Any]) -> list[Comparison]:
    """A comparison for each amount that the controls cut, the least first.

    At each, the best of all trials with alpha that cut as much or more (within WITHIN) meets the best such control;
    where both sides have trials that were repeated over seeds, only those. There is none where every trial with alpha
    cuts more than the controls and none is better: what cuts more may be worse.

    Args:
        alphas, controls: rows of analysis.ranking.rank.
        data: of experiment.json, for how many images there are.
    """
    alphas, controls = _known(alphas), _known(controls)
    found = []
    for cut in levels(controls["mac_sparsity"].tolist()):
        ours = alphas[alphas["mac_sparsity"] >= cut - WITHIN]
        theirs = controls[controls["mac_sparsity"] >= cut]
        # What was repeated comes first: one lucky seed must not hide it.
        for those, others in ((ours[ours["seeds"] >= 2], theirs[theirs["seeds"] >= 2]), (ours, theirs)):
            if those.empty or others.empty:
                continue
            one = _compare(cut, those, others, data)
            if one.outcome == "better" or (those["mac_sparsity"] <= one.control.cut + WITHIN).any():
                found.append(one)
                break
    return found


def levels(cuts: list[float]) -> list[float]:
    """The amounts that were cut: the least of each group of cuts that count as the same."""
    levels: list[float] = []
    for cut in sorted(cuts):
        if not levels or cut > levels[-1] + WITHIN:
            levels.append(cut)
    return levels


def margin(ours: Contender, theirs: Contender, images: int | None) -> tuple[float, Basis]:
    """Half the width of the 95 % interval of the difference of two accuracies, and what it is from.

    Over seeds, where both were repeated with two or more: t * sqrt(s1^2 / n1 + s2^2 / n2), t being Student's of the
    Welch-Satterthwaite degrees of freedom. Else from the images, as of two independent samples:
    1.96 * sqrt(p1 (1 - p1) / n + p2 (1 - p2) / n); what differs from seed to seed is not in it.
    """
    spreads = [(one.std**2 / one.seeds, one.seeds) for one in (ours, theirs) if one.seeds >= 2 and one.std >= 0]
    variance = sum(spread for spread, _ in spreads)
    if len(spreads) == 2 and variance > 0:
        freedom = variance**2 / sum(spread**2 / (seeds - 1) for spread, seeds in spreads)
        return student(freedom) * math.sqrt(variance), "seeds"
    if images:
        variance = sum(max(0.0, one.accuracy * (1 - one.accuracy)) / images for one in (ours, theirs))
        return _NORMAL * math.sqrt(variance), "images"
    return math.nan, "unknown"


def student(freedom: float) -> float:
    """The 97.5 % quantile of Student's t, from a table: rounded up, so that noise is never called a difference."""
    # A sum of squares can round to just below the whole number that it is.
    return _T[min(max(1, math.floor(freedom + 1e-9)), len(_T)) - 1]


def _known(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["pruned_val_accuracy"].notna() & rows["mac_sparsity"].notna()]


def _compare(cut: float, ours: pd.DataFrame, theirs: pd.DataFrame, data: Mapping[str, Any]) -> Comparison:
    alpha, control = _best(ours), _best(theirs)
    both = pd.concat([alpha, control])
    tested = bool(numbers_in(both, "test_accuracy").notna().all())
    accuracy, std, images = (
        ("test_accuracy", "test_accuracy_std", "test_images")
        if tested
        else ("pruned_val_accuracy", "accuracy_std", "validation_images")
    )
    contenders = [_contender(row, name, accuracy, std) for row, name in ((alpha, "family"), (control, "control"))]
    count = number_of(data, images)
    known = int(count) if count >= 1 else None
    width, basis = margin(contenders[0], contenders[1], known)
    return Comparison(cut, contenders[0], contenders[1], "test" if tested else "validation", known, width, basis)


def _best(rows: pd.DataFrame) -> pd.DataFrame:
    """The row of the highest validation accuracy; of equals the one that cuts most."""
    return rows.sort_values(["pruned_val_accuracy", "mac_sparsity"], ascending=False, kind="stable").head(1)


def _contender(row: pd.DataFrame, kind: str, accuracy: str, std: str) -> Contender:
    number = int(row.index[0])
    name = row[kind].iloc[0]
    return Contender(
        number,
        name if isinstance(name, str) else None,
        float(row[accuracy].iloc[0]),
        float(numbers_in(row, std).iloc[0]),
        int(row["seeds"].iloc[0]),
        float(row["mac_sparsity"].iloc[0]),
    )

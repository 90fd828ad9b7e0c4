"""Trials with an alpha schedule against the controls that cut as much: how far apart, and whether that is noise."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Literal

import pandas as pd

from analysis.labels import numbers_in
from analysis.rank.ranking import rank
from records.experiment import DataRecord

# Cuts count as the same that differ by no more of the dense network's MACs, and by no more of those that are kept.
WITHIN = 0.02
WITHIN_KEPT = 0.1

# The 97.5 % quantile of Student's t for 1, 2, ... degrees of freedom.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120)
_NORMAL = 1.960

Basis = Literal["seeds", "images", "unknown"]


@dataclass(frozen=True)
class Contender:
    """A trial in a comparison. kind: its family or, of a control, its control; None where the record does not say.

    accuracy: on what the comparison is on; std: its sample standard deviation over `seeds` repeats that have one there,
    NaN for fewer than two. cut: mac_sparsity.
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
    seeds (Welch), or the number of images (binomial). images: how many there are, None if not known. candidates: how
    many trials with alpha the best was chosen from.
    """

    cut: float
    alpha: Contender
    control: Contender
    on: Literal["test", "validation"]
    images: int | None
    margin: float
    basis: Basis
    candidates: int = 1

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

    @property
    def tentative(self) -> bool:
        """Whether a difference says little: the best of several on the images that it was chosen by, in one run."""
        return self.candidates > 1 and self.on == "validation" and self.basis != "seeds"


def with_alpha(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials that have an alpha schedule, branches included: no controls and no repeats."""
    return trials[trials["control"].isna() & trials["confirms"].isna() & (trials["family"] != "one_shot")]


def candidates(trials: pd.DataFrame) -> int:
    """How many trials with alpha the best is chosen from: the complete ones, and those that the search stopped."""
    return int(with_alpha(trials)["state"].isin(["complete", "stopped"]).sum())


def comparisons(trials: pd.DataFrame, data: DataRecord) -> list[Comparison]:
    """A comparison for each amount that the controls cut, the least first.

    At each, the best of all trials with alpha that cut as much or more (within `tolerance`) meets the best such
    control; where both sides have trials that were repeated over seeds, only those. There is none where every trial
    with alpha cuts more than the controls and none is better: what cuts more may be worse.

    Args:
        trials: a row a trial, repeats included (tables.trials).
        data: of experiment.json, for how many images there are.
    """
    ranked = rank(trials)
    ranked = ranked[ranked["pruned_val_accuracy"].notna() & ranked["mac_sparsity"].notna()]
    alphas, controls = with_alpha(ranked), ranked[ranked["control"].notna()]
    chosen_from = candidates(trials)
    found = []
    for cut in levels(controls["mac_sparsity"]):
        ours = _that_cut(alphas, cut)
        theirs = controls[controls["mac_sparsity"] >= cut]
        # What was repeated comes first: one lucky seed must not hide it.
        for those, others in ((ours[ours["seeds"] >= 2], theirs[theirs["seeds"] >= 2]), (ours, theirs)):
            if those.empty or others.empty:
                continue
            one = _compare(cut, those, others, data, chosen_from)
            as_little = one.control.cut + tolerance(one.control.cut)
            if one.outcome == "better" or (those["mac_sparsity"] <= as_little).any():
                found.append(one)
                break
    return found


def compared_trials(trials: pd.DataFrame, data: DataRecord) -> list[int]:
    """The numbers of the trials and controls that `comparisons` rests on, sorted."""
    return sorted({each.number for one in comparisons(trials, data) for each in (one.alpha, one.control)})


def to_confirm(trials: pd.DataFrame, top: int | None = None) -> list[int]:
    """The numbers of the `top` complete trials that are worth repeating, besides the controls; the first matter most.

    For each amount that the controls cut, the least first, the best trial with alpha that cuts as much or more: what
    `comparisons` compares. Then the second best of each, and so on; then all others as they are ranked. Branches are
    left out.

    Args:
        trials: a row a trial, repeats included (tables.trials).
        top: at least 1; None for 3, or as many as there are amounts if those are more.
    """
    ranked = rank(trials)
    searched = ranked[ranked["control"].isna() & ranked["parent"].isna()]
    cuts = levels(ranked.loc[ranked["control"].notna(), "mac_sparsity"].dropna())
    alphas = _best_first(with_alpha(searched))
    turns = chain.from_iterable(zip_longest(*(_that_cut(alphas, cut).index for cut in cuts)))
    numbers = dict.fromkeys(int(number) for number in (*turns, *searched.index) if number is not None)
    return list(numbers)[: max(3, len(cuts)) if top is None else top]


def levels(cuts: Iterable[float]) -> list[float]:
    """The amounts that were cut: the least of each group of cuts that count as the same."""
    levels: list[float] = []
    for cut in sorted(cuts):
        if not levels or cut > levels[-1] + tolerance(levels[-1]):
            levels.append(cut)
    return levels


def tolerance(cut: float) -> float:
    """How far from `cut` another cut may be and count as the same: a little, also of what little is kept."""
    return min(WITHIN, WITHIN_KEPT * (1 - cut))


def margin(ours: Contender, theirs: Contender, images: int | None) -> tuple[float, Basis]:
    """Half the width of the 95 % interval of the difference of two accuracies, and what it is from.

    Over seeds, where both were repeated with two or more: t * sqrt(s1^2 / n1 + s2^2 / n2), t being Student's of the
    Welch-Satterthwaite degrees of freedom. Else from the images, as of two independent samples:
    1.96 * sqrt(p1 (1 - p1) / n + p2 (1 - p2) / n); what differs from seed to seed is not in it.
    """
    spreads = [(one.std**2 / one.seeds, one.seeds) for one in (ours, theirs) if one.seeds >= 2 and one.std >= 0]
    variance = sum(spread for spread, _ in spreads)
    if len(spreads) == 2 and variance > 0:
        # Of shares, since the square of a spread can be too small for a float.
        freedom = 1 / sum((spread / variance) ** 2 / (seeds - 1) for spread, seeds in spreads)
        return student(freedom) * math.sqrt(variance), "seeds"
    if images:
        variance = sum(max(0.0, one.accuracy * (1 - one.accuracy)) / images for one in (ours, theirs))
        return _NORMAL * math.sqrt(variance), "images"
    return math.nan, "unknown"


def student(freedom: float) -> float:
    """The 97.5 % quantile of Student's t, from a table: rounded up, so that noise is never called a difference."""
    # A sum of squares can round to just below the whole number that it is.
    return _T[min(max(1, math.floor(freedom + 1e-9)), len(_T)) - 1]


def _compare(cut: float, ours: pd.DataFrame, theirs: pd.DataFrame, data: DataRecord, chosen_from: int) -> Comparison:
    alpha, control = _best_first(ours).head(1), _best_first(theirs).head(1)
    both = pd.concat([alpha, control])
    tested = bool(numbers_in(both, "test_accuracy").notna().all())
    ours_of, theirs_of = (_contender(row, kind, tested) for row, kind in ((alpha, "family"), (control, "control")))
    count = data.test_images if tested else data.validation_images
    known = int(count) if count >= 1 else None
    width, basis = margin(ours_of, theirs_of, known)
    on: Literal["test", "validation"] = "test" if tested else "validation"
    return Comparison(cut, ours_of, theirs_of, on, known, width, basis, chosen_from)


def _that_cut(rows: pd.DataFrame, cut: float) -> pd.DataFrame:
    return rows[rows["mac_sparsity"] >= cut - tolerance(cut)]


def _best_first(rows: pd.DataFrame) -> pd.DataFrame:
    """By validation accuracy; of equals the one that cuts most comes first."""
    return rows.sort_values(["pruned_val_accuracy", "mac_sparsity"], ascending=False, kind="stable")


def _contender(row: pd.DataFrame, kind: str, tested: bool) -> Contender:
    accuracy, std, seeds = (
        ("test_accuracy", "test_accuracy_std", "test_seeds")
        if tested
        else ("pruned_val_accuracy", "accuracy_std", "seeds")
    )
    name = row[kind].iloc[0]
    return Contender(
        int(row.index[0]),
        name if isinstance(name, str) else None,
        float(row[accuracy].iloc[0]),
        float(row[std].iloc[0]),
        int(row[seeds].iloc[0]),
        float(row["mac_sparsity"].iloc[0]),
    )

"""Trials with an alpha schedule against the controls that cut as much: how far apart, and whether that is noise."""

import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Literal

import pandas as pd

from analysis.columns import iterate_rows
from analysis.labels import label_row, select_kinds
from analysis.rank.intervals import LEAST_SPREAD, Outcome, judge_difference, student_quantile
from analysis.rank.ranking import rank, sort_best_first
from records.experiment import DataRecord

# Cuts count as the same that differ by no more of the dense network's MACs, and by no more of those that are kept.
WITHIN = 0.02
WITHIN_KEPT = 0.1
# The 97.5% quantile of the normal distribution.
_NORMAL = 1.960

Basis = Literal["seeds", "images", "unknown"]


@dataclass(frozen=True)
class Contender:
    """A trial in a comparison, by its number and label.

    accuracy: on what the comparison is on; std: its sample standard deviation over `seeds` repeats that have one there,
    NaN for fewer than two. cut: mac_sparsity.
    """

    number: int
    label: str
    accuracy: float
    std: float
    seeds: int
    cut: float


@dataclass(frozen=True)
class Comparison:
    """The best trial with alpha and the best control of those that cut `cut` of the MACs or more.

    on: the images that both accuracies are from; both were chosen by validation accuracy. margin: half the width of
    the difference's 95% interval, in accuracy, NaN where it is not known. basis: what that is from: the spread over
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
    def outcome(self) -> Outcome:
        """What alpha is."""
        return judge_difference(self.difference, self.margin)

    @property
    def cuts_more(self) -> bool:
        """Whether the trial with alpha clearly cuts more of the MACs than the control."""
        return self.alpha.cut > self.control.cut + cut_tolerance(self.control.cut)

    @property
    def tentative(self) -> bool:
        """Whether a difference says little: the best of several on the images that it was chosen by, in one run."""
        return self.candidates > 1 and self.on == "validation" and self.basis != "seeds"


def with_alpha(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials that have an alpha schedule, branches included: no controls and no repeats."""
    trials = select_kinds(trials, "searched", "branch")
    return trials[trials["alpha.family"] != "one_shot"]


def count_candidates(trials: pd.DataFrame) -> int:
    """How many trials with alpha the best is chosen from: the complete ones, and those that the search stopped."""
    return int(with_alpha(trials)["state"].isin(["complete", "stopped"]).sum())


def compare_with_controls(trials: pd.DataFrame, ranked: pd.DataFrame, data: DataRecord) -> list[Comparison]:
    """A comparison for each amount that the controls cut, the least first.

    At each, the best of all trials with alpha that cut as much or more (within `cut_tolerance`) meets the best such
    control; where both sides have trials that were repeated over seeds, only those. There is none where every trial
    with alpha cuts more than the controls and none is better: what cuts more may be worse.

    Args:
        trials: one row per trial, repeats included (tables.trials).
        ranked: the ranking of `trials`.
        data: of experiment.json, for how many images there are.
    """
    known = ranked[ranked["pruned_val_accuracy"].notna() & ranked["mac_sparsity"].notna()]
    alphas, controls = with_alpha(known), select_kinds(known, "control")
    chosen_from = count_candidates(trials)
    found = []
    for cut in cut_levels(controls["mac_sparsity"]):
        ours = rows_cutting(alphas, cut)
        theirs = controls[controls["mac_sparsity"] >= cut]
        # What was repeated comes first: one lucky seed must not hide it.
        for those, others in ((ours[ours["seeds"] >= 2], theirs[theirs["seeds"] >= 2]), (ours, theirs)):
            if those.empty or others.empty:
                continue
            one = _compare_best(cut, those, others, data, chosen_from)
            as_little = one.control.cut + cut_tolerance(one.control.cut)
            if one.outcome == "better" or (those["mac_sparsity"] <= as_little).any():
                found.append(one)
                break
    return found


def compared_trials(trials: pd.DataFrame, data: DataRecord) -> list[int]:
    """The numbers of the trials and controls that `compare_with_controls` rests on, sorted."""
    compared = compare_with_controls(trials, rank(trials), data)
    return sorted({each.number for one in compared for each in (one.alpha, one.control)})


def to_confirm(trials: pd.DataFrame, top: int | None = None) -> list[int]:
    """The numbers of the `top` complete trials that are worth repeating, besides the controls; the first matter most.

    For each amount that the controls cut, the least first, the best trial with alpha that cuts as much or more:
    what `compare_with_controls` compares. Then the second best of each, and so on; then all others as they are ranked.
    Branches are left out. Trials are judged by their own runs, not by repeats, so that confirming again continues
    with the same trials.

    Args:
        trials: one row per trial (tables.trials).
        top: at least 1; None for 3, or as many as there are amounts if those are more.
    """
    ranked = rank(trials[trials["confirms"].isna()])
    searched = select_kinds(ranked, "searched")
    cuts = cut_levels(select_kinds(ranked, "control")["mac_sparsity"].dropna())
    alphas = sort_best_first(with_alpha(searched))
    turns = chain.from_iterable(zip_longest(*(rows_cutting(alphas, cut).index for cut in cuts)))
    numbers = dict.fromkeys(int(number) for number in (*turns, *searched.index) if number is not None)
    return list(numbers)[: max(3, len(cuts)) if top is None else top]


def cut_levels(cuts: Iterable[float]) -> list[float]:
    """The amounts that were cut: the least of each group of cuts that count as the same."""
    levels: list[float] = []
    for cut in sorted(cuts):
        if not levels or cut > levels[-1] + cut_tolerance(levels[-1]):
            levels.append(cut)
    return levels


def group_by_cut(cuts: "pd.Series[float]") -> list[list[int]]:
    """The trials that cut the same amount, the least first; each group by cut, then by number.

    Args:
        cuts: mac_sparsity by number, all known.
    """
    levels, groups = cut_levels(cuts), dict[int, list[int]]()
    for cut, number in sorted(zip(cuts.tolist(), cuts.index.tolist(), strict=True)):
        groups.setdefault(bisect_right(levels, cut), []).append(number)
    return list(groups.values())


def cut_tolerance(cut: float) -> float:
    """How far another cut may be from `cut` and count as the same: little, also relative to what is kept."""
    return min(WITHIN, WITHIN_KEPT * (1 - cut))


def difference_margin(ours: Contender, theirs: Contender, images: int | None) -> tuple[float, Basis]:
    """Half the width of the 95% interval of the difference of two accuracies, and what it is from.

    Over seeds, where both were repeated with two or more, and these are not all alike: t * sqrt(s1^2 / n1 + s2^2 / n2),
    t being Student's of the Welch-Satterthwaite degrees of freedom. Otherwise from the images, as of two independent
    samples: 1.96 * sqrt(p1 (1 - p1) / n + p2 (1 - p2) / n); it leaves out what varies from seed to seed.
    """
    spreads = [(one.std**2 / one.seeds, one.seeds) for one in (ours, theirs) if one.seeds >= 2 and one.std >= 0]
    variance = sum(spread for spread, _ in spreads)
    if len(spreads) == 2 and variance > LEAST_SPREAD**2:
        freedom = variance**2 / sum(spread**2 / (seeds - 1) for spread, seeds in spreads)
        return student_quantile(freedom) * math.sqrt(variance), "seeds"
    if images:
        variance = sum(max(0.0, one.accuracy * (1 - one.accuracy)) / images for one in (ours, theirs))
        return _NORMAL * math.sqrt(variance), "images"
    return math.nan, "unknown"


def _compare_best(
    cut: float, ours: pd.DataFrame, theirs: pd.DataFrame, data: DataRecord, chosen_from: int
) -> Comparison:
    best = [next(iterate_rows(sort_best_first(side))) for side in (ours, theirs)]
    tested = all(pd.notna(row["test_accuracy"]) for _, row in best)
    names = ["test_accuracy", "test_accuracy_std", "test_seeds"]
    names = names if tested else ["pruned_val_accuracy", "accuracy_std", "seeds"]
    alpha, control = (
        Contender(number, label_row(number, row).text, *(row[name] for name in (*names, "mac_sparsity")))
        for number, row in best
    )
    images = (data.test_images if tested else data.validation_images) or None
    margin, basis = difference_margin(alpha, control, images)
    return Comparison(cut, alpha, control, "test" if tested else "validation", images, margin, basis, chosen_from)


def rows_cutting(rows: pd.DataFrame, cut: float) -> pd.DataFrame:
    """The rows that cut as much as `cut` of the MACs or more."""
    return rows[rows["mac_sparsity"] >= cut - cut_tolerance(cut)]

"""What fading itself does, in sentences: the pairs of a trial's repeats and its twins, at each amount cut."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.labels import label_trial, select_kinds
from analysis.rank.comparison import cut_levels, cut_tolerance, group_by_cut
from analysis.rank.intervals import Outcome
from analysis.rank.pairs import TwinComparison, compare_with_twins, group_by_trial
from analysis.rank.ranking import sort_best_first
from analysis.text import format_count, format_percent, format_points, format_share, join_words
from records.trial import BUDGETS, Budget

# The order in which outcomes are told, and what each says, with the cuts after it.
_CLAUSES: dict[Outcome, str] = {
    "worse": "fading costs accuracy",
    "better": "fading gains accuracy",
    "noise": "the difference is within noise",
    "unknown": "the pairs are too few to tell a gain from noise",
}


@dataclass(frozen=True)
class FadeFinding:
    """What fading does to the accuracy of one trial. cut: of its MACs. by_budget: at equal compute first."""

    number: int
    label: str
    cut: float
    by_budget: Mapping[Budget, TwinComparison]


def find_fades(trials: pd.DataFrame, ranked: pd.DataFrame) -> list[FadeFinding]:
    """A finding for each amount that trials with twins cut, the least first.

    Of several trials that cut the same, it is that of the best by its own run, which is not among the pairs: the best
    by the pairs' repeats would look better than it is.

    Args:
        trials: one row per trial, repeats and twins included. ranked: their ranking.
    """
    of_trial = group_by_trial(compare_with_twins(trials))
    cuts = ranked["mac_sparsity"].reindex(list(of_trial)).dropna()
    findings = []
    for numbers in group_by_cut(cuts):
        own = trials.loc[numbers]
        number = int(sort_best_first(own).index[0] if own["pruned_val_accuracy"].notna().any() else own.index[0])
        findings.append(FadeFinding(number, label_trial(trials, number).text, cuts[number], of_trial[number]))
    return findings


def write_fade_verdict(findings: Sequence[FadeFinding]) -> tuple[str, tuple[str, ...]]:
    """A headline, and the evidence in a sentence for each finding.

    Args:
        findings: at least one.
    """
    if len(findings) == 1:
        return _write_finding(findings[0]), (_write_evidence(findings[0]),)
    headline = " ".join(filter(None, (_summarise_budget(findings, budget) for budget in reversed(BUDGETS))))
    return headline, tuple(f"{_write_finding(one)} {_write_evidence(one)}" for one in findings)


def _summarise_budget(findings: Sequence[FadeFinding], budget: Budget) -> str:
    """What fading does at an equal budget, in a sentence; nothing where there are no pairs of it."""
    cuts: dict[Outcome, list[str]] = {}
    for one in findings:
        if budget in one.by_budget:
            cuts.setdefault(one.by_budget[budget].outcome, []).append(format_share(one.cut))
    if list(cuts) == ["noise"] and len(cuts["noise"]) == len(findings):
        level = "a trial and the same without a fade are level at every cut compared: the differences are within noise"
        return f"At equal {budget}, {level}."
    clauses = [f"{clause} at {join_words(cuts[of])} fewer MACs" for of, clause in _CLAUSES.items() if of in cuts]
    return f"At equal {budget}, {'; '.join(clauses)}." if clauses else ""


def _write_finding(finding: FadeFinding) -> str:
    """What fading does at an amount cut, in a sentence."""
    budgets = [budget for budget in reversed(BUDGETS) if budget in finding.by_budget]
    first, *others = (finding.by_budget[budget] for budget in budgets)
    than = "over" if first.difference >= 0 else "to"
    text = (
        f"At {format_share(finding.cut)} fewer MACs, fading {_write_size(first)} {than} the same trial without a fade"
    )
    text += f" at equal {first.budget} ({format_count(first.pairs, 'seed')}){_write_noise(first)}"
    for other in others:
        text += f"; at equal {other.budget} it {_write_size(other)}{_write_noise(other)}"
    return f"{text}."


def describe_fade(comparison: TwinComparison) -> str:
    """What fading does at an equal budget, as a clause: `fading gains 0.4 ± 0.9 points at equal compute: …`."""
    return f"fading {_write_size(comparison)} at equal {comparison.budget}{_write_noise(comparison)}"


def _write_size(one: TwinComparison) -> str:
    digits = 2 if one.margin < 0.001 else 1
    margin = "" if math.isnan(one.margin) else f" ± {format_points(one.margin, digits)}"
    return f"{'gains' if one.difference >= 0 else 'loses'} {format_points(one.difference, digits)}{margin} points"


def _write_noise(one: TwinComparison) -> str:
    pairs = "one pair" if one.pairs == 1 else "pairs that all differ by as much"
    unknown = f": with {pairs}, how much of it is noise is unknown"
    return {"noise": ": within noise", "unknown": unknown}.get(one.outcome, "")


def _write_evidence(finding: FadeFinding) -> str:
    """The accuracies behind a finding: `Trial 35 cosine: test accuracy 88.4% with the fade, without it 88.0% at …`."""
    without: dict[str, list[str]] = {}
    for budget in reversed(BUDGETS):
        if one := finding.by_budget.get(budget):
            faded = f"{one.on} accuracy {format_percent(one.accuracy)} with the fade"
            without.setdefault(faded, []).append(f"{format_percent(one.twin_accuracy)} at equal {budget}")
    return (
        f"Trial {finding.label}: {'; '.join(f'{faded}, without it {join_words(of)}' for faded, of in without.items())}."
    )


def write_missing_pairs(ranked: pd.DataFrame, findings: Sequence[FadeFinding]) -> tuple[str, ...]:
    """Says at which cuts of the controls no trial has been compared with its twins; nothing if at none."""
    levels = cut_levels(select_kinds(ranked, "control")["mac_sparsity"].dropna())
    missing = [level for level in levels if not any(abs(one.cut - level) <= cut_tolerance(level) for one in findings)]
    if not missing:
        return ()
    return (f"No trial at {join_words(list(map(format_share, missing)))} fewer MACs has been compared with its twins.",)

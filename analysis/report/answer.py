"""Whether alpha helped, in a few sentences, and how far to trust that.

Where trials have been compared with their twins, the pairs say what alpha does, and the comparison with the controls
whether the search beats what one would have done without it. Where they have not, that comparison is all there is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from analysis.columns import iterate_rows
from analysis.labels import label_row, select_kinds
from analysis.rank.comparison import Comparison, compare_with_controls, cut_levels, cut_tolerance, with_alpha
from analysis.rank.ranking import sort_best_first
from analysis.report.fade_verdict import find_fades, write_fade_verdict, write_missing_pairs
from analysis.report.trust import trust_pairs, trust_sentences
from analysis.text import capitalize_first, format_count, format_percent, format_points, format_share, join_words
from records.dense import DenseRecord
from records.experiment import DataRecord


@dataclass(frozen=True)
class ReportAnswer:
    """headline: what alpha does, or whether it beats the controls, in a sentence; what speaks against it comes first.

    findings: the evidence, a sentence for each cut. trust: how far to trust it. comparisons: with the controls, if the
    findings are of them, in their order. search: where the findings are of twins, how the search compares with the
    controls.
    """

    headline: str
    findings: tuple[str, ...]
    trust: str
    comparisons: tuple[Comparison, ...] = ()
    search: "ReportAnswer | None" = None


def find_answer(
    trials: pd.DataFrame,
    ranked: pd.DataFrame,
    data: DataRecord,
    dense: DenseRecord | None,
    dense_measure: Mapping[str, Any],
    confirm: str,
) -> ReportAnswer:
    """The answer that the complete trials give.

    Args:
        trials: one row per trial, repeats included (analysis.tables.trials).
        ranked: their ranking.
        data, dense, dense_measure: as in analysis.experiment; data is that of experiment.json.
        confirm: the command that runs twins.
    """
    fades = find_fades(trials, ranked)
    search = _compare_search(trials, ranked, data, dense, dense_measure, "the search" if fades else "alpha")
    if fades:
        headline, findings = write_fade_verdict(fades)
        findings += write_missing_pairs(ranked, fades)
        return ReportAnswer(headline, findings, trust_pairs(fades), search=search if search.comparisons else None)
    if with_alpha(ranked)["pruned_val_accuracy"].isna().all():
        return search
    hint = f"Only twins, the same trials without a fade, tell what alpha itself does: `{confirm}` runs them."
    return replace(search, findings=(*search.findings, hint))


def _compare_search(
    trials: pd.DataFrame,
    ranked: pd.DataFrame,
    data: DataRecord,
    dense: DenseRecord | None,
    dense_measure: Mapping[str, Any],
    subject: str,
) -> ReportAnswer:
    """How the best trials with alpha, which are called `subject`, compare with the controls."""
    best = sort_best_first(ranked)
    alphas, controls = with_alpha(best), select_kinds(best, "control")
    order = ("worse", "better", "noise", "unknown")
    compared = sorted(compare_with_controls(trials, ranked, data), key=lambda one: (order.index(one.outcome), one.cut))
    if compared:
        headline, findings = _write_verdict(compared, dense, dense_measure, subject)
        findings += _write_uncompared(alphas, controls, compared)
    else:
        headline, findings = _without_comparison(trials, alphas, controls, dense)
    return ReportAnswer(headline, findings, trust_sentences(trials, ranked, compared, data), tuple(compared))


def _write_verdict(
    compared: Sequence[Comparison], dense: DenseRecord | None, dense_measure: Mapping[str, Any], subject: str
) -> tuple[str, tuple[str, ...]]:
    pairs = [(_write_finding(one), _write_evidence(one, dense, dense_measure)) for one in compared]
    if len(compared) == 1:
        [(finding, evidence)] = pairs
        headline = f"{capitalize_first(_summarise_comparison(compared[0], subject, ''))}: {finding}."
        return headline, (f"{capitalize_first(evidence)}.",)
    return _write_headline(compared, subject), tuple(f"{finding} ({evidence})." for finding, evidence in pairs)


def _write_headline(compared: Sequence[Comparison], subject: str) -> str:
    """Several comparisons in a sentence; those that are alike are said together."""
    if all(one.outcome == "noise" and not one.cuts_more for one in compared):
        level = f"{subject} and the controls are level at every cut compared: the differences are within noise."
        return capitalize_first(level)
    alike: dict[str, list[float]] = {}
    for one in compared:
        alike.setdefault(_summarise_comparison(one, subject, " at {} fewer MACs"), []).append(one.cut)
    clauses = [clause.format(join_words(list(map(format_share, sorted(cuts))))) for clause, cuts in alike.items()]
    return f"{capitalize_first('; '.join(clauses))}."


def _summarise_comparison(one: Comparison, subject: str, at: str) -> str:
    """What a comparison says of the subject, as a clause; `at` stands where the cut is named."""
    unconfirmed = ", not yet confirmed over seeds" if one.tentative else ""
    wins = "is ahead of" if one.tentative else "beats"
    if one.outcome == "better":
        return f"{subject} {wins} the controls{at}{unconfirmed}"
    if one.outcome == "worse":
        return f"a control {wins} {subject}{at}{unconfirmed}"
    if one.outcome == "unknown":
        return f"whether {subject} beats the controls{at} is unclear"
    if one.cuts_more:
        cut = format_share(one.alpha.cut)
        return f"{subject} is as accurate as the best control{at} while cutting {cut}{unconfirmed}"
    return f"{subject} and the controls are level{at}"


def _write_finding(one: Comparison) -> str:
    """What a comparison found, as a sentence without its full stop."""
    alpha, control = one.alpha.label, f"the best control at {format_share(one.cut)} fewer MACs, {one.control.label}"
    more = f", while cutting {format_share(one.alpha.cut)}" if one.cuts_more else ""
    digits = 2 if one.margin < 0.001 else 1
    points = format_points(one.difference, digits)
    apart = f"{points} ± {format_points(one.margin, digits)} points"
    # A repeated trial is judged by its repeats alone, any other by its single run.
    ours, theirs = max(1, one.alpha.seeds), max(1, one.control.seeds)
    seeds = f"over {ours} and {theirs} seeds" if ours != theirs else f"over {ours} seeds each"
    seeds = "one run each" if ours == theirs == 1 else seeds
    if one.outcome == "better":
        return f"{alpha} is {apart} above {control}{more}, {seeds}"
    if one.outcome == "worse":
        best_alpha = f"the best trial with alpha at {format_share(one.cut)} fewer MACs, {alpha}"
        cuts = f", which cuts {format_share(one.alpha.cut)}" if one.cuts_more else ""
        return f"{one.control.label} is {apart} above {best_alpha}{cuts}, {seeds}"
    if one.outcome == "noise":
        noise = "" if float(points) == 0 else f"; the difference of {apart} is within noise"
        return f"{alpha} is as accurate as {control}{more}, {seeds}{noise}"
    side = "above" if one.difference > 0 else "below"
    return f"{alpha} is {points} points {side} {control}{more}, {seeds}; how much of that is noise is unknown"


def _write_evidence(one: Comparison, dense: DenseRecord | None, dense_measure: Mapping[str, Any]) -> str:
    """The accuracies behind a comparison, and the cuts where they are not, as shown, the one compared at."""
    validation = dense.val_accuracy if dense else None
    of_dense = dense_measure.get("test_accuracy") if one.on == "test" else validation
    unequal = len({format_share(cut) for cut in (one.cut, one.alpha.cut, one.control.cut)}) > 1
    alpha, control = (
        format_percent(each.accuracy) + (f" at {format_share(each.cut)} fewer MACs" if unequal else "")
        for each in (one.alpha, one.control)
    )
    text = f"{one.on} accuracy {alpha} with alpha, {control} for the control"
    return text + ("" if of_dense is None else f", {format_percent(of_dense)} for the dense network")


def _write_uncompared(alphas: pd.DataFrame, controls: pd.DataFrame, compared: Sequence[Comparison]) -> tuple[str, ...]:
    """Says what has nothing comparable: cuts of the controls, and trials with alpha that cut less than any control."""
    cuts = controls["mac_sparsity"].dropna().tolist()
    found = []
    alone = [format_share(cut) for cut in cut_levels(cuts) if cut not in {one.cut for one in compared}]
    if alone:
        found.append(f"No trial with alpha is comparable to the controls at {join_words(alone)} fewer MACs.")
    below = sorted(alphas.loc[alphas["mac_sparsity"] < min(cuts) - cut_tolerance(min(cuts)), "mac_sparsity"])
    if below:
        found.append(
            f"No control is comparable to the {format_count(len(below), 'trial')} with alpha at {_format_span(below)} "
            f"fewer MACs: the controls cut at least {format_share(min(cuts))}."
        )
    return tuple(found)


def _without_comparison(
    trials: pd.DataFrame, alphas: pd.DataFrame, controls: pd.DataFrame, dense: DenseRecord | None
) -> tuple[str, tuple[str, ...]]:
    """What can be said where nothing can be compared."""
    if alphas.empty and controls.empty:
        return _without_outcome(trials), ()
    if alphas.empty:
        why = "Whether alpha helps is not known yet: only controls are complete."
    elif controls.empty:
        why = "Whether alpha helps is not known: no control is complete, so there is nothing to compare with."
    else:
        ours, theirs = (sorted(rows["mac_sparsity"].dropna()) for rows in (alphas, controls))
        why = "Whether alpha helps is not known, as no trial with alpha is comparable to a control"
        spans = f": alpha cut {_format_span(ours)} of the MACs, the controls {_format_span(theirs)}"
        why += f"{spans if ours and theirs else ''}."
    return why, (_write_reached(alphas if len(alphas) else controls, dense),)


def _format_span(cuts: Sequence[float]) -> str:
    return " to ".join(dict.fromkeys(format_share(cut) for cut in (*cuts[:1], *cuts[-1:])))


def _write_reached(best_first: pd.DataFrame, dense: DenseRecord | None) -> str:
    number, row = next(iterate_rows(best_first))
    label, cut = label_row(number, row), row["mac_sparsity"]
    kind = "trial with alpha" if label.control is None else "control"
    text = f"The best {kind}, {label}, reaches a validation accuracy of {format_percent(row['pruned_val_accuracy'])}"
    text += f" at {format_share(cut)} fewer MACs" if cut >= 0 else ""
    return text + (f"; the dense network has {format_percent(dense.val_accuracy)}." if dense else ".")


def _without_outcome(trials: pd.DataFrame) -> str:
    """Why there is neither a trial with alpha nor a control to show."""
    states = trials["state"].value_counts()
    if trials.empty:
        return "There is no answer yet: no trial has been started."
    if states.get("failed", 0) == len(trials):
        return f"There is no answer: {'the only trial' if len(trials) == 1 else f'all {len(trials):,} trials'} failed."
    if states.get("complete", 0):
        known = trials.loc[trials["state"] == "complete", "pruned_val_accuracy"].notna().any()
        return (
            "Whether alpha helps is not known: all complete trials cut at once, without alpha."
            if known
            else "There is no answer: the accuracies of the complete trials are lost."
        )
    parts = [
        f"{states[state]:,} {one if states[state] == 1 else more}"
        for state, one, more in (
            ("running", "is still running", "are still running"),
            ("stopped", "was stopped early", "were stopped early"),
            ("failed", "failed", "failed"),
        )
        if state in states
    ]
    return f"There is no answer yet: no trial is complete ({join_words(parts)})."

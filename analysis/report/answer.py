"""What an experiment found, in a few sentences: did alpha help, is the result faster, and how far to trust it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.labels import count, percentage
from analysis.rank.comparison import Comparison, Contender, comparisons, levels, tolerance, with_alpha
from analysis.rank.ranking import rank
from analysis.report.phrases import control_name, family_name, listed, points, sentence_case, share
from analysis.report.speed import speed_sentence
from analysis.report.trust import trust_sentences
from analysis.tables.trials import number_of
from records.dense import DenseRecord
from records.experiment import DataRecord


@dataclass(frozen=True)
class Answer:
    """headline: whether alpha schedules beat their controls, in a sentence; a control that is better comes first.

    findings: what it rests on, a sentence a cut. measured: speed, memory and size of the best. trust: how far.
    """

    headline: str
    findings: tuple[str, ...]
    measured: str
    trust: str


def answer(
    trials: pd.DataFrame, data: DataRecord, dense: DenseRecord | None, dense_measure: Mapping[str, Any]
) -> Answer:
    """The answer that the complete trials give.

    Args:
        trials: a row a trial, repeats included (analysis.tables.trials).
        data, dense, dense_measure: as in analysis.experiment; data is that of experiment.json.
    """
    ranked = rank(trials)
    ranked = ranked[ranked["pruned_val_accuracy"].notna()]
    alphas, controls = with_alpha(ranked), ranked[ranked["control"].notna()]
    compared = sorted(comparisons(trials, data), key=_worst_first)
    if compared:
        headline, findings = _verdict(compared, dense, dense_measure)
        of_note = [one.alpha.number for one in compared]
    else:
        headline, findings = _without_comparison(trials, alphas, controls, dense)
        of_note = [int(number) for number in (alphas if len(alphas) else ranked).index]
    findings += _uncompared(alphas, controls, compared) if compared else ()
    return Answer(
        headline,
        findings,
        speed_sentence(ranked, of_note, dense_measure),
        trust_sentences(trials, ranked, compared, data),
    )


def _worst_first(one: Comparison) -> tuple[int, float]:
    return ("worse", "better", "noise", "unknown").index(one.outcome), one.cut


def _verdict(
    compared: list[Comparison], dense: DenseRecord | None, dense_measure: Mapping[str, Any]
) -> tuple[str, tuple[str, ...]]:
    evidence = [_evidence(one, dense, dense_measure) for one in compared]
    if len(compared) == 1:
        unseen = compared[0].outcome in ("noise", "unknown")
        text = _finding(compared[0])
        headline = f"No alpha schedule is seen to beat the controls: {text}." if unseen else f"{sentence_case(text)}."
        return headline, (f"In numbers: {evidence[0]}.",)
    findings = tuple(
        f"{sentence_case(_finding(one))} ({numbers})." for one, numbers in zip(compared, evidence, strict=True)
    )
    return _summary(compared), findings


def _summary(compared: list[Comparison]) -> str:
    """Several comparisons in a sentence; where a control is better comes first."""
    by_cut = sorted(compared, key=lambda one: one.cut)
    clauses = []
    for outcome, better, other in (("worse", "a control", "alpha"), ("better", "alpha", "the best control")):
        for tentative in (False, True):
            found = [one for one in by_cut if (one.outcome, one.tentative) == (outcome, tentative)]
            if found:
                at = f"at {listed([share(one.cut) for one in found])} fewer MACs"
                clauses.append(f"{better} {_beats(found[0])} {other} {at}{_unconfirmed(found[0])}")
    if not clauses:
        return "No alpha schedule is seen to beat the controls at any of the cuts compared."
    if any(one.outcome in ("noise", "unknown") for one in compared):
        clauses.append("at the other cuts alpha is not seen to beat the controls")
    return f"{sentence_case('; '.join(clauses))}."


def _beats(one: Comparison) -> str:
    return "is ahead of" if one.tentative else "beats"


def _unconfirmed(one: Comparison) -> str:
    return ", not confirmed over seeds" if one.tentative else ""


def _finding(one: Comparison) -> str:
    """What a comparison found, as a clause."""
    alpha, control = one.alpha, control_name(one.control.kind or "")
    at, best = f"at {share(one.cut)} fewer MACs", f"the best trial with alpha ({one.alpha.number}, {_family(alpha)})"
    digits = 2 if one.margin < 0.001 else 1
    apart = f"{points(one.difference, digits)} ± {points(one.margin, digits)} points"
    over = _over(one)
    match one.outcome:
        case "better":
            best = f"the best {_family(alpha)} trial ({alpha.number})"
            return f"{best} {_beats(one)} the best control, {control}, by {apart} {at}, {over}{_unconfirmed(one)}"
        case "worse":
            return f"{control}, a control, {_beats(one)} {best} by {apart} {at}, {over}{_unconfirmed(one)}"
        case "noise" if float(points(one.difference, digits)) == 0:
            return f"{at} {best} is as accurate as the best control, {control}, {over}"
        case "noise":
            return f"{at} {best} is {apart} {_side(one)} the best control, {control}, {over}: that is within noise"
        case _:
            return (
                f"{at} {best} is {points(one.difference)} points {_side(one)} the best control, {control}, {over}; how "
                "much of that is noise is not known"
            )


def _over(one: Comparison) -> str:
    # What was repeated is told by its repeats alone, what was not by its one seed.
    ours, theirs = max(1, one.alpha.seeds), max(1, one.control.seeds)
    if ours == theirs:
        return "one seed each" if ours == 1 else f"over {ours} seeds each"
    return f"over {ours} and {theirs} seeds"


def _family(alpha: Contender) -> str:
    return family_name(alpha.kind)


def _side(one: Comparison) -> str:
    return "above" if one.difference > 0 else "below"


def _dense_accuracy(dense: DenseRecord | None) -> float:
    return dense.val_accuracy if dense else math.nan


def _evidence(one: Comparison, dense: DenseRecord | None, dense_measure: Mapping[str, Any]) -> str:
    """The accuracies behind a comparison, and the cuts where they, as they are shown, are not the one compared at."""
    of_dense = number_of(dense_measure, "test_accuracy") if one.on == "test" else _dense_accuracy(dense)
    unequal = len({share(cut) for cut in (one.cut, one.alpha.cut, one.control.cut)}) > 1
    alpha, control = (
        percentage(each.accuracy) + (f" at {share(each.cut)} fewer MACs" if unequal else "")
        for each in (one.alpha, one.control)
    )
    of_dense_text = f"; the dense network: {percentage(of_dense)}" if of_dense >= 0 else ""
    return f"{one.on} accuracy with alpha {alpha}, of the control {control}{of_dense_text}"


def _uncompared(alphas: pd.DataFrame, controls: pd.DataFrame, compared: list[Comparison]) -> tuple[str, ...]:
    """Says what has nothing comparable: cuts of the controls, and trials with alpha that cut less than any control."""
    cuts = controls["mac_sparsity"].dropna().tolist()
    found = []
    lonely = [share(cut) for cut in levels(cuts) if cut not in {one.cut for one in compared}]
    if lonely:
        found.append(f"No trial with alpha is comparable to the controls at {listed(lonely)} fewer MACs.")
    below = sorted(alphas.loc[alphas["mac_sparsity"] < min(cuts) - tolerance(min(cuts)), "mac_sparsity"])
    if below:
        found.append(
            f"No control is comparable to {count(len(below), 'trial')} with alpha at {_span(below)} fewer MACs: the "
            f"controls cut {share(min(cuts))} or more."
        )
    return tuple(found)


def _without_comparison(
    trials: pd.DataFrame, alphas: pd.DataFrame, controls: pd.DataFrame, dense: DenseRecord | None
) -> tuple[str, tuple[str, ...]]:
    """What can be said where nothing can be compared."""
    known = pd.concat([alphas, controls])
    if known.empty:
        return _without_outcome(trials), ()
    best = _reached((alphas if len(alphas) else controls).sort_values("pruned_val_accuracy", ascending=False), dense)
    if alphas.empty:
        why = "No trial with an alpha schedule is complete, so alpha cannot be judged yet: only controls are."
    elif controls.empty:
        why = "Whether alpha helps is not known: no control is complete, so there is nothing to compare with."
    else:
        ours, theirs = (sorted(rows["mac_sparsity"].dropna()) for rows in (alphas, controls))
        cuts = (
            f": the trials with alpha cut {_span(ours)} of the MACs, the controls {_span(theirs)}"
            if ours and theirs
            else ""
        )
        why = f"Whether alpha helps is not known: there is no comparable control{cuts}."
    return why, (best,)


def _span(cuts: list[float]) -> str:
    ends = dict.fromkeys((share(cuts[0]), share(cuts[-1])))
    return " to ".join(ends)


def _reached(rows: pd.DataFrame, dense: DenseRecord | None) -> str:
    row = rows.iloc[0]
    control = row["control"] if isinstance(row["control"], str) else None
    who = (
        f"control, {control_name(control)},"
        if control
        else f"trial with alpha ({row.name}, {family_name(row['family'])})"
    )
    text = f"The best {who} reaches {percentage(row['pruned_val_accuracy'])} of the validation images"
    if row["mac_sparsity"] >= 0:
        text += f" at {share(row['mac_sparsity'])} fewer MACs"
    of_dense = _dense_accuracy(dense)
    return text + (f"; the dense network has {percentage(of_dense)}." if of_dense >= 0 else ".")


def _without_outcome(trials: pd.DataFrame) -> str:
    states = trials["state"].value_counts()
    if trials.empty:
        return "There is no answer yet: no trial has been started."
    if states.get("failed", 0) == len(trials):
        return f"There is no answer: {'the only trial' if len(trials) == 1 else f'all {len(trials):,} trials'} failed."
    if states.get("complete", 0):
        return "There is no answer: the accuracy of the complete trials is lost."
    parts = [
        f"{states[state]:,} {one if states[state] == 1 else more}"
        for state, one, more in (
            ("running", "has not ended", "have not ended"),
            ("stopped", "was stopped early", "were stopped early"),
            ("failed", "failed", "failed"),
        )
        if state in states
    ]
    return f"There is no answer yet: no trial is complete ({listed(parts)})."

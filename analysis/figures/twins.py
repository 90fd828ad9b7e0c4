"""What fading itself does: the differences between confirmed trials and their twins, with their intervals."""

import math
from dataclasses import dataclass
from itertools import accumulate, chain

import plotly.graph_objects as go

from analysis.experiment import Experiment
from analysis.figures.style import (
    AXIS,
    HOLLOW,
    INK,
    MUTED,
    FigureInfo,
    blank_figure,
    hover_text,
    literal_text,
    sentence_figure,
)
from analysis.labels import TrialLabel, label_trial
from analysis.rank.comparison import group_by_cut
from analysis.rank.pairs import TwinComparison, compare_with_twins, group_by_trial
from analysis.text import capitalize_first, format_count, format_percent, format_share
from records.trial import BUDGETS

_ROW_PIXELS = 44
# Where a budget's mark is, in rows from the middle of its trial's.
_OFFSETS = {"compute": 0.16, "epochs": -0.16}


@dataclass(frozen=True)
class TwinsInfo(FigureInfo):
    """trials: each with the share of its MACs that is cut and its comparisons, equal compute first.

    They are in the order of their cuts. ends: the places before which another amount begins.
    """

    trials: tuple[tuple[TrialLabel, float, tuple[TwinComparison, ...]], ...] = ()
    ends: tuple[int, ...] = ()


def twins_info(experiment: Experiment) -> TwinsInfo:
    """The comparisons with twins of all trials that have any (analysis.rank.pairs)."""
    cuts = experiment.ranked["mac_sparsity"].dropna()
    found = group_by_trial(one for one in compare_with_twins(experiment.trials) if one.number in cuts.index)
    of_trial = {number: list(by_budget.values()) for number, by_budget in found.items()}
    if not of_trial:
        return TwinsInfo("No trial has been compared with its twins yet, so what fading alone does is unknown.")
    groups = group_by_cut(cuts[list(of_trial)])
    numbers = list(chain.from_iterable(groups))
    note = (
        "Right of the line the fade gains accuracy. Whiskers: 95% intervals over the seeds; one that crosses the line "
    )
    note += "is noise."
    if any(one.pairs < 2 for comparisons in of_trial.values() for one in comparisons):
        note += " Without whiskers: a single pair."
    return TwinsInfo(
        _write_title([of_trial[number] for number in numbers]),
        note,
        tuple((label_trial(experiment.trials, each), cuts[each], tuple(of_trial[each])) for each in numbers),
        tuple(accumulate(map(len, groups)))[:-1],
    )


def _write_title(of_trials: list[list[TwinComparison]]) -> str:
    """In how many of the trials fading gains and loses at each budget."""
    clauses: list[str] = []
    for budget in reversed(BUDGETS):
        outcomes = [one.outcome for each in of_trials for one in each if one.budget == budget]
        if outcomes:
            gains, losses = outcomes.count("better"), outcomes.count("worse")
            fading = "it" if clauses else "fading"
            counts = f"gains accuracy in {gains} of {format_count(len(outcomes), 'trial')} and loses it in {losses}"
            clauses.append(f"at equal {budget}, {fading} {counts}")
    return f"{capitalize_first('; '.join(clauses))}."


def twins(experiment: Experiment) -> go.Figure:
    """A row for each confirmed trial, grouped by amount: its difference to its twins at both budgets."""
    info = twins_info(experiment)
    if not info.trials:
        return sentence_figure(info.title)
    count = len(info.trials)
    drawn = blank_figure(info.title, info.note, height=110 + _ROW_PIXELS * count)
    drawn.add_vline(x=0, line={"color": AXIS, "width": 1.5})
    for end in info.ends:
        drawn.add_hline(y=count - end - 0.5, line={"color": AXIS, "width": 0.5})
    for budget in reversed(BUDGETS):
        points = [
            (count - 1 - place + _OFFSETS[budget], label, one)
            for place, (label, _, comparisons) in enumerate(info.trials)
            for one in comparisons
            if one.budget == budget
        ]
        colour = INK if budget == "compute" else MUTED
        drawn.add_scatter(
            x=[100 * one.difference for _, _, one in points],
            y=[y for y, _, _ in points],
            error_x={
                "array": [None if math.isnan(one.margin) else 100 * one.margin for _, _, one in points],
                **{"color": colour, "thickness": 1.5, "width": 5},
            },
            mode="markers",
            marker={
                "size": 9,
                "color": colour if budget == "compute" else HOLLOW,
                "line": {"color": colour, "width": 2},
            },
            name=f"equal {budget}",
            customdata=[label.number for _, label, _ in points],
            hovertext=[hover_text(_describe(label, one)) for _, label, one in points],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    labels = [f"{literal_text(label.text, 30)}<br>{format_share(cut)} fewer MACs" for label, cut, _ in info.trials]
    drawn.update_yaxes(
        tickvals=[count - 1 - place for place in range(count)],
        ticktext=labels,
        **{"range": [-0.5, count - 0.5], "ticks": "", "showgrid": False},
    )
    drawn.update_xaxes(title_text="accuracy with the fade minus accuracy without it, points", zeroline=False)
    return drawn


def _describe(label: TrialLabel, one: TwinComparison) -> tuple[str, ...]:
    interval = "" if math.isnan(one.margin) else f" ± {100 * one.margin:.2f}"
    costs = "" if math.isnan(one.cost + one.twin_cost) else f"{one.cost:.1f} and {one.twin_cost:.1f} dense epochs"
    return (
        f"{label.text}, equal {one.budget}",
        f"{100 * one.difference:+.2f}{interval} points over {format_count(one.pairs, 'seed')}",
        f"{one.on} accuracy {format_percent(one.accuracy)} with the fade, {format_percent(one.twin_accuracy)} without",
        costs and f"training cost {costs}",
    )

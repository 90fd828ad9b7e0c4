"""The searched parameters of all complete trials beside the results: a line for each trial through all axes.

They are plain lines: plotly's own parallel coordinates are in its largest bundle only, and do not say which trial a
line is.
"""

import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from analysis.columns import iterate_rows
from analysis.experiment import Experiment
from analysis.figures.selection import thin_out
from analysis.figures.style import (
    AXIS,
    HOLLOW,
    INK,
    MUTED,
    SCALE_COLOURS,
    FigureInfo,
    blank_figure,
    hover_text,
    literal_text,
    sentence_figure,
)
from analysis.labels import TrialLabel, label_row, select_kinds, spell
from analysis.rank.ranking import fronts
from analysis.text import format_count, format_percent

MOST_LINES = 500
# What every trial has besides the parameters with a dot in their names.
_PLAIN_PARAMETERS = frozenset({"alpha_fraction", "alpha_lr", "epochs_per_alpha"})


@dataclass(frozen=True)
class ParameterAxis:
    """ticks: positions on the axis, in [0, 1], with their texts. positions, texts: of each trial, likewise."""

    name: str
    ticks: tuple[tuple[float, str], ...]
    positions: tuple[float, ...]
    texts: tuple[str, ...]

    def of_trials(self, places: Sequence[int]) -> "ParameterAxis":
        """The same axis with only these trials on it."""
        positions = tuple(self.positions[place] for place in places)
        return ParameterAxis(self.name, self.ticks, positions, tuple(self.texts[place] for place in places))


@dataclass(frozen=True)
class ParallelCoordinatesInfo(FigureInfo):
    """axes: the parameters, then the MACs cut and the accuracy. on_front: whether no other trial beats it in both."""

    trials: tuple[TrialLabel, ...] = ()
    accuracies: tuple[float, ...] = ()
    on_front: tuple[bool, ...] = ()
    axes: tuple[ParameterAxis, ...] = ()


def parallel_coordinates_info(experiment: Experiment) -> ParallelCoordinatesInfo:
    """Complete trials of the search by the parameters that all of them have and that vary."""
    trials = select_kinds(experiment.ranked, "searched").sort_index()
    trials = trials[trials["pruned_val_accuracy"].notna() & trials["mac_sparsity"].notna()]
    if len(trials) < 2:
        few = "Fewer than two trials of the search are complete, so there are no parameters to compare."
        return ParallelCoordinatesInfo(few)
    names = [name for name in map(str, trials.columns) if "." in name or name in _PLAIN_PARAMETERS]
    axes = [axis for name in names if (axis := _parameter_axis(name, trials[name].tolist())) is not None]
    accuracies = trials["pruned_val_accuracy"].tolist()
    axes.append(_number_axis("MACs cut", trials["mac_sparsity"].tolist(), 1, True))
    axes.append(_number_axis("validation accuracy", accuracies, 2, True))
    costs = -trials[["mac_sparsity", "pruned_val_accuracy"]].to_numpy(float)
    on_front = set(trials.index[fronts(costs) == 0].tolist())
    kept = [place for place, number in enumerate(trials.index) if number in on_front]
    drawn = thin_out(len(trials), MOST_LINES, kept)
    labels = tuple(label_row(number, row) for number, row in iterate_rows(trials.iloc[drawn]))
    thick = f"{format_count(len(on_front), 'trial')} on their Pareto front thicker"
    title = (
        f"Parameters of {format_count(len(trials), 'complete trial')} of the search, coloured by accuracy; the {thick}."
    )
    left_out = len(trials) - len(drawn)
    note = f"Left out: {format_count(left_out, 'trial')} evenly, none of the front." if left_out else ""
    return ParallelCoordinatesInfo(
        title,
        note,
        labels,
        tuple(accuracies[place] for place in drawn),
        tuple(label.number in on_front for label in labels),
        tuple(axis.of_trials(drawn) for axis in axes),
    )


def parallel_coordinates(experiment: Experiment) -> go.Figure:
    """A line for each trial through all axes, coloured by its accuracy."""
    info = parallel_coordinates_info(experiment)
    if not info.axes:
        return sentence_figure(info.title)
    drawn = blank_figure(info.title, info.note)
    columns = list(range(len(info.axes)))
    groups: dict[tuple[int, bool], list[int]] = {}
    places, names = _split_by_accuracy(info.accuracies)
    for index, key in enumerate(zip(places, info.on_front, strict=True)):
        groups.setdefault(key, []).append(index)
    # The best are drawn last, over all others.
    for (place, on_front), indices in sorted(groups.items()):
        drawn.add_scatter(
            # None ends a trial's line.
            x=[x for _ in indices for x in (*columns, None)],
            y=[y for index in indices for y in (*(axis.positions[index] for axis in info.axes), None)],
            mode="lines+markers",
            line={"color": SCALE_COLOURS[place - len(names)], "width": 3 if on_front else 1.2},
            marker={"size": 5 if on_front else 3},
            name=names[place],
            legendgroup=str(place),
            showlegend=not on_front or (place, False) not in groups,
            customdata=[info.trials[index].number for index in indices for _ in (*columns, None)],
            hovertext=[
                text and hover_text([info.trials[index].text, text])
                for index in indices
                for text in (*(f"{axis.name}: {axis.texts[index]}" for axis in info.axes), "")
            ],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    # A setting's name is too long for its place, but not its parts.
    name_label = {"y": 1, "yshift": 10, "yanchor": "bottom", "font": {"size": 11, "color": INK}}
    tick_label = {"xanchor": "left", "xshift": 3, "bgcolor": HOLLOW, "font": {"size": 10, "color": MUTED}}
    for column, axis in zip(columns, info.axes, strict=True):
        line = {"color": AXIS, "width": 1}
        drawn.add_shape(type="line", x0=column, x1=column, y0=0, y1=1, layer="below", line=line)
        name = re.sub("[. ]", lambda found: f"{found[0].strip()}<br>", literal_text(axis.name, 40))
        drawn.add_annotation(name_label, x=column, text=name, showarrow=False)
        for position, text in axis.ticks:
            drawn.add_annotation(tick_label, x=column, y=position, text=literal_text(text, 15), showarrow=False)
    drawn.update_layout(
        legend={"title": {"text": "validation accuracy", "font": {"size": 11}}, "traceorder": "reversed"}
    )
    drawn.update_xaxes(range=[-0.3, columns[-1] + 0.7], visible=False)
    drawn.update_yaxes(range=[-0.05, 1.15], visible=False)
    return drawn


def _split_by_accuracy(accuracies: Sequence[float]) -> tuple[list[int], list[str]]:
    """A group for each trial, from 0 for the lowest accuracies, and what each group is called.

    There are as many trials in each, or nearly; equal accuracies are in one group, so there may be fewer groups than
    colours.
    """
    ordered, groups = sorted(accuracies), len(SCALE_COLOURS)
    starts = sorted({ordered[len(ordered) * group // groups] for group in range(groups)})
    places = [bisect_right(starts, accuracy) - 1 for accuracy in accuracies]
    names = []
    for place in range(len(starts)):
        inside = [accuracy for accuracy, each in zip(accuracies, places, strict=True) if each == place]
        names.append(" to ".join(dict.fromkeys(format_percent(value, 1) for value in (min(inside), max(inside)))))
    return places, names


def _parameter_axis(name: str, values: list[Any]) -> ParameterAxis | None:
    """The axis of a parameter that every trial has and that is not the same for all, else None."""
    if any(value is None or value != value for value in values):
        return None
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        numbers = [float(value) for value in values]
        return _number_axis(name, numbers) if min(numbers) < max(numbers) else None
    texts = tuple(map(spell, map(str, values)))
    choices = sorted(set(texts))
    if len(choices) == 1:
        return None
    places = {choice: index / (len(choices) - 1) for index, choice in enumerate(choices)}
    ticks = tuple((place, choice) for choice, place in places.items())
    return ParameterAxis(name, ticks, tuple(places[text] for text in texts), texts)


def _number_axis(name: str, values: list[float], digits: int = 0, percent: bool = False) -> ParameterAxis:
    """An axis from the least to the greatest value; logarithmic where that is more than ten times as great."""
    low, high = min(values), max(values)
    logarithmic = low > 0 and high / low > 10 and not percent
    low, high = (math.log10(low), math.log10(high)) if logarithmic else (low, high)

    def format_value(value: float) -> str:
        return format_percent(value, digits) if percent else f"{value:.3g}"

    def scale_position(value: float) -> float:
        value = math.log10(value) if logarithmic else value
        return (value - low) / (high - low) if high > low else 0.5

    middle = 10 ** ((low + high) / 2) if logarithmic else (low + high) / 2
    ticks = sorted({(scale_position(value), format_value(value)) for value in (min(values), middle, max(values))})
    return ParameterAxis(name, tuple(ticks), tuple(map(scale_position, values)), tuple(map(format_value, values)))

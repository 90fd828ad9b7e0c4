"""The searched parameters of all complete trials beside the results: a line for each trial through all axes.

The axes lie one below another, unlike plotly's own parallel coordinates, so that names and choices can be read at any
width.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from analysis.columns import iterate_rows
from analysis.experiment import Experiment
from analysis.figures.selection import thin_out
from analysis.figures.style import (
    INK,
    MUTED,
    FigureInfo,
    blank_figure,
    hover_text,
    literal_text,
    sentence_figure,
    trial_colour,
)
from analysis.labels import TrialLabel, label_row, select_kinds
from analysis.text import format_count, format_percent

MOST_LINES = 500
# What every trial has besides the parameters with a dot in their names.
_PLAIN_PARAMETERS = frozenset({"alpha_fraction", "alpha_lr", "epochs_per_alpha"})


@dataclass(frozen=True)
class ParameterAxis:
    """ticks: positions on the axis, from 0 (left) to 1, with their texts. positions, texts: of each trial, likewise."""

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
    """axes: the parameters, then MACs and accuracy. on_front: whether no other trial beats it in both."""

    trials: tuple[TrialLabel, ...] = ()
    on_front: tuple[bool, ...] = ()
    axes: tuple[ParameterAxis, ...] = ()


def parallel_coordinates_info(experiment: Experiment) -> ParallelCoordinatesInfo:
    """Complete trials of the search by the parameters that all of them have and that vary."""
    trials = select_kinds(experiment.ranked, "searched").sort_index()
    trials = trials[trials["pruned_val_accuracy"].notna() & trials["macs"].notna()]
    if len(trials) < 2:
        few = "Fewer than two trials of the search are complete, so there are no parameters to compare."
        return ParallelCoordinatesInfo(few)
    names = [name for name in map(str, trials.columns) if "." in name or name in _PLAIN_PARAMETERS]
    axes = [axis for name in names if (axis := _parameter_axis(name, trials[name].tolist())) is not None]
    share = experiment.dense is not None and experiment.dense.macs > 0
    macs = (trials["macs"] / (experiment.dense.macs if experiment.dense and share else 1e6)).tolist()
    accuracies = trials["pruned_val_accuracy"].tolist()
    axes.append(_number_axis("MACs, % of the dense network's" if share else "MACs, millions", macs, 1, share))
    axes.append(_number_axis("validation accuracy", accuracies, 2, True))
    order = trials.sort_values(["macs", "pruned_val_accuracy"], ascending=[True, False])["pruned_val_accuracy"]
    front = order[order > order.cummax().shift(fill_value=-math.inf)].index
    on_front = set(front.tolist())
    kept = [place for place, number in enumerate(trials.index) if number in on_front]
    drawn = thin_out(len(trials), MOST_LINES, kept)
    labels = tuple(label_row(number, row) for number, row in iterate_rows(trials.iloc[drawn]))
    coloured = f"{format_count(len(front), 'trial')} on their Pareto front in colour"
    title = f"Parameters of {format_count(len(trials), 'complete trial')} of the search, the {coloured}."
    left_out = len(trials) - len(drawn)
    note = f"Left out: {format_count(left_out, 'trial')} evenly, none of the front." if left_out else ""
    thinned = tuple(axis.of_trials(drawn) for axis in axes)
    return ParallelCoordinatesInfo(title, note, labels, tuple(label.number in on_front for label in labels), thinned)


def parallel_coordinates(experiment: Experiment) -> go.Figure:
    """A line for each trial through all axes; those on the front in their families' colours."""
    info = parallel_coordinates_info(experiment)
    if not info.axes:
        return sentence_figure(info.title)
    drawn = blank_figure(info.title, info.note, height=60 + 52 * len(info.axes))
    rows = [-row for row in range(len(info.axes))]
    groups: dict[tuple[str, str, float], list[int]] = {("other trials", "#BBBBBB", 0.8): []}
    for index, (trial, on_front) in enumerate(zip(info.trials, info.on_front, strict=True)):
        key = (literal_text(trial.group), trial_colour(trial), 2) if on_front else ("other trials", "#BBBBBB", 0.8)
        groups.setdefault(key, []).append(index)
    for (name, colour, width), indices in groups.items():
        drawn.add_scatter(
            # None ends a trial's line.
            x=[x for index in indices for x in (*(axis.positions[index] for axis in info.axes), None)],
            y=[y for _ in indices for y in (*rows, None)],
            mode="lines+markers",
            line={"color": colour, "width": width},
            marker={"size": 3 if width < 1 else 5},
            name=name,
            hovertext=[
                text and hover_text([info.trials[index].text, text])
                for index in indices
                for text in (*(f"{axis.name}: {axis.texts[index]}" for axis in info.axes), "")
            ],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    label = {"xanchor": "left", "showarrow": False, "bgcolor": "rgba(255, 255, 255, 0.75)"}
    name_label = label | {"x": 0, "xshift": -4, "yanchor": "bottom", "yshift": 3, "font": {"size": 11, "color": INK}}
    tick_label = label | {"yanchor": "top", "yshift": -3, "borderpad": 0, "font": {"size": 9, "color": MUTED}}
    for row, axis in zip(rows, info.axes, strict=True):
        drawn.add_shape(type="line", x0=0, x1=1, y0=row, y1=row, layer="below", line={"color": "#999999", "width": 1})
        drawn.add_annotation(name_label, y=row, text=f"<b>{literal_text(axis.name, 40)}</b>")
        for position, text in axis.ticks:
            side = "left" if position < 0.02 else "right" if position > 0.98 else "center"
            drawn.add_annotation(tick_label | {"xanchor": side}, x=position, y=row, text=literal_text(text, 15))
    drawn.update_xaxes(range=[-0.02, 1.02], visible=False)
    drawn.update_yaxes(range=[rows[-1] - 0.45, 0.5], visible=False)
    return drawn


def _parameter_axis(name: str, values: list[Any]) -> ParameterAxis | None:
    """The axis of a parameter that every trial has and that is not the same for all, else None."""
    if any(value is None or value != value for value in values):
        return None
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        numbers = [float(value) for value in values]
        return _number_axis(name, numbers) if min(numbers) < max(numbers) else None
    texts = tuple(map(str, values))
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

"""Accuracy against what it costs: MACs, training, or what was measured. The figure that a search is made for."""

import math
from dataclasses import dataclass, replace

import pandas as pd
import plotly.graph_objects as go

from analysis.columns import COLUMNS, MEASUREMENT_COLUMNS, Column, iterate_rows
from analysis.experiment import Experiment
from analysis.figures.selection import describe_configuration, thin_out, view_floor
from analysis.figures.style import (
    AXIS,
    HOLLOW,
    INK,
    MUTED,
    FigureInfo,
    blank_figure,
    control_symbol,
    hover_text,
    literal_text,
    sentence_figure,
    trial_colour,
)
from analysis.labels import TrialLabel, label_row
from analysis.rank.ranking import sort_best_first
from analysis.text import format_count, format_percent, printable
from records.measurement import BATCH_SIZES

MOST_POINTS = 1000
# Above this many, the numbers beside the marks of the front would cover one another.
MOST_NUMBERED = 12
CUT = COLUMNS["mac_sparsity"]
# What accuracy can be set against besides: all that was measured and should be low, and the training cost.
MEASURED = {
    **{name: column for name, column in MEASUREMENT_COLUMNS.items() if column.better == "low"},
    "training_cost": COLUMNS["training_cost"],
}
LATENCY = f"batch{BATCH_SIZES[-1]}_latency_ms"


@dataclass(frozen=True)
class TrialPoint:
    """A trial. x: in the axis' unit. accuracy: on the validation images, in [0, 1]; the mean of `seeds` repeats.

    std: their sample standard deviation, None for fewer than two; seeds: 0 for a trial that was never repeated.
    """

    trial: TrialLabel
    x: float
    accuracy: float
    std: float | None
    seeds: int
    hover: str


@dataclass(frozen=True)
class AccuracyAgainstInfo(FigureInfo):
    """front: numbers of the points that none beats in both, the cheapest first. dense: (x, accuracy), None if unknown.

    floor: the accuracy below which points are left out of view, None where none is.
    """

    x_title: str = ""
    points: tuple[TrialPoint, ...] = ()
    front: tuple[int, ...] = ()
    dense: tuple[float | None, float | None] = (None, None)
    floor: float | None = None


def accuracy_against_macs_info(experiment: Experiment) -> AccuracyAgainstInfo:
    """Complete trials by how many of the dense network's MACs were cut, in percent."""
    info = _build_info(experiment, experiment.ranked[CUT.name], CUT, 0.0)
    return info or AccuracyAgainstInfo("No trial is complete yet, so there is no accuracy to plot against MACs.")


def accuracy_against_measured_info(experiment: Experiment, column: str = LATENCY) -> AccuracyAgainstInfo:
    """Complete trials by what was measured, where devices differ on the one that most of them were measured on.

    Raises ValueError, in one line, for a column that is not in MEASURED.
    """
    if column not in MEASURED:
        raise ValueError(f"`column` must be one of {', '.join(MEASURED)}, but got {column!r}")
    values = experiment.ranked[column].dropna()
    where, note, dense = "", "", experiment.dense_measure.get(column)
    if COLUMNS[column].of_device:
        devices = experiment.ranked["measured_on"].loc[values.index].dropna()
        values = values[devices.index]
    if values.empty:
        return AccuracyAgainstInfo(f"Nothing has been measured yet, so there is no {COLUMNS[column].label} to show.")
    if COLUMNS[column].of_device:
        counts = devices.value_counts()
        device = min(counts.index, key=lambda name: (-counts[name], name))
        where = f" Measured on {printable(device)}."
        if elsewhere := int((devices != device).sum()):
            note = f" Not shown: {format_count(elsewhere, 'trial')} measured on other devices."
            dense = None  # a median over all devices
        values = values[devices == device]
    info = _build_info(experiment, values, MEASURED[column], dense)
    if info is None:
        return AccuracyAgainstInfo("No measured trial has an accuracy, so there is nothing to compare.")
    return replace(info, title=info.title + where, note=info.note + note)


def accuracy_against_macs(experiment: Experiment) -> go.Figure:
    """Accuracy against the MACs cut: trials by family, controls, the Pareto front and the dense network."""
    return _draw_figure(accuracy_against_macs_info(experiment))


def accuracy_against_measured(experiment: Experiment, column: str = LATENCY) -> go.Figure:
    """Accuracy against a column of MEASURED: latency, time, memory, size or training cost, lower being better."""
    return _draw_figure(accuracy_against_measured_info(experiment, column))


def _build_info(
    experiment: Experiment, values: "pd.Series[float]", axis: Column, dense_value: float | None
) -> AccuracyAgainstInfo | None:
    """What is seen of the trials that have one of the `values` of `axis`; None where none of them has an accuracy."""
    xs = axis.shown_scale * values
    points = []
    for number, row in iterate_rows(experiment.ranked.assign(x=xs).dropna(subset=["x", "pruned_val_accuracy"])):
        label = label_row(number, row)
        accuracy, seeds, x = row["pruned_val_accuracy"], row["seeds"], row["x"]
        std = None if math.isnan(row["accuracy_std"]) else row["accuracy_std"]
        spread = "" if std is None else f" ± {format_percent(std)}"
        lines = (
            label.text,
            f"{format_percent(accuracy)} of the validation images{spread}",
            _format_cost(axis, x),
            f"mean of {format_count(seeds, 'repeat')}" if seeds else "a single run",
            describe_configuration(row),
        )
        points.append(TrialPoint(label, x, accuracy, std, seeds, hover_text(lines)))
    if not points:
        return None
    cheap = -1 if axis.better == "high" else 1
    points.sort(key=lambda point: (cheap * point.x, -point.accuracy, point.trial.number))
    floor, front = view_floor([point.accuracy for point in points]), _find_front(points)
    dense_x = None if dense_value is None else axis.shown_scale * dense_value
    dense = (dense_x, experiment.dense.val_accuracy if experiment.dense else None)
    title, note = _write_title(experiment, points, front, axis), _write_note(points, floor)
    drawn = _thin_points(points, front)
    if left_out := len(points) - len(drawn):
        note += f" Left out: {format_count(left_out, 'trial')} evenly, none of the front, controls and repeated trials."
    return AccuracyAgainstInfo(title, note, axis.title, tuple(drawn), front, dense, floor)


def _thin_points(points: list[TrialPoint], front: tuple[int, ...]) -> list[TrialPoint]:
    on_front = set(front)
    kept = [
        place
        for place, point in enumerate(points)
        if point.trial.number in on_front or point.trial.control is not None or point.seeds
    ]
    return [points[place] for place in thin_out(len(points), MOST_POINTS, kept)]


def _find_front(points: list[TrialPoint]) -> tuple[int, ...]:
    """Of the points, the cheapest first and of those the most accurate, those that no other one is better than.

    Points in the same place share the front, as in rank.ranking.
    """
    front = list[TrialPoint]()
    for point in points:
        last = front[-1] if front else None
        if last is None or point.accuracy > last.accuracy or (point.accuracy, point.x) == (last.accuracy, last.x):
            front.append(point)
    return tuple(point.trial.number for point in front)


def _format_cost(axis: Column, x: float) -> str:
    """A place on the axis as in a text."""
    if axis is CUT:
        return f"{x:.1f}% fewer MACs"
    digits = max(0, 2 - math.floor(math.log10(x))) if 0 < x < 1e3 else 0
    return f"{x:,.{min(digits, 6)}f} {axis.shown_unit}"


def _write_title(experiment: Experiment, points: list[TrialPoint], front: tuple[int, ...], axis: Column) -> str:
    """Who is on the front, and where the best trial with alpha is, or the best control where there is none."""
    on_front = [point.trial for point in points if point.trial.number in front]
    held = sum(label.fades for label in on_front)
    title = f"Trials with alpha hold {held} of the {len(on_front)} places on the Pareto front"
    title = f"Only {on_front[0]} is on the Pareto front" if len(on_front) == 1 else title
    with_alpha = [point for point in points if point.trial.fades]
    of_number = {point.trial.number: point for point in with_alpha or points}
    order = sort_best_first(experiment.ranked).index
    best = next(of_number[number] for number in order if number in of_number)
    kind = "trial with alpha" if with_alpha else "control" if best.trial.control else "one-shot trial"
    at = "with" if axis is CUT else "at"
    reached = f"reaches a validation accuracy of {format_percent(best.accuracy)} {at} {_format_cost(axis, best.x)}"
    if on_front == [best.trial]:
        return f"{title}: it {reached}."
    return f"{title}; the best {kind}, {best.trial}, {reached}."


def _write_note(points: list[TrialPoint], floor: float | None) -> str:
    note = ""
    if any(point.seeds > 0 for point in points):
        note = "Hollow: a single run. Filled: mean of the repeats with other seeds ± their standard deviation."
    if floor is not None:
        below = format_count(sum(point.accuracy < floor for point in points), "trial")
        note += f" {below} below {format_percent(floor, 1)} out of view: double-click to see all."
    return note.strip()


def _draw_figure(info: AccuracyAgainstInfo) -> go.Figure:
    if not info.points:
        return sentence_figure(info.title)
    drawn = blank_figure(info.title, info.note)
    of_number = {point.trial.number: point for point in info.points}
    front = [of_number[number] for number in info.front]
    numbered = len(front) <= MOST_NUMBERED
    drawn.add_scatter(
        x=[point.x for point in front],
        y=[point.accuracy for point in front],
        mode="lines+text" if numbered else "lines",
        # Spaces, for the mark that it stands beside.
        text=[f"\N{NO-BREAK SPACE}\N{NO-BREAK SPACE}\N{NO-BREAK SPACE}{point.trial.number}" for point in front]
        if numbered
        else None,
        **{
            "textposition": "middle right" if info.x_title == CUT.title else "bottom right",
            "textfont": {"color": MUTED, "size": 11},
            "cliponaxis": False,
        },
        line={"color": AXIS, "width": 1.5, "shape": "hv"},
        name="Pareto front",
        showlegend=len(front) > 1,
        hoverinfo="skip",
    )
    is_confirmed = any(point.seeds > 0 for point in info.points)
    groups: dict[tuple[bool, str, bool], list[TrialPoint]] = {}
    for point in info.points:
        groups.setdefault((point.trial.control is not None, point.trial.group, point.seeds > 0), []).append(point)
    for (is_control, name, repeated), points in sorted(groups.items()):
        colour = trial_colour(points[0].trial)
        drawn.add_scatter(
            x=[point.x for point in points],
            y=[point.accuracy for point in points],
            error_y={
                "array": [point.std for point in points],
                "visible": any(point.std is not None for point in points),
                **{"color": colour, "thickness": 1.2, "width": 4},
            },
            mode="markers",
            marker={
                "symbol": control_symbol(points[0].trial),
                "size": 9,
                "color": HOLLOW if is_confirmed and not repeated else colour,
                "line": {"color": colour, "width": 2},
            },
            name=literal_text(f"{name} (control)" if is_control else name),
            legendgroup=literal_text(f"{is_control} {name}"),
            showlegend=not repeated or (is_control, name, False) not in groups,
            customdata=[point.trial.number for point in points],
            hovertext=[point.hover for point in points],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    x, accuracy = info.dense
    if accuracy is not None:
        line = {"color": INK, "width": 1, "dash": "dot"}
        drawn.add_hline(y=accuracy, line=line, name=f"dense network, {format_percent(accuracy)}", showlegend=True)
    # Where nothing is cut is far from all trials.
    if accuracy is not None and x is not None and info.x_title != CUT.title:
        drawn.add_scatter(
            x=[x],
            y=[accuracy],
            mode="markers",
            marker={"symbol": "star", "size": 13, "color": INK},
            name="dense network",
            showlegend=False,
            hovertemplate=f"dense network, {format_percent(accuracy)}<br>{info.x_title}: {x:,.4g}<extra></extra>",
        )
    drawn.update_xaxes(title_text=info.x_title)
    if info.x_title != CUT.title:
        drawn.update_xaxes(rangemode="tozero")
    drawn.update_yaxes(title_text="validation accuracy", tickformat=".2~%")
    if info.floor is not None:
        high = max([point.accuracy + (point.std or 0) for point in info.points] + [info.dense[1] or 0])
        margin = 0.06 * max(high - info.floor, 0.01)
        drawn.update_yaxes(range=[info.floor - margin, high + margin])
    return drawn

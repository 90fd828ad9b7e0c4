"""Accuracy against what it costs: MACs, or what was measured. The figure that a search is made for."""

import math
from dataclasses import dataclass, replace

import pandas as pd
import plotly.graph_objects as go

from analysis.experiment import Experiment
from analysis.figures.style import (
    INK,
    control_colour,
    control_symbol,
    family_colour,
    figure,
    hover,
    sentence,
    shown,
)
from analysis.labels import Who, configuration, count, numbers_in, percentage, texts_in, who
from analysis.rank.ranking import OF_A_DEVICE
from analysis.tables.trials import number_of
from analysis.text import printable

# Trials that did not learn would squeeze all others into one line of the figure.
OUTER_FENCE = 3.0


@dataclass(frozen=True)
class Quantity:
    """What stands on the x axis. title: with its unit; scale: from the column's unit to that; unit: as in a text."""

    title: str
    scale: float
    unit: str

    def text(self, value: float) -> str:
        digits = max(0, 2 - math.floor(math.log10(value))) if 0 < value < 1e3 else 0
        return f"{value:,.{min(digits, 6)}f} {self.unit}"


SHARE = Quantity("MACs, % of the dense network's", 1.0, "% of the MACs")
MACS = Quantity("MACs, millions", 1e-6, "M MACs")
MEASURED = {
    "batch1_latency_ms": Quantity("latency of a batch of 1, ms", 1.0, "ms"),
    "batch32_latency_ms": Quantity("latency of a batch of 32, ms", 1.0, "ms"),
    "batch256_latency_ms": Quantity("latency of a batch of 256, ms", 1.0, "ms"),
    "test_seconds": Quantity("time for the whole test set, s", 1.0, "s"),
    "peak_memory_bytes": Quantity("peak memory on the test set, MiB", 2.0**-20, "MiB"),
    "mean_memory_bytes": Quantity("mean memory on the test set, MiB", 2.0**-20, "MiB"),
    "size_bytes": Quantity("size of the weights on disk, MB", 1e-6, "MB"),
}


@dataclass(frozen=True)
class Point:
    """A trial. x: in the axis' unit. accuracy: on the validation images, in [0, 1]; the mean of `seeds` repeats.

    std: their sample standard deviation, None for fewer than two; seeds: 0 for a trial that was never repeated.
    """

    who: Who
    x: float
    accuracy: float
    std: float | None
    seeds: int
    hover: str


@dataclass(frozen=True)
class AccuracyAgainst:
    """front: numbers of the points that none beats in both, by x. dense: (x, accuracy), either None if not known.

    floor: the accuracy below which points are left out of view, None where none is.
    """

    title: str
    note: str
    x_title: str
    points: tuple[Point, ...]
    front: tuple[int, ...]
    dense: tuple[float | None, float | None]
    floor: float | None


def accuracy_against_macs_info(experiment: Experiment) -> AccuracyAgainst:
    """Complete trials by MACs: in percent of the dense network's, in millions where those are not known."""
    ranked = experiment.rank()
    dense_macs = experiment.dense.macs if experiment.dense else math.nan
    if dense_macs > 0:
        quantity, xs, dense = SHARE, 100 * numbers_in(ranked, "macs") / dense_macs, 100.0
    else:
        quantity, xs, dense = MACS, MACS.scale * numbers_in(ranked, "macs"), math.nan
    info = _info(experiment, ranked, xs, quantity, dense)
    if not info.points:
        return replace(info, title="No trial is complete yet, so there is no accuracy to set against MACs.")
    return info


def accuracy_against_measured_info(experiment: Experiment, column: str = "batch256_latency_ms") -> AccuracyAgainst:
    """Complete trials by what was measured, on the one device that most of them were measured on.

    Raises ValueError, in one line, for a column that is not in MEASURED.
    """
    if column not in MEASURED:
        raise ValueError(f"`column` must be one of {', '.join(MEASURED)}, but got {column!r}")
    quantity = MEASURED[column]
    ranked = experiment.rank()
    devices = texts_in(ranked, "measured_on").where(numbers_in(ranked, column).notna())
    measured = ranked[devices.notna()]
    if measured.empty:
        text = f"Nothing has been measured yet, so there is no {quantity.title.split(',')[0]} to show."
        return AccuracyAgainst(text, "", quantity.title, (), (), (None, None), None)
    dense = number_of(experiment.dense_measure, column)
    where, note = "", ""
    if column in OF_A_DEVICE:
        counts = devices.value_counts()
        device = min(counts.index, key=lambda name: (-counts[name], name))
        where = f" On {printable(device)}."
        elsewhere = int((measured["measured_on"] != device).sum())
        if elsewhere:
            measured = measured[measured["measured_on"] == device]
            note = f" {count(elsewhere, 'trial')} measured on other devices not shown."
            dense = math.nan  # a median over all devices
    xs = quantity.scale * numbers_in(measured, column)
    info = _info(experiment, measured, xs, quantity, quantity.scale * dense)
    if not info.points:
        return replace(info, title="No trial that was measured has an accuracy, so there is nothing to compare.")
    return replace(info, title=info.title + where, note=info.note + note)


def accuracy_against_macs(experiment: Experiment) -> go.Figure:
    """Accuracy against MACs: trials by family, controls, the Pareto front and the dense network."""
    return _draw(accuracy_against_macs_info(experiment))


def accuracy_against_measured(experiment: Experiment, column: str = "batch256_latency_ms") -> go.Figure:
    """Accuracy against a measured column (see MEASURED): latency, time, memory or size, lower being better."""
    return _draw(accuracy_against_measured_info(experiment, column))


def _info(
    experiment: Experiment, ranked: pd.DataFrame, xs: pd.Series, quantity: Quantity, dense_x: float
) -> AccuracyAgainst:
    accuracies = numbers_in(ranked, "pruned_val_accuracy")
    deviations, seeds = numbers_in(ranked, "accuracy_std"), numbers_in(ranked, "seeds").fillna(0)
    points = []
    for number in ranked.index[xs.notna() & accuracies.notna()]:
        one, deviation = who(experiment.trials, int(number)), float(deviations[number])
        lines = (
            one.label,
            f"{percentage(accuracies[number])} of the validation images"
            + (f" ± {percentage(deviation)}" if not math.isnan(deviation) else ""),
            quantity.text(float(xs[number])),
            f"mean of {count(int(seeds[number]), 'repeat')}" if seeds[number] else "one seed",
            configuration(experiment.trials, int(number)),
        )
        std = None if math.isnan(deviation) else deviation
        points.append(Point(one, float(xs[number]), float(accuracies[number]), std, int(seeds[number]), hover(lines)))
    points.sort(key=lambda point: (point.x, -point.accuracy, point.who.number))
    accuracy = experiment.dense.val_accuracy if experiment.dense else math.nan
    dense = (None if math.isnan(dense_x) else dense_x, None if math.isnan(accuracy) else accuracy)
    floor = _floor([point.accuracy for point in points])
    front = _front(points)
    return AccuracyAgainst(
        title=_title(points, front, quantity) if points else "",
        note=_note(points, floor),
        x_title=quantity.title,
        points=tuple(points),
        front=front,
        dense=dense,
        floor=floor,
    )


def _front(points: list[Point]) -> tuple[int, ...]:
    """The points, ordered by x and then by accuracy downwards, that are better than all before them."""
    front: list[int] = []
    best = -math.inf
    for point in points:
        if point.accuracy > best:
            front.append(point.who.number)
            best = point.accuracy
    return tuple(front)


def _floor(accuracies: list[float]) -> float | None:
    """Tukey's lower outer fence, where something lies below it."""
    if not accuracies:
        return None
    quarter, three_quarters = pd.Series(accuracies).quantile([0.25, 0.75])
    fence = quarter - OUTER_FENCE * max(three_quarters - quarter, 0.01)
    inside = [accuracy for accuracy in accuracies if accuracy >= fence]
    return min(inside) if len(inside) < len(accuracies) else None


def _title(points: list[Point], front: tuple[int, ...], quantity: Quantity) -> str:
    on_front = [point.who for point in points if point.who.number in front]
    trials = [point for point in points if point.who.control is None]
    best = max(trials or points, key=lambda point: (point.accuracy, -point.x, -point.who.number))
    if len(on_front) == 1:
        title = f"{on_front[0].label} alone holds the Pareto front"
    else:
        held = sum(one.control is None for one in on_front)
        title = f"Alpha trials hold {held} of {len(on_front)} places on the Pareto front"
    kind = "alpha trial" if trials else "control"
    return f"{title}; the best {kind} ({best.who.label}) has {percentage(best.accuracy)} at {quantity.text(best.x)}."


def _note(points: list[Point], floor: float | None) -> str:
    confirmed = sum(point.seeds > 0 for point in points)
    if not confirmed:
        note = "One seed each (hollow), so small differences may be noise."
    else:
        note = "Hollow: one seed. Filled: mean of the repeats with other seeds ± their standard deviation."
    below = sum(floor is not None and point.accuracy < floor for point in points)
    if floor is not None:
        note += f" {count(below, 'trial')} below {percentage(floor, 1)} out of view; a double click shows all."
    return note


def _draw(info: AccuracyAgainst) -> go.Figure:
    if not info.points:
        return sentence(info.title)
    drawn = figure(info.title, info.note)
    of_number = {point.who.number: point for point in info.points}
    front = [of_number[number] for number in info.front]
    drawn.add_scatter(
        x=[point.x for point in front],
        y=[point.accuracy for point in front],
        mode="lines",
        line={"color": "#999999", "width": 1.5, "shape": "hv"},
        name="Pareto front",
        hoverinfo="skip",
    )
    for group in sorted({_group(point) for point in info.points}):
        first = True
        for confirmed in (False, True):
            of_group = [p for p in info.points if _group(p) == group and (p.seeds > 0) == confirmed]
            if of_group:
                drawn.add_trace(_marks(of_group, group, confirmed, first))
                first = False
    _draw_dense(drawn, info)
    drawn.update_xaxes(title_text=info.x_title, rangemode="tozero")
    drawn.update_yaxes(title_text="validation accuracy", tickformat=".2~%")
    if info.floor is not None:
        high = max([point.accuracy + (point.std or 0) for point in info.points] + [info.dense[1] or 0])
        margin = 0.06 * max(high - info.floor, 0.01)
        drawn.update_yaxes(range=[info.floor - margin, high + margin])
    return drawn


def _draw_dense(drawn: go.Figure, info: AccuracyAgainst) -> None:
    """A line at the dense network's accuracy, and its place on it; not at its MACs, which are far to the right."""
    x, accuracy = info.dense
    if accuracy is None:
        return
    drawn.add_hline(
        y=accuracy,
        line={"color": INK, "width": 1, "dash": "dot"},
        annotation={
            **{"text": f"dense network {percentage(accuracy)}", "font": {"color": INK, "size": 11}},
            **{"x": 0, "xanchor": "left", "yanchor": "bottom", "showarrow": False},
        },
    )
    if x is not None and info.x_title != SHARE.title:
        drawn.add_scatter(
            x=[x],
            y=[accuracy],
            mode="markers",
            marker={"symbol": "star", "size": 13, "color": INK},
            name="dense network",
            hovertemplate=f"dense network, {percentage(accuracy)}<br>{info.x_title}: {x:,.4g}<extra></extra>",
        )


def _group(point: Point) -> tuple[bool, str]:
    return point.who.control is not None, point.who.control or point.who.family or "schedule unknown"


def _marks(points: list[Point], group: tuple[bool, str], confirmed: bool, in_legend: bool) -> go.Scatter:
    is_control, name = group
    colour = control_colour(name) if is_control else family_colour(name)
    return go.Scatter(
        x=[point.x for point in points],
        y=[point.accuracy for point in points],
        error_y={
            "array": [point.std for point in points],
            "visible": any(point.std is not None for point in points),
            **{"color": colour, "thickness": 1.2, "width": 4},
        },
        mode="markers",
        marker={
            "symbol": control_symbol(name) if is_control else "circle",
            "size": 9,
            "color": colour if confirmed else "rgba(255, 255, 255, 0.7)",
            "line": {"color": colour, "width": 2},
        },
        name=shown(f"control: {name}" if is_control else name),
        legendgroup=shown(f"{is_control} {name}"),
        showlegend=in_legend,
        hovertext=[point.hover for point in points],
        hovertemplate="%{hovertext}<extra></extra>",
    )

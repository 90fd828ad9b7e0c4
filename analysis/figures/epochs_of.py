"""Accuracy, alpha and learning rate over the epochs of a few trials, with the cut marked."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from analysis.experiment import Experiment
from analysis.figures.style import control_colour, family_colour, figure, sentence, shade, shown
from analysis.labels import Who, chosen, count, known, percentage

# Which columns a panel shows, from above; the second of a panel is dotted.
PANELS = (
    ("validation accuracy", ("pruned_val_accuracy", "val_accuracy")),
    ("training accuracy", ("train_accuracy",)),
    ("alpha", ("alpha",)),
    ("learning rate", ("lr",)),
)
COLUMNS = tuple(column for _, columns in PANELS for column in columns)
_HEIGHTS = [0.42, 0.24, 0.17, 0.17]


@dataclass(frozen=True)
class Curves:
    """One trial. series: for each of COLUMNS what it was in `epochs`, None where unknown.

    cut: how many epochs were before it (0 for a one-shot cut); None as long as there was none.
    """

    who: Who
    epochs: tuple[int, ...]
    series: dict[str, tuple[float | None, ...]]
    cut: int | None


@dataclass(frozen=True)
class EpochsOf:
    title: str
    note: str
    curves: tuple[Curves, ...]


def epochs_of_info(experiment: Experiment, numbers: Sequence[int] | None = None) -> EpochsOf:
    """The epochs of these trials; by default of the best of each family and the best control.

    Trials without an epoch are left out. Raises ValueError, in one line, for a number that no trial has.
    """
    whos = chosen(experiment, numbers)
    of_number = dict(
        iter(experiment.epochs[experiment.epochs["number"].isin([one.number for one in whos])].groupby("number"))
    )
    curves = tuple(_curves(one, of_number[one.number]) for one in whos if one.number in of_number)
    if not curves:
        what = "No trial is complete yet" if numbers is None else "The trials have no epochs yet"
        return EpochsOf(f"{what}, so there are no epochs to show.", "", ())
    note = "Solid: if the cut were made now. Dotted: at today's alpha. Vertical: the cut."
    return EpochsOf(_title(curves), note, curves)


def epochs_of(experiment: Experiment, numbers: Sequence[int] | None = None) -> go.Figure:
    """Curves over the epochs of a few trials, in panels one above another."""
    info = epochs_of_info(experiment, numbers)
    if not info.curves:
        return sentence(info.title)
    drawn = figure(info.title, info.note, height=740)
    drawn.set_subplots(rows=len(PANELS), shared_xaxes=True, row_heights=_HEIGHTS, vertical_spacing=0.035)
    colours = _colours([curves.who for curves in info.curves])
    for row, (panel, columns) in enumerate(PANELS, start=1):
        for curves, colour in zip(info.curves, colours, strict=True):
            for column in columns:
                dotted = column != columns[0]
                value = f"{column.replace('_', ' ')} %{{y:{'.2%' if 'accuracy' in column else '.3g'}}}"
                drawn.add_scatter(
                    **{"row": row, "col": 1, "x": curves.epochs, "y": curves.series[column]},
                    mode="lines" if len(curves.epochs) > 1 else "markers",
                    line={"color": colour, "width": 1.2 if dotted else 2, "dash": "dot" if dotted else "solid"},
                    name=shown(curves.who.label),
                    legendgroup=str(curves.who.number),
                    showlegend=row == 1 and not dotted,
                    hovertemplate=f"%{{fullData.name}}<br>epoch %{{x}}: {value}<extra></extra>",
                )
        drawn.update_yaxes(title_text=panel, row=row)
    drawn.update_yaxes(tickformat=".0%", row=1)
    drawn.update_yaxes(tickformat=".0%", row=2)
    drawn.update_yaxes(range=[-0.05, 1.05], row=3)
    drawn.update_yaxes(type="log", exponentformat="power", dtick=1, row=4)
    drawn.update_xaxes(title_text="epoch", row=len(PANELS))
    for curves, colour in zip(info.curves, colours, strict=True):
        if curves.cut is not None:
            line = {"color": colour, "width": 1, "dash": "dash"}
            drawn.add_shape(type="line", x0=curves.cut + 0.5, x1=curves.cut + 0.5, y0=0, y1=1, yref="paper", line=line)
    return drawn


def _curves(one: Who, epochs: pd.DataFrame) -> Curves:
    values = {column: known(epochs[column]) for column in COLUMNS}
    behind_cut = (epochs["phase"] == "retrain").to_numpy()
    cut = int(behind_cut.argmax()) if behind_cut.any() else None
    return Curves(one, tuple(epochs["epoch"].tolist()), values, cut)


def _title(curves: tuple[Curves, ...]) -> str:
    ends = [(end, each.who) for each in curves if (end := each.series["pruned_val_accuracy"][-1]) is not None]
    title = f"How accuracy, alpha and learning rate went in {count(len(curves), 'trial')}"
    if not ends:
        return f"{title}."
    end, best = max(ends, key=lambda pair: (pair[0], -pair[1].number))
    return f"{title}: {best.label} {'ends' if len(ends) == 1 else 'ends highest,'} at {percentage(end)}."


def _colours(whos: list[Who]) -> list[str]:
    """The families' colours, in shades where several trials are of one."""
    plain = [family_colour(one.family) if one.control is None else control_colour(one.control) for one in whos]
    return [shade(colour, plain[:index].count(colour), plain.count(colour)) for index, colour in enumerate(plain)]

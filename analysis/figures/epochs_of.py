"""Accuracy, alpha and learning rate over the epochs of a few trials, with the cut marked."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from analysis.columns import COLUMNS
from analysis.experiment import Experiment
from analysis.figures.selection import choose_trials
from analysis.figures.style import FigureInfo, blank_figure, literal_text, sentence_figure, step_line, trial_colours
from analysis.labels import TrialLabel
from analysis.rank.ranking import sort_best_first
from analysis.text import format_count, format_percent

# Which columns a panel shows, from above; the second of a panel is dotted.
PANELS = (("pruned_val_accuracy", "val_accuracy"), ("train_accuracy",), ("alpha",), ("lr",))
SERIES = tuple(name for names in PANELS for name in names)
# What stays as it is within an epoch; the learning rate is the epoch's mean.
STEPS = ("alpha", "lr")
_HEIGHTS = [0.42, 0.24, 0.17, 0.17]


@dataclass(frozen=True)
class TrialCurves:
    """One trial. series: each of SERIES in `epochs`, None where unknown.

    cut: how many epochs were before it (0 for a one-shot cut); None as long as there was none.
    """

    trial: TrialLabel
    epochs: tuple[int, ...]
    series: dict[str, tuple[float, ...]]
    cut: int | None


@dataclass(frozen=True)
class EpochsOfInfo(FigureInfo):
    curves: tuple[TrialCurves, ...] = ()


def epochs_of_info(experiment: Experiment, numbers: Sequence[int] | None = None) -> EpochsOfInfo:
    """The epochs of these trials; by default of the best of each family and the best control.

    Trials without an epoch are left out. Raises ValueError, in one line, for a number that no trial has.
    """
    trials = choose_trials(experiment, numbers)
    shown = experiment.epochs.index.isin([trial.number for trial in trials])
    of_number = dict(iter(experiment.epochs[shown].groupby("number")))
    curves = tuple(_trial_curves(trial, of_number[trial.number]) for trial in trials if trial.number in of_number)
    if not curves:
        nothing = "No trial is complete yet" if numbers is None else "These trials have no epochs yet"
        return EpochsOfInfo(f"{nothing}, so there are no curves to show.")
    note = "Solid: if the cut were made now. Dotted: at the epoch's alpha. Dashed, vertical: the cut."
    return EpochsOfInfo(_write_title(experiment, curves), note, curves)


def epochs_of(experiment: Experiment, numbers: Sequence[int] | None = None) -> go.Figure:
    """Curves over the epochs of a few trials, in panels one above another."""
    info = epochs_of_info(experiment, numbers)
    if not info.curves:
        return sentence_figure(info.title)
    drawn = blank_figure(info.title, info.note, height=740)
    drawn.set_subplots(rows=len(PANELS), shared_xaxes=True, row_heights=_HEIGHTS, vertical_spacing=0.035)
    colours = trial_colours([curves.trial for curves in info.curves])
    for row, names in enumerate(PANELS, start=1):
        for curves, colour in zip(info.curves, colours, strict=True):
            for name in names:
                dotted = name != names[0]
                value = f"{COLUMNS[name].label} %{{y:{'.2%' if COLUMNS[name].kind == 'fraction' else '.3g'}}}"
                steps = name in STEPS
                points = {"x": curves.epochs, "y": curves.series[name]}
                drawn.add_scatter(
                    **{"row": row, "col": 1} | (step_line(curves.epochs, curves.series[name]) if steps else points),
                    mode="lines" if steps or len(curves.epochs) > 1 else "markers",
                    line={"color": colour, "width": 1.2 if dotted else 2, "dash": "dot" if dotted else "solid"},
                    line_shape="hv" if steps else "linear",
                    name=literal_text(curves.trial.text),
                    meta=curves.trial.number,
                    legendgroup=str(curves.trial.number),
                    showlegend=row == 1 and not dotted,
                    hovertemplate=f"%{{fullData.name}}<br>epoch %{{x}}: {value}<extra></extra>",
                )
        drawn.update_yaxes(title_text=COLUMNS[names[0]].label, row=row)
    drawn.update_yaxes(tickformat=".0%", row=1)
    drawn.update_yaxes(tickformat=".0%", row=2)
    drawn.update_yaxes(range=[-0.05, 1.05], row=3)
    drawn.update_yaxes(type="log", exponentformat="power", dtick=1, row=4)
    drawn.update_xaxes(title_text="epoch", row=len(PANELS))
    drawn.update_xaxes(range=[0, max(curves.epochs[-1] for curves in info.curves) + 0.1])
    for curves, colour in zip(info.curves, colours, strict=True):
        if curves.cut is not None:
            line = {"color": colour, "width": 1, "dash": "dash"}
            drawn.add_shape(type="line", x0=curves.cut, x1=curves.cut, y0=0, y1=1, yref="paper", line=line)
    return drawn


def _trial_curves(trial: TrialLabel, epochs: pd.DataFrame) -> TrialCurves:
    series = {name: tuple(epochs[name].tolist()) for name in SERIES}
    after_cut = (epochs["phase"] == "retrain").to_numpy()
    cut = int(after_cut.argmax()) if after_cut.any() else None
    return TrialCurves(trial, tuple(epochs["epoch"].tolist()), series, cut)


def _write_title(experiment: Experiment, curves: tuple[TrialCurves, ...]) -> str:
    ends = [(each.series["pruned_val_accuracy"][-1], each.trial) for each in curves]
    title = f"Accuracy, alpha and learning rate in {format_count(len(curves), 'trial')}"
    if len(ends) == 1:
        return f"{title}; it ends at {format_percent(ends[0][0])}."
    # Of equals the better in the ranking, as everywhere.
    places = {number: place for place, number in enumerate(sort_best_first(experiment.ranked).index)}
    end, best = max(ends, key=lambda pair: (pair[0], -places.get(pair[1].number, len(places))))
    return f"{title}; of these runs, {best} ends highest, at {format_percent(end)}."

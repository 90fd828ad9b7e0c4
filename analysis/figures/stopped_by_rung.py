"""What early stopping stopped, and when: stopped trials beside those that continued."""

from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from analysis.columns import iterate_rows
from analysis.experiment import Experiment
from analysis.figures.selection import thin_out
from analysis.figures.style import FigureInfo, blank_figure, hover_text, sentence_figure
from analysis.labels import label_row, select_kinds
from analysis.text import format_count, format_percent

STOPPED, CONTINUED = "#D55E00", "#0072B2"
# Marks lie side by side, or those of about the same accuracy would hide one another.
SPREAD = (0.0, 0.06, -0.06)
MOST_MARKS = 200


@dataclass(frozen=True)
class RungMark:
    """A trial's accuracy if the cut were made at the epoch of a rung."""

    number: int
    accuracy: float
    hover: str


@dataclass(frozen=True)
class StoppingRung:
    """stopped: after `epoch`; continued: trials of the search with later epochs. Only those whose accuracy is known."""

    epoch: int
    stopped: tuple[RungMark, ...]
    continued: tuple[RungMark, ...]


@dataclass(frozen=True)
class StoppedByRungInfo(FigureInfo):
    """rungs: the epochs after which trials were stopped, in order."""

    rungs: tuple[StoppingRung, ...] = ()


def stopped_by_rung_info(experiment: Experiment) -> StoppedByRungInfo:
    """Stopped trials by the epoch after which they were stopped; controls, branches and repeats never are."""
    trials = select_kinds(experiment.trials, "searched")
    stopped = trials[(trials["state"] == "stopped") & (trials["epochs_done"] > 0)]
    if stopped.empty:
        return StoppedByRungInfo("No trial was stopped early.")
    epochs = experiment.epochs[experiment.epochs["pruned_val_accuracy"].notna()]
    ends = sorted(set(stopped["epochs_done"]))
    rungs = [_read_rung(trials, epochs[epochs["epoch"] == epoch], int(epoch)) for epoch in ends]
    counts = stopped["epochs_done"].value_counts()
    where = ", ".join(f"{counts[rung.epoch]:,} at epoch {rung.epoch}" for rung in rungs)
    title = f"{len(stopped):,} of {format_count(len(trials), 'trial')} stopped early: {where}."
    note = "Validation accuracy if the cut were made at that epoch."
    if max(len(marks) for rung in rungs for marks in (rung.stopped, rung.continued)) > MOST_MARKS:
        note += f" Only about {MOST_MARKS} marks of each kind are drawn, evenly by accuracy."
    return StoppedByRungInfo(title, note, tuple(rungs))


def stopped_by_rung(experiment: Experiment) -> go.Figure:
    """Accuracy at each rung of the trials stopped there (crosses) and of those that continued (rings)."""
    info = stopped_by_rung_info(experiment)
    if not info.rungs:
        return sentence_figure(info.title)
    drawn = blank_figure(info.title, info.note)
    looks = (("stopped", STOPPED, "x", -0.16), ("continued", CONTINUED, "circle-open", 0.16))
    for name, colour, symbol, offset in looks:
        marks = [
            (index + offset + SPREAD[place % len(SPREAD)], mark)
            for index, rung in enumerate(info.rungs)
            for place, mark in enumerate(_thin_marks(getattr(rung, name)))
        ]
        drawn.add_scatter(
            x=[x for x, _ in marks],
            y=[mark.accuracy for _, mark in marks],
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 9},
            name=name,
            customdata=[mark.number for _, mark in marks],
            hovertext=[mark.hover for _, mark in marks],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    counts = [(rung.epoch, len(rung.stopped), len(rung.continued)) for rung in info.rungs]
    labels = [f"epoch {epoch}<br>{stopped} stopped<br>{continued} continued" for epoch, stopped, continued in counts]
    places = list(range(len(labels)))
    drawn.update_xaxes(tickvals=places, ticktext=labels, range=[-0.5, len(labels) - 0.5], showgrid=False)
    drawn.update_yaxes(title_text="validation accuracy, if cut", tickformat=".2~%")
    return drawn


def _thin_marks(marks: tuple[RungMark, ...]) -> list[RungMark]:
    by_accuracy = sorted(marks, key=lambda mark: mark.accuracy)
    return [by_accuracy[place] for place in thin_out(len(marks), MOST_MARKS)]


def _read_rung(trials: pd.DataFrame, epochs: pd.DataFrame, epoch: int) -> StoppingRung:
    """The rung at `epoch`, of which `epochs` are the rows."""
    accuracies = epochs["pruned_val_accuracy"]
    stopped: list[RungMark] = []
    continued: list[RungMark] = []
    for number, row in iterate_rows(trials[trials.index.isin(accuracies.index)]):
        lines = [label_row(number, row).text, f"{format_percent(accuracies[number])} at epoch {epoch}"]
        mark = RungMark(number, accuracies[number], hover_text(lines))
        if row["epochs_done"] > epoch:
            continued.append(mark)
        elif row["state"] == "stopped":
            stopped.append(mark)
    return StoppingRung(epoch, tuple(stopped), tuple(continued))

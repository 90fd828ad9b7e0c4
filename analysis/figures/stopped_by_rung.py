"""What early stopping stopped, and when: stopped trials beside those that continued."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from analysis.columns import iterate_rows
from analysis.experiment import Experiment
from analysis.figures.style import blank_figure, hover_text, sentence_figure
from analysis.labels import label_row, select_kinds
from analysis.text import format_count, format_percent

STOPPED, CONTINUED = "#D55E00", "#0072B2"
# Marks lie side by side, or those of about the same accuracy would hide one another.
SPREAD = (0.0, 0.06, -0.06)


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
class StoppedByRungInfo:
    """rungs: the epochs after which trials were stopped, in order."""

    title: str
    rungs: tuple[StoppingRung, ...]


def stopped_by_rung_info(experiment: Experiment) -> StoppedByRungInfo:
    """Stopped trials by the epoch after which they were stopped; controls, branches and repeats never are."""
    trials = select_kinds(experiment.trials, "searched")
    stopped = trials[(trials["state"] == "stopped") & (trials["epochs_done"] > 0)]
    if stopped.empty:
        return StoppedByRungInfo("No trial was stopped early.", ())
    epochs = experiment.epochs[experiment.epochs["pruned_val_accuracy"].notna()]
    ends = sorted(set(stopped["epochs_done"]))
    rungs = tuple(_read_rung(trials, epochs[epochs["epoch"] == epoch], epoch) for epoch in ends)
    counts = stopped["epochs_done"].value_counts()
    where = ", ".join(f"{counts[rung.epoch]} at epoch {rung.epoch}" for rung in rungs)
    return StoppedByRungInfo(f"{len(stopped):,} of {format_count(len(trials), 'trial')} stopped early: {where}.", rungs)


def stopped_by_rung(experiment: Experiment) -> go.Figure:
    """Accuracy at each rung of the trials stopped there (crosses) and of those that continued (rings)."""
    info = stopped_by_rung_info(experiment)
    if not info.rungs:
        return sentence_figure(info.title)
    drawn = blank_figure(info.title, "Validation accuracy if the cut were made at that epoch.")
    stopped, continued = zip(*((rung.stopped, rung.continued) for rung in info.rungs), strict=True)
    for name, of_rungs, colour, symbol, offset in (
        ("stopped", stopped, STOPPED, "x", -0.16),
        ("continued", continued, CONTINUED, "circle-open", 0.16),
    ):
        marks = [
            (index + offset + SPREAD[place % len(SPREAD)], mark)
            for index, of_rung in enumerate(of_rungs)
            for place, mark in enumerate(sorted(of_rung, key=lambda mark: mark.accuracy))
        ]
        drawn.add_scatter(
            x=[x for x, _ in marks],
            y=[mark.accuracy for _, mark in marks],
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 9},
            name=name,
            hovertext=[mark.hover for _, mark in marks],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    labels = [
        f"epoch {rung.epoch}<br>{len(rung.stopped)} stopped<br>{len(rung.continued)} continued" for rung in info.rungs
    ]
    drawn.update_xaxes(
        tickvals=list(range(len(info.rungs))), ticktext=labels, range=[-0.5, len(info.rungs) - 0.5], showgrid=False
    )
    drawn.update_yaxes(title_text="validation accuracy, if cut", tickformat=".2~%")
    return drawn


def _read_rung(trials: pd.DataFrame, epochs: pd.DataFrame, epoch: int) -> StoppingRung:
    """The rung at `epoch`, of which `epochs` are the rows."""
    accuracies = epochs.drop_duplicates("number").set_index("number")["pruned_val_accuracy"]
    reached = trials.assign(at_rung=accuracies.reindex(trials.index))
    reached = reached[reached["at_rung"].notna()]
    stopped = reached[(reached["epochs_done"] == epoch) & (reached["state"] == "stopped")]
    continued = reached[reached["epochs_done"] > epoch]
    return StoppingRung(int(epoch), *(tuple(_rung_marks(group, epoch)) for group in (stopped, continued)))


def _rung_marks(trials: pd.DataFrame, epoch: int) -> Iterator[RungMark]:
    for number, row in iterate_rows(trials):
        lines = [label_row(number, row).text, f"{format_percent(row['at_rung'])} at epoch {epoch}"]
        yield RungMark(number, row["at_rung"], hover_text(lines))

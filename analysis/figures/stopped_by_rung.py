"""What early stopping stopped, and when: stopped trials beside those that went on."""

from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from analysis.experiment import Experiment
from analysis.figures.style import figure, hover, sentence
from analysis.labels import count, percentage, searched, who

STOPPED, WENT_ON = "#D55E00", "#0072B2"
# Marks side by side, or those of about the same accuracy would hide one another.
SPREAD = (0.0, 0.06, -0.06)


@dataclass(frozen=True)
class At:
    """A trial's accuracy if the cut were made at the epoch of a rung."""

    number: int
    accuracy: float
    hover: str


@dataclass(frozen=True)
class Rung:
    """stopped: behind `epoch`; went_on: trials of the search with later epochs. Only such whose accuracy is known."""

    epoch: int
    stopped: tuple[At, ...]
    went_on: tuple[At, ...]


@dataclass(frozen=True)
class StoppedByRung:
    """stopped: how many of the `of` trials of the search that ended or run; a rung is an epoch that some stopped at."""

    title: str
    rungs: tuple[Rung, ...]


def stopped_by_rung_info(experiment: Experiment) -> StoppedByRung:
    """Stopped trials by the epoch behind which they were stopped; controls, branches and repeats never are."""
    trials = searched(experiment.trials)
    stopped = trials[(trials["state"] == "stopped") & (trials["epochs_done"] > 0)]
    if stopped.empty:
        return StoppedByRung("No trial was stopped early.", ())
    epochs = experiment.epochs[experiment.epochs["number"].isin(trials.index)]
    rungs = []
    for rung in sorted(set(stopped["epochs_done"].tolist())):
        at = epochs[(epochs["epoch"] == rung) & epochs["pruned_val_accuracy"].notna()].drop_duplicates("number")
        accuracies = at.set_index("number")["pruned_val_accuracy"]
        ended = set(stopped.index[stopped["epochs_done"] == rung])
        later = set(trials.index[trials["epochs_done"] > rung])

        def marks(numbers: set[int], accuracies: "pd.Series[float]" = accuracies, rung: int = rung) -> tuple[At, ...]:
            return tuple(
                At(
                    int(number),
                    float(accuracy),
                    hover([who(trials, int(number)).label, f"{percentage(accuracy)} at epoch {rung}"]),
                )
                for number, accuracy in accuracies.items()
                if number in numbers
            )

        rungs.append(Rung(int(rung), marks(ended), marks(later)))
    counts = stopped["epochs_done"].value_counts()
    listed = ", ".join(f"{counts[rung.epoch]} at epoch {rung.epoch}" for rung in rungs)
    return StoppedByRung(f"{count(len(stopped), 'trial')} of {len(trials)} stopped early: {listed}.", tuple(rungs))


def stopped_by_rung(experiment: Experiment) -> go.Figure:
    """Accuracy at each rung of what was stopped there (crosses) and of what went on (rings)."""
    info = stopped_by_rung_info(experiment)
    if not info.rungs:
        return sentence(info.title)
    drawn = figure(info.title, "At an epoch that trials were stopped at: the accuracy if the cut were made then.")
    for name, colour, symbol, offset in (("stopped", STOPPED, "x", -0.16), ("went on", WENT_ON, "circle-open", 0.16)):
        marks = [
            (index + offset + SPREAD[place % len(SPREAD)], at)
            for index, rung in enumerate(info.rungs)
            for place, at in enumerate(sorted(_at(rung, name), key=lambda at: at.accuracy))
        ]
        drawn.add_scatter(
            x=[x for x, _ in marks],
            y=[at.accuracy for _, at in marks],
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 9},
            name=name,
            hovertext=[at.hover for _, at in marks],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    labels = [
        f"epoch {rung.epoch}<br>{len(rung.stopped)} stopped<br>{len(rung.went_on)} went on" for rung in info.rungs
    ]
    drawn.update_xaxes(
        tickvals=list(range(len(info.rungs))), ticktext=labels, range=[-0.5, len(info.rungs) - 0.5], showgrid=False
    )
    drawn.update_yaxes(title_text="validation accuracy, if cut", tickformat=".2~%")
    return drawn


def _at(rung: Rung, name: str) -> tuple[At, ...]:
    return rung.stopped if name == "stopped" else rung.went_on

"""The curve of alpha that the best trial of each family had."""

from dataclasses import dataclass

import plotly.graph_objects as go

from analysis.experiment import Experiment
from analysis.figures.style import family_colour, figure, sentence, shown
from analysis.labels import Who, chosen, count, known, percentage


@dataclass(frozen=True)
class AlphaCurve:
    """alpha: in each of `epochs`; epoch 0 is the dense network. accuracy: of the trial's end, on validation images."""

    who: Who
    epochs: tuple[int, ...]
    alpha: tuple[float | None, ...]
    accuracy: float


@dataclass(frozen=True)
class AlphaCurves:
    """cut: behind how many epochs the last of the curves was cut."""

    title: str
    curves: tuple[AlphaCurve, ...]
    cut: int


def alpha_curves_info(experiment: Experiment) -> AlphaCurves:
    """The most accurate complete trial of each family, controls left out."""
    accuracies = experiment.rank()["pruned_val_accuracy"]
    curves = []
    last_cut = 0
    for one in chosen(experiment):
        if one.control is not None:
            continue
        rows = experiment.epochs[experiment.epochs["number"] == one.number]
        alpha = (1.0, *known(rows["alpha"]))
        curves.append(AlphaCurve(one, (0, *rows["epoch"].tolist()), alpha, float(accuracies[one.number])))
        last_cut = max(last_cut, int((rows["phase"] == "alpha").sum()))
    if not curves:
        return AlphaCurves("No trial with an alpha schedule is complete yet, so there is no curve to show.", (), 0)
    best = max(curves, key=lambda curve: (curve.accuracy, -curve.who.number))
    of_each = "the one family" if len(curves) == 1 else "each family"
    title = f"How alpha fell in the best trial of {of_each} tried; the most accurate is {best.who.label}, "
    title += f"{percentage(best.accuracy)}."
    return AlphaCurves(title, tuple(curves), last_cut)


def alpha_curves(experiment: Experiment) -> go.Figure:
    """Alpha against the epoch, a line a family."""
    info = alpha_curves_info(experiment)
    if not info.curves:
        return sentence(info.title)
    drawn = figure(
        info.title, f"1 is the dense network, 0 the pruned one; the last is cut after {count(info.cut, 'epoch')}."
    )
    for curve in info.curves:
        drawn.add_scatter(
            x=curve.epochs,
            y=curve.alpha,
            mode="lines+markers",
            line={"color": family_colour(curve.who.family), "width": 2},
            marker={"size": 5},
            name=shown(curve.who.label),
            hovertemplate="%{fullData.name}<br>epoch %{x}: alpha %{y:.3g}<extra></extra>",
        )
    drawn.update_xaxes(title_text="epoch", range=[-0.3, info.cut + 1.5])
    drawn.update_yaxes(title_text="alpha", range=[-0.03, 1.03])
    return drawn

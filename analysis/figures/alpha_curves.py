"""The curve of alpha that the best trial of each family had."""

from dataclasses import dataclass

import plotly.graph_objects as go

from analysis.experiment import Experiment
from analysis.figures.selection import choose_trials
from analysis.figures.style import FigureInfo, blank_figure, literal_text, sentence_figure, step_line, trial_colour
from analysis.labels import TrialLabel
from analysis.rank.ranking import sort_best_first
from analysis.text import format_count, format_percent


@dataclass(frozen=True)
class AlphaCurve:
    """alpha: in each of `epochs`; epoch 0 is the dense network. accuracy: the trial's, on the validation images."""

    trial: TrialLabel
    epochs: tuple[int, ...]
    alpha: tuple[float, ...]
    accuracy: float


@dataclass(frozen=True)
class AlphaCurvesInfo(FigureInfo):
    """curves: the best trial's first. cut: after how many epochs the last of the curves was cut."""

    curves: tuple[AlphaCurve, ...] = ()
    cut: int = 0


def alpha_curves_info(experiment: Experiment) -> AlphaCurvesInfo:
    """The best complete trial of each family, controls left out."""
    accuracies = sort_best_first(experiment.ranked)["pruned_val_accuracy"]
    curves = []
    last_cut = 0
    for trial in choose_trials(experiment):
        if trial.control is None:
            rows = experiment.epochs[experiment.epochs.index == trial.number]
            alpha = (1.0, *rows["alpha"])
            curves.append(AlphaCurve(trial, (0, *rows["epoch"].tolist()), alpha, float(accuracies[trial.number])))
            last_cut = max(last_cut, int((rows["phase"] == "alpha").sum()))
    if not curves:
        return AlphaCurvesInfo("No trial with an alpha schedule is complete yet, so there is no curve to show.")
    of_each = "the only family tried" if len(curves) == 1 else "each family"
    best = f"{curves[0].trial} with a validation accuracy of {format_percent(curves[0].accuracy)}"
    title = f"How alpha fell in the best trial of {of_each}; the best of all is {best}."
    note = f"1 is the dense network, 0 the pruned one; the last cut is after {format_count(last_cut, 'epoch')}."
    return AlphaCurvesInfo(title, note, tuple(curves), last_cut)


def alpha_curves(experiment: Experiment) -> go.Figure:
    """Alpha against the epoch, a line for each family."""
    info = alpha_curves_info(experiment)
    if not info.curves:
        return sentence_figure(info.title)
    drawn = blank_figure(info.title, info.note)
    for curve in info.curves:
        drawn.add_scatter(
            **step_line(curve.epochs, curve.alpha),
            mode="lines",
            line={"color": trial_colour(curve.trial), "width": 2, "shape": "hv"},
            name=literal_text(curve.trial.text),
            meta=curve.trial.number,
            hovertemplate="%{fullData.name}<br>after epoch %{x}: alpha %{y:.3g}<extra></extra>",
        )
    drawn.update_xaxes(title_text="epoch", range=[0, max(curve.epochs[-1] for curve in info.curves)])
    drawn.update_yaxes(title_text="alpha", range=[-0.03, 1.03])
    return drawn

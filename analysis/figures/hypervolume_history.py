"""How the search's Pareto front grew: the hypervolume of its complete trials, from trial to trial."""

import math
import warnings
from dataclasses import dataclass

import plotly.graph_objects as go

from analysis.experiment import Experiment
from analysis.figures.style import FAMILY_COLOURS, FigureInfo, blank_figure, sentence_figure
from analysis.labels import spell
from analysis.rank.hypervolume import default_reference
from analysis.rank.ranking import split_direction
from analysis.text import format_count, join_words


@dataclass(frozen=True)
class HypervolumeHistoryInfo(FigureInfo):
    """values: after each complete trial of the search, as a fraction of the largest possible, in [0, 1]."""

    values: tuple[float, ...] = ()


def hypervolume_history_info(experiment: Experiment) -> HypervolumeHistoryInfo:
    """Optuna's hypervolume history, its reference an accuracy of 0 at the dense network's MACs (or parameters).

    Of the training cost it is the most that a trial can cost: that of epochs of the dense network.
    The largest possible hypervolume is an accuracy of 1 at no cost. A search with one objective has no front.
    """
    import optuna

    try:
        study = experiment.searched_study
    except ValueError as error:
        return HypervolumeHistoryInfo(f"The size of the Pareto front is unknown: {error}.")
    objectives = study.metric_names or []
    if len(objectives) < 2:
        return HypervolumeHistoryInfo("The search had only one objective, so it has no Pareto front.")
    costs = [name for name in objectives if split_direction(name)[1]]
    dense = {name: getattr(experiment.dense, name, math.nan) for name in costs}
    if "training_cost" in dense:
        [dense["training_cost"]] = default_reference(experiment.ranked, ["training_cost"])
    worst = [dense.get(name, 0.0) for name in objectives]
    most = math.prod(dense.values())
    if not most > 0:
        return HypervolumeHistoryInfo("The dense network's costs are unknown, and so is the size of the Pareto front.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        drawn = optuna.visualization.plot_hypervolume_history(study, worst)
    values = tuple(float(value) / most for value in drawn.data[0].y)
    if not values:
        return HypervolumeHistoryInfo("No trial of the search is complete yet, so there is no Pareto front.")
    after = f"After {format_count(len(values), 'complete trial')}"
    title = f"{after} the Pareto front covers {values[-1]:.3f} of the largest possible hypervolume."
    at = [
        f"a training cost of {dense[name]:.0f} dense epochs"
        if name == "training_cost"
        else f"the dense network's {spell(name)}"
        for name in costs
    ]
    note = f"1 = 100% accuracy at zero cost; 0 = 0% accuracy at {join_words(at)}."
    return HypervolumeHistoryInfo(title, note, values)


def hypervolume_history(experiment: Experiment) -> go.Figure:
    """The hypervolume after each complete trial of the search, in the order of their numbers."""
    info = hypervolume_history_info(experiment)
    if not info.values:
        return sentence_figure(info.title)
    drawn = blank_figure(info.title, info.note, height=320)
    drawn.add_scatter(
        x=list(range(1, len(info.values) + 1)),
        y=info.values,
        mode="lines+markers" if len(info.values) < 60 else "lines",
        line={"color": FAMILY_COLOURS["exponential"], "width": 2, "shape": "hv"},
        hovertemplate="after %{x} trials: %{y:.4f}<extra></extra>",
    )
    drawn.update_xaxes(title_text="complete trials of the search", rangemode="tozero")
    drawn.update_yaxes(title_text="hypervolume, share of the largest", rangemode="nonnegative")
    return drawn

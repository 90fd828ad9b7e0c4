"""How the search's front grew: the hypervolume of its complete trials, from trial to trial."""

import math
import warnings
from dataclasses import dataclass

import plotly.graph_objects as go

from analysis.experiment import Experiment
from analysis.figures.style import FAMILY_COLOURS, figure, sentence
from analysis.labels import count
from analysis.optuna_study import study_of


@dataclass(frozen=True)
class HypervolumeHistory:
    """values: behind each complete trial of the search, as a share of the most there can be, in [0, 1]."""

    title: str
    note: str
    values: tuple[float, ...]


def hypervolume_history_info(experiment: Experiment) -> HypervolumeHistory:
    """Optuna's hypervolume history, its reference an accuracy of 0 at the dense network's MACs (or parameters).

    The most there can be is an accuracy of 1 for nothing. A search for one objective has no front.
    """
    import optuna

    try:
        study = study_of(experiment)
    except ValueError as error:
        return HypervolumeHistory(f"The size of the front is not known: {error}.", "", ())
    objectives = study.metric_names or []
    if len(objectives) < 2:
        return HypervolumeHistory("The search had one objective, so it has no front that could grow.", "", ())
    rising = [direction is optuna.study.StudyDirection.MAXIMIZE for direction in study.directions]
    costs = [name for name, up in zip(objectives, rising, strict=True) if not up]
    worst = [
        0.0 if up else getattr(experiment.dense, name, math.nan) for name, up in zip(objectives, rising, strict=True)
    ]
    most = math.prod(getattr(experiment.dense, name, math.nan) for name in costs)
    if not most > 0:
        unknown = f"The dense network's {' and '.join(costs)} are not known, so neither is the size of the front."
        return HypervolumeHistory(unknown, "", ())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        drawn = optuna.visualization.plot_hypervolume_history(study, worst)
    values = tuple(float(value) / most for value in drawn.data[0].y)
    if not values:
        return HypervolumeHistory("No trial of the search is complete yet, so there is no front.", "", ())
    covered = f"{values[-1]:.3f}"
    title = f"After {count(len(values), 'complete trial')} the front covers {covered} of all that there could be."
    note = f"1 would be an accuracy of 100 % for nothing, 0 is one of 0 % at the dense network's {' and '.join(costs)}."
    return HypervolumeHistory(title, note, values)


def hypervolume_history(experiment: Experiment) -> go.Figure:
    """The hypervolume behind each complete trial of the search, in the order of their numbers."""
    info = hypervolume_history_info(experiment)
    if not info.values:
        return sentence(info.title)
    drawn = figure(info.title, info.note, height=320)
    drawn.add_scatter(
        x=list(range(1, len(info.values) + 1)),
        y=info.values,
        mode="lines+markers" if len(info.values) < 60 else "lines",
        line={"color": FAMILY_COLOURS["exponential"], "width": 2, "shape": "hv"},
        hovertemplate="after %{x} trials: %{y:.4f}<extra></extra>",
    )
    drawn.update_xaxes(title_text="complete trials of the search", rangemode="tozero")
    drawn.update_yaxes(title_text="hypervolume, share of the most", rangemode="nonnegative")
    return drawn

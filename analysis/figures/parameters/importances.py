"""Which searched parameters decided whether a trial was among the best."""

import math
import random
import statistics
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from analysis.experiment import Experiment
from analysis.figures.style import MUTED, FigureInfo, blank_figure, literal_text, sentence_figure
from analysis.optuna_study import quiet_optuna
from analysis.text import format_count, format_percent

if TYPE_CHECKING:
    import optuna

# PED-ANOVA looks at the best tenth; with fewer trials that is a single one, which says nothing.
FEWEST = 20
# Trials of a resample, and how many resamples there are: more of either takes seconds.
MOST_RESAMPLED, RESAMPLES = 150, 12


@dataclass(frozen=True)
class ImportancesInfo(FigureInfo):
    """importances: of each parameter, most important first; they sum to 1. errors: the standard error of each."""

    importances: tuple[tuple[str, float], ...] = ()
    errors: tuple[float, ...] = ()


def importances_info(experiment: Experiment) -> ImportancesInfo:
    """Optuna's conditional PED-ANOVA (Watanabe et al., IJCAI 2023) of the best tenth of the complete trials.

    The best are those nearest to the front where there are several objectives. A parameter that only some trials have
    (a family's rate) counts where it was sampled. With fewer than FEWEST complete trials there are no importances.
    """
    import optuna

    try:
        study = experiment.searched_study
    except ValueError as error:
        return ImportancesInfo(f"Which parameters matter is unknown: {error}.")
    trials = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(trials) < FEWEST:
        few = f"{format_count(len(trials), 'complete trial')} cannot show which parameters matter"
        return ImportancesInfo(f"{few}: at least {FEWEST} are needed.")
    try:
        found = _evaluate_importances(study)
    except (ValueError, RuntimeError) as error:
        return ImportancesInfo(f"Which parameters matter is unknown: {error}.")
    ordered = tuple(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))
    if not ordered:
        return ImportancesInfo("No parameter varied in this search, so none matters more than another.")
    name, value = ordered[0]
    errors = _estimate_errors(study, trials, [name for name, _ in ordered])
    share = f"{format_percent(value, 0)} ± {format_percent(errors[0], 0)}"
    title = f"{name} matters most: it has {share} of the importance over {len(trials)} trials."
    note = "PED-ANOVA: how far it sets the best tenth of the trials apart, not which values are best. Whiskers: ± one "
    note += "standard error, from resampled trials; where they overlap, the order is open."
    return ImportancesInfo(title, note, ordered, errors)


def _evaluate_importances(study: "optuna.Study") -> dict[str, float]:
    import optuna

    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    with warnings.catch_warnings():
        # That it is experimental, and that parameters which few trials have weigh little.
        warnings.simplefilter("ignore")
        return optuna.importance.get_param_importances(study, evaluator=evaluator)


def _estimate_errors(
    study: "optuna.Study", trials: list["optuna.trial.FrozenTrial"], names: list[str]
) -> tuple[float, ...]:
    """Standard errors from the bootstrap: how far importances spread when as many trials are drawn with replacement.

    Of very many trials fewer are drawn, and the spread is scaled by the root of how many fewer.
    """
    import optuna

    draw, size = random.Random(0), min(len(trials), MOST_RESAMPLED)
    # A study copies what it is given; the rest of a trial plays no part.
    bare = [
        optuna.trial.create_trial(values=trial.values, params=trial.params, distributions=trial.distributions)
        for trial in draw.sample(trials, min(len(trials), RESAMPLES * size))
    ]
    spreads: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(RESAMPLES):
        with quiet_optuna():
            resample = optuna.create_study(directions=study.directions)
            resample.add_trials(draw.choices(bare, k=size))
        found = _evaluate_importances(resample)
        for name, values in spreads.items():
            values.append(found.get(name, 0.0))
    scale = math.sqrt(size / len(trials))
    return tuple(scale * statistics.stdev(values) for values in spreads.values())


def importances(experiment: Experiment) -> go.Figure:
    """Parameter importances as bars, the most important on top."""
    info = importances_info(experiment)
    if not info.importances:
        return sentence_figure(info.title)
    drawn = blank_figure(info.title, info.note, height=60 + 24 * len(info.importances))
    bars = info.importances[::-1]
    drawn.add_bar(
        x=[value for _, value in bars],
        # By index: two names that are equal once cut short would share a bar.
        y=list(range(len(bars))),
        orientation="h",
        marker={"color": "#4C78A8"},
        error_x={"array": info.errors[::-1], "color": MUTED, "thickness": 1.2, "width": 4},
        hovertext=[literal_text(name) for name, _ in bars],
        hovertemplate="%{hovertext}: %{x:.1%} ± %{error_x.array:.1%}<extra></extra>",
    )
    labels = [literal_text(name, 30) for name, _ in bars]
    drawn.update_yaxes(tickvals=list(range(len(bars))), ticktext=labels, ticks="", showgrid=False)
    drawn.update_xaxes(title_text="share of the importance", tickformat=".0%", rangemode="tozero")
    return drawn

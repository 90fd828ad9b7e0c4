"""Which searched parameters decided whether a trial was among the best."""

import warnings
from dataclasses import dataclass

import plotly.graph_objects as go

from analysis.experiment import Experiment
from analysis.figures.style import FigureInfo, blank_figure, literal_text, sentence_figure
from analysis.text import format_count, format_percent

# PED-ANOVA looks at the best tenth; with fewer trials that is a single one, which says nothing.
FEWEST = 20


@dataclass(frozen=True)
class ImportancesInfo(FigureInfo):
    """importances: of each parameter, most important first; they sum to 1."""

    importances: tuple[tuple[str, float], ...] = ()


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
    complete = len(study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)))
    if complete < FEWEST:
        few = f"{format_count(complete, 'complete trial')} cannot show which parameters matter"
        return ImportancesInfo(f"{few}: at least {FEWEST} are needed.")
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    with warnings.catch_warnings():
        # That it is experimental, and that parameters which few trials have weigh little.
        warnings.simplefilter("ignore")
        try:
            found = optuna.importance.get_param_importances(study, evaluator=evaluator)
        except (ValueError, RuntimeError) as error:
            return ImportancesInfo(f"Which parameters matter is unknown: {error}.")
    ordered = tuple(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))
    if not ordered:
        return ImportancesInfo("No parameter varied in this search, so none matters more than another.")
    name, value = ordered[0]
    title = f"{name} matters most: it has {format_percent(value, 0)} of the importance over {complete} trials."
    note = "PED-ANOVA: how far it sets the best tenth of the trials apart, not which values are best."
    return ImportancesInfo(title, note, ordered)


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
        hovertext=[literal_text(name) for name, _ in bars],
        hovertemplate="%{hovertext}: %{x:.1%}<extra></extra>",
    )
    labels = [literal_text(name, 30) for name, _ in bars]
    drawn.update_yaxes(tickvals=list(range(len(bars))), ticktext=labels, ticks="", showgrid=False)
    drawn.update_xaxes(title_text="share of the importance", tickformat=".0%", rangemode="tozero")
    return drawn

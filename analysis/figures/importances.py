"""Which searched parameters decided whether a trial was among the best."""

import warnings
from dataclasses import dataclass

import plotly.graph_objects as go

from analysis.experiment import Experiment
from analysis.figures.style import figure, sentence, shown
from analysis.labels import count, percentage
from analysis.optuna_study import study_of

# PED-ANOVA looks at the best tenth; of fewer trials that is one, which tells nothing.
FEWEST = 20


@dataclass(frozen=True)
class Importances:
    """importances: of each parameter, most important first; they sum to 1."""

    title: str
    note: str
    importances: tuple[tuple[str, float], ...]


def importances_info(experiment: Experiment) -> Importances:
    """Optuna's conditional PED-ANOVA (Watanabe et al., IJCAI 2023) of the best tenth of the complete trials.

    The best are those nearest to the front where there are several objectives. A parameter that only some trials have
    (a family's rate) counts where it was asked for. Fewer than FEWEST complete trials give no importances.
    """
    import optuna

    try:
        study = study_of(experiment)
    except ValueError as error:
        return Importances(f"Which parameters matter cannot be told: {error}.", "", ())
    complete = len(study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)))
    if complete < FEWEST:
        few = f"{count(complete, 'complete trial')} of the search cannot tell which parameters matter"
        return Importances(f"{few}; it takes at least {FEWEST}.", "", ())
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    with warnings.catch_warnings():
        # That it is experimental, and that parameters which few trials have weigh little.
        warnings.simplefilter("ignore")
        try:
            found = optuna.importance.get_param_importances(study, evaluator=evaluator)
        except (ValueError, RuntimeError) as error:
            return Importances(f"Which parameters matter cannot be told: {error}.", "", ())
    ordered = tuple(
        sorted(((name, float(value)) for name, value in found.items()), key=lambda pair: (-pair[1], pair[0]))
    )
    if not ordered:
        return Importances("The search had no parameter that varied, so none is more important.", "", ())
    name, value = ordered[0]
    title = f"What most tells the best tenth of {complete} trials from the others: {name} ({percentage(value, 0)})."
    return Importances(title, "PED-ANOVA importance; it says how much a parameter matters, not which way.", ordered)


def importances(experiment: Experiment) -> go.Figure:
    """Parameter importances as bars, the most important on top."""
    info = importances_info(experiment)
    if not info.importances:
        return sentence(info.title)
    drawn = figure(info.title, info.note, height=60 + 24 * len(info.importances))
    bars = info.importances[::-1]
    drawn.add_bar(
        x=[value for _, value in bars],
        # Equal once cut short, two names would be one bar.
        y=list(range(len(bars))),
        orientation="h",
        marker={"color": "#4C78A8"},
        hovertext=[shown(name) for name, _ in bars],
        hovertemplate="%{hovertext}: %{x:.1%}<extra></extra>",
    )
    labels = [shown(name, 30) for name, _ in bars]
    drawn.update_yaxes(tickvals=list(range(len(bars))), ticktext=labels, ticks="", showgrid=False)
    drawn.update_xaxes(title_text="share of the importance", tickformat=".0%", rangemode="tozero")
    return drawn

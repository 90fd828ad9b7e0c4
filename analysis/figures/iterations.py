"""Training and validation accuracy of successive iterations, as in the report that this project comes from.

An iteration is a branch, which continues an earlier trial with other settings, or, where there are no branches, a
restart of the learning rate in one trial.
"""

import json
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from analysis.experiment import Experiment
from analysis.figures.style import (
    FAINT,
    INK,
    MUTED,
    OTHER_COLOUR,
    FigureInfo,
    blank_figure,
    literal_text,
    sentence_figure,
    shade_colour,
    trial_colour,
)
from analysis.labels import TrialLabel, label_trial
from analysis.rank.ranking import sort_best_first
from analysis.text import format_percent, join_words

RESTARTING = "stagnation_restart"


@dataclass(frozen=True)
class Iteration:
    """epochs: counted on from iteration to iteration, 1-based; accuracies in [0, 1]."""

    label: str
    epochs: tuple[int, ...]
    train_accuracy: tuple[float, ...]
    val_accuracy: tuple[float, ...]


@dataclass(frozen=True)
class IterationsInfo(FigureInfo):
    """cuts: after how many of the counted epochs channels were removed. trial: of the first iteration."""

    trial: TrialLabel | None = None
    iterations: tuple[Iteration, ...] = ()
    cuts: tuple[int, ...] = ()


def iterations_info(experiment: Experiment) -> IterationsInfo:
    """The newest branch with its ancestors and their other branches, each with the epochs of its own.

    Where there is no branch: the best trial whose learning rate restarts at stagnation, from restart to restart.
    """
    iterations: list[Iteration] = []
    cuts: list[int] = []
    counted = 0
    parts = [part for part in _family_parts(experiment) or _restart_parts(experiment) if not part[1].empty]
    for label, rows in parts:
        before, counted = counted, counted + len(rows)
        whole = experiment.epochs[experiment.epochs.index == rows.index[0]]
        first_retrained = whole["epoch"][whole["phase"] == "retrain"].min()
        cuts += [before + index for index, epoch in enumerate(rows["epoch"]) if epoch == first_retrained]
        accuracies = (tuple(rows[name].tolist()) for name in ("train_accuracy", "val_accuracy"))
        iterations.append(Iteration(label, tuple(range(before + 1, counted + 1)), *accuracies))
    if not parts:
        nothing = "No trial has been branched and none restarts its learning rate, so there are no iterations to show."
        return IterationsInfo(nothing)
    note = "Solid: validation. Dotted: training (with augmentation). Both at the epoch's alpha."
    first = label_trial(experiment.trials, parts[0][1].index[0])
    return IterationsInfo(_write_title(iterations), note, first, tuple(iterations), tuple(cuts))


def iterations(experiment: Experiment) -> go.Figure:
    """Training and validation accuracy of the iterations, one after another."""
    info = iterations_info(experiment)
    if not info.iterations:
        return sentence_figure(info.title)
    drawn = blank_figure(info.title, info.note, height=420)
    steps = len(info.iterations)
    plain = OTHER_COLOUR if info.trial is None else trial_colour(info.trial)
    for step, iteration in enumerate(info.iterations):
        # The last iteration, the result, is darkest.
        colour = shade_colour(plain, steps - 1 - step, steps)
        for name, values in (("validation", iteration.val_accuracy), ("training", iteration.train_accuracy)):
            line = {"width": 2.2, "dash": "solid"} if name == "validation" else {"width": 1.5, "dash": "dot"}
            drawn.add_scatter(
                x=iteration.epochs,
                y=values,
                mode="lines" if len(values) > 1 else "markers",
                line={"color": colour} | line,
                name=f"{step + 1}: {literal_text(iteration.label)}",
                legendgroup=str(step),
                showlegend=name == "validation",
                hovertemplate=f"%{{fullData.name}}<br>epoch %{{x}}: {name} %{{y:.2%}}<extra></extra>",
            )
        if step:
            drawn.add_vline(x=iteration.epochs[0] - 1, line={"color": FAINT, "width": 1})
        drawn.add_annotation(
            **{"x": (iteration.epochs[0] - 1 + iteration.epochs[-1]) / 2, "y": 1, "yref": "paper", "yanchor": "bottom"},
            **{"text": str(step + 1), "font": {"color": INK, "size": 12}, "showarrow": False},
        )
    for cut in info.cuts:
        drawn.add_vline(
            x=cut,
            line={"color": MUTED, "width": 1, "dash": "dash"},
            annotation={"text": "cut", "y": 0, "yanchor": "bottom", "xanchor": "left", "showarrow": False},
        )
    drawn.update_xaxes(title_text="epoch, counted over all iterations", rangemode="tozero")
    drawn.update_yaxes(title_text="validation and training accuracy", tickformat=".0%")
    return drawn


def _family_parts(experiment: Experiment) -> list[tuple[str, pd.DataFrame]]:
    """Labels and epochs of the newest branch's root and all its descendants, in the order of their numbers."""
    trials = experiment.trials
    known = trials["parent"][trials["parent"].isin(trials.index)].astype("int64")
    parents: dict[int, int] = dict(zip(known.index.tolist(), known.tolist(), strict=True))
    if not parents:
        return []
    ancestors = [max(parents)]
    # A record can claim to be its own grandparent.
    while (parent := parents.get(ancestors[-1])) is not None and parent not in ancestors:
        ancestors.append(parent)
    root = ancestors[-1]
    members, newest = {root}, {root}
    while newest:
        newest = {child for child, parent in parents.items() if parent in newest} - members
        members |= newest
    parts = []
    for number in [root, *sorted(members - {root})]:
        rows = experiment.epochs[experiment.epochs.index == number]
        label = label_trial(trials, number).text
        if number != root and (inherited := _inherited_alphas(trials, number)):
            label += f" from alpha {inherited[-1]:.3g}"
            rows = rows[rows["epoch"] > len(inherited)]
        parts.append((label, rows))
    return parts


def _inherited_alphas(trials: pd.DataFrame, number: int) -> list[float]:
    """Alpha in each epoch that a branch took over from its parent; none where the record does not say."""
    try:
        alphas = json.loads(str(trials.loc[number].get("begun")))
    except (TypeError, ValueError, RecursionError):
        return []
    sound = isinstance(alphas, list) and all(isinstance(alpha, int | float) for alpha in alphas)
    return alphas if sound else []


def _restart_parts(experiment: Experiment) -> list[tuple[str, pd.DataFrame]]:
    """The best complete trial with the policy RESTARTING, else the one with most epochs, split at its restarts."""
    trials = experiment.trials[experiment.trials["lr.policy"] == RESTARTING]
    best = sort_best_first(experiment.ranked[experiment.ranked["lr.policy"] == RESTARTING])
    for number in [*best.index, *trials.sort_values("epochs_done", ascending=False).index][:1]:
        rows = experiment.epochs[experiment.epochs.index == number]
        starts = (rows["phase"] != rows["phase"].shift()) | (rows["lr"] > rows["lr"].shift())
        return [
            (
                f"{'alpha phase, ' if part['phase'].iloc[0] == 'alpha' else ''}learning rate {part['lr'].iloc[0]:.3g}",
                part,
            )
            for _, part in rows.groupby(starts.cumsum())
        ]
    return []


def _write_title(iterations: list[Iteration]) -> str:
    accuracies = join_words([format_percent(iteration.val_accuracy[-1]) for iteration in iterations])
    if len(iterations) == 1:
        return f"A single iteration, which ended at a validation accuracy of {accuracies}."
    return f"{len(iterations)} iterations, which ended at validation accuracies of {accuracies}."

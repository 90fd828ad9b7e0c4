"""Training and validation accuracy of successive iterations, as in the report that this project comes from.

An iteration is a branch, which goes on from an earlier trial with other settings, or, where there are no branches, a
restart of the learning rate in one trial.
"""

import json
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from analysis.experiment import Experiment
from analysis.figures.style import INK, MUTED, family_colour, figure, sentence, shade, shown
from analysis.labels import known, numbers_in, percentage, who

RESTARTING = "stagnation_restart"


@dataclass(frozen=True)
class Iteration:
    """epochs: counted on from iteration to iteration, 1-based; accuracies in [0, 1], None where unknown."""

    label: str
    epochs: tuple[int, ...]
    train_accuracy: tuple[float | None, ...]
    val_accuracy: tuple[float | None, ...]


@dataclass(frozen=True)
class Iterations:
    """cuts: behind how many of the counted epochs channels were removed. family: of the first iteration."""

    title: str
    note: str
    family: str | None
    iterations: tuple[Iteration, ...]
    cuts: tuple[int, ...]


def iterations_info(experiment: Experiment) -> Iterations:
    """The newest branch with its forebears and their other branches, each with the epochs of its own.

    Where there is no branch: the best trial whose learning rate restarts at stagnation, from restart to restart.
    """
    parents = numbers_in(experiment.trials, "parent").dropna()
    known_parents = parents[parents.isin(experiment.trials.index)].astype("int64")
    if len(known_parents):
        parts = _family(experiment, dict(zip(known_parents.index.tolist(), known_parents.tolist(), strict=True)))
    else:
        parts = _restarts(experiment)
    iterations: list[Iteration] = []
    cuts: list[int] = []
    family = None
    counted = 0
    for number, label, rows in parts:
        if rows.empty:
            continue
        family = family or who(experiment.trials, number).family
        before, counted = counted, counted + len(rows)
        retrained = _rows(experiment, number).query("phase == 'retrain'")["epoch"]
        cuts += [before + index for index, epoch in enumerate(rows["epoch"]) if epoch == retrained.min()]
        epochs = tuple(range(before + 1, counted + 1))
        iterations.append(Iteration(label, epochs, known(rows["train_accuracy"]), known(rows["val_accuracy"])))
    if not iterations:
        nothing = "No trial has been branched, and none restarts its learning rate, so there are no iterations to show."
        return Iterations(nothing, "", None, (), ())
    note = "Solid: validation. Dotted: training (with augmentation). Accuracy at the alpha of the epoch."
    return Iterations(_title(iterations), note, family, tuple(iterations), tuple(cuts))


def iterations(experiment: Experiment) -> go.Figure:
    """Training and validation accuracy of the iterations, one after another."""
    info = iterations_info(experiment)
    if not info.iterations:
        return sentence(info.title)
    drawn = figure(info.title, info.note, height=420)
    steps = len(info.iterations)
    for step, iteration in enumerate(info.iterations):
        # The last iteration, what came out, is darkest.
        colour = shade(family_colour(info.family), steps - 1 - step, steps)
        for name, values, dash in (
            ("validation", iteration.val_accuracy, "solid"),
            ("training", iteration.train_accuracy, "dot"),
        ):
            drawn.add_scatter(
                x=iteration.epochs,
                y=values,
                mode="lines" if len(values) > 1 else "markers",
                line={"color": colour, "width": 2.2 if name == "validation" else 1.5, "dash": dash},
                name=f"{step + 1}: {shown(iteration.label)}",
                legendgroup=str(step),
                showlegend=name == "validation",
                hovertemplate=f"%{{fullData.name}}<br>epoch %{{x}}: {name} %{{y:.2%}}<extra></extra>",
            )
        if step:
            drawn.add_vline(x=iteration.epochs[0] - 0.5, line={"color": "#BBBBBB", "width": 1})
        drawn.add_annotation(
            **{"x": (iteration.epochs[0] + iteration.epochs[-1]) / 2, "y": 1, "yref": "paper", "yanchor": "bottom"},
            **{"text": str(step + 1), "font": {"color": INK, "size": 12}, "showarrow": False},
        )
    for cut in info.cuts:
        drawn.add_vline(
            x=cut + 0.5,
            line={"color": MUTED, "width": 1, "dash": "dash"},
            annotation={"text": "cut", "y": 0, "yanchor": "bottom", "xanchor": "left", "showarrow": False},
        )
    drawn.update_xaxes(title_text="epoch, counted over all iterations", rangemode="tozero")
    drawn.update_yaxes(title_text="accuracy", tickformat=".0%")
    return drawn


def _family(experiment: Experiment, parents: dict[int, int]) -> list[tuple[int, str, pd.DataFrame]]:
    """The newest branch's root and all that descends from it, in the order of their numbers."""
    root = max(parents)
    seen = {root}
    # A record can claim to be its own grandparent.
    while root in parents and parents[root] not in seen:
        root = parents[root]
        seen.add(root)
    members, newest = {root}, {root}
    while newest:
        newest = {child for child, parent in parents.items() if parent in newest} - members
        members |= newest
    parts = []
    for number in [root, *sorted(members - {root})]:
        rows = _rows(experiment, number)
        label = f"trial {who(experiment.trials, number).label}"
        if number != root:
            begun = _begun(experiment.trials, number)
            label = f"trial {number}, from {parents[number]}" + (f" at alpha {begun[-1]:.3g}" if begun else "")
            rows = rows[rows["epoch"] > len(begun)]
        parts.append((number, label, rows))
    return parts


def _begun(trials: pd.DataFrame, number: int) -> list[float]:
    """Alpha of each epoch that a branch has from its parent; none where the record does not say."""
    try:
        begun = json.loads(str(trials.loc[number].get("begun")))
    except (TypeError, ValueError, RecursionError):
        return []
    sound = isinstance(begun, list) and all(isinstance(alpha, int | float) for alpha in begun)
    return begun if sound else []


def _restarts(experiment: Experiment) -> list[tuple[int, str, pd.DataFrame]]:
    """The best complete trial with the policy RESTARTING, else the one that came furthest, cut at its restarts."""
    trials = experiment.trials
    trials = trials[trials["policy"] == RESTARTING]
    if trials.empty:
        return []
    ranked = experiment.rank(by="pruned_val_accuracy")
    ranked = ranked[(ranked["policy"] == RESTARTING) & ranked["pruned_val_accuracy"].notna()]
    number = (ranked.index if len(ranked) else trials.sort_values("epochs_done", ascending=False).index).tolist()[0]
    rows = _rows(experiment, number)
    starts = (rows["phase"] != rows["phase"].shift()) | (rows["lr"] > rows["lr"].shift())
    parts = []
    for _, part in rows.groupby(starts.cumsum()):
        alpha_phase = part["phase"].iloc[0] == "alpha"
        rate = f"learning rate {part['lr'].iloc[0]:.3g}"
        parts.append((number, f"alpha phase, {rate}" if alpha_phase else rate, part))
    return parts


def _rows(experiment: Experiment, number: int) -> pd.DataFrame:
    return experiment.epochs[experiment.epochs["number"] == number]


def _title(iterations: list[Iteration]) -> str:
    ends = [end for iteration in iterations if (end := iteration.val_accuracy[-1]) is not None]
    if not ends:
        return f"Accuracy of {len(iterations)} iterations."
    if len(iterations) == 1:
        return f"One iteration, which ended at a validation accuracy of {percentage(ends[0])}."
    listed = ", ".join(percentage(end) for end in ends)
    return f"{len(iterations)} iterations ended at validation accuracies of {listed}."

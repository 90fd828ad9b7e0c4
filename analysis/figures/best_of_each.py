"""The best trial of each alpha family, or of each learning-rate policy, side by side at each amount cut."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

import pandas as pd
import plotly.graph_objects as go

from analysis.columns import iterate_rows, number_of
from analysis.experiment import Experiment
from analysis.figures.style import (
    FAMILY_COLOURS,
    HOLLOW,
    INK,
    FigureInfo,
    blank_figure,
    control_symbol,
    hover_text,
    literal_text,
    sentence_figure,
    trial_colour,
)
from analysis.labels import TrialLabel, label_row, select_kinds, spell
from analysis.rank.intervals import mean_margin
from analysis.rank.ranking import sort_best_first
from analysis.text import format_count, format_percent, format_share, join_words

# Of a space whose amounts are a range, only those with the most trials are shown.
MOST_AMOUNTS = 6
_ROW_PIXELS, _GAP_PIXELS = 30, 74


@dataclass(frozen=True)
class GroupBest:
    """The best trial of a group by its own run, of `tried` trials that were complete or stopped early.

    repeated: the best of those that were repeated, if any was. All accuracies are on the validation images, in [0, 1].
    """

    group: str
    tried: int
    best: TrialLabel
    accuracy: float
    repeated: "RepeatedBest | None"


@dataclass(frozen=True)
class RepeatedBest:
    """A trial and its repeats. seeds: how many. mean: of their accuracies. margin: of the mean (mean_margin)."""

    trial: TrialLabel
    seeds: int
    mean: float
    margin: float


@dataclass(frozen=True)
class BestOfEachInfo(FigureInfo):
    """amounts: what was to be cut, as people say it, each with its groups, the most accurate first."""

    amounts: tuple[tuple[str, tuple[GroupBest, ...]], ...] = ()


def best_of_each_family_info(experiment: Experiment) -> BestOfEachInfo:
    """The best of each family that was searched, and the one-shot control, at each amount."""
    trials = experiment.trials
    control = (trials["kind"] == "control") & (trials["control"] == "one_shot")
    families = trials["alpha.family"].map(spell, na_action="ignore").where(trials["kind"] == "searched")
    return _build_info(experiment, families.mask(control, f"{spell('one_shot')} (control)"), "alpha family")


def best_of_each_policy_info(experiment: Experiment) -> BestOfEachInfo:
    """The best trial of the search with each learning-rate policy at each amount."""
    trials = experiment.trials
    policies = trials["lr.policy"].map(spell, na_action="ignore").where(trials["kind"] == "searched")
    return _build_info(experiment, policies, "learning-rate policy")


def best_of_each_family(experiment: Experiment) -> go.Figure:
    """A panel for each amount, with a row for each family: its best run, and the mean over seeds where there is one."""
    return _draw_figure(best_of_each_family_info(experiment), by_family=True)


def best_of_each_policy(experiment: Experiment) -> go.Figure:
    """The same with a row for each learning-rate policy."""
    return _draw_figure(best_of_each_policy_info(experiment), by_family=False)


def _build_info(experiment: Experiment, groups: "pd.Series[str]", what: str) -> BestOfEachInfo:
    """groups: of each trial, NaN for those that are not shown; what: they are."""
    trials = experiment.trials.assign(group=groups)
    trials = trials[trials["state"].isin(["complete", "stopped"])]
    repeats = select_kinds(trials, "repeat")
    shown: dict[tuple[float, str], dict[str, list[int]]] = {}
    for number, row in iterate_rows(trials[trials["group"].notna()]):
        amount, of = number_of(row, "pruning.amount"), row.get("pruning.of")
        if amount > 0 and isinstance(of, str):
            shown.setdefault((amount, of), {}).setdefault(row["group"], []).append(number)
    most = sorted(shown, key=lambda amount: -sum(map(len, shown[amount].values())))[:MOST_AMOUNTS]
    amounts = []
    for amount, of in sorted(most):
        found = [_find_best(name, trials.loc[numbers], repeats) for name, numbers in shown[amount, of].items()]
        bests = sorted(filter(None, found), key=lambda one: (-one.accuracy, one.group))
        if bests:
            amounts.append((f"{format_share(amount)} fewer {spell(of)}", tuple(bests)))
    if not amounts:
        return BestOfEachInfo(f"No trial of the search is complete yet, so no {what} can be compared.")
    note = "Hollow: the best single run; in brackets how many trials were tried, as the best of more is luckier."
    if any(one.repeated for _, bests in amounts for one in bests):
        note += " Filled: the mean over the seeds of the best that was repeated ± its 95% interval."
    if len(shown) > len(most):
        note += f" Shown are the {len(most)} amounts with the most trials."
    return BestOfEachInfo(_write_title(amounts, what), note, tuple(amounts))


def _find_best(group: str, trials: pd.DataFrame, repeats: pd.DataFrame) -> GroupBest | None:
    """Of a group's trials, complete or stopped; None where no accuracy is known."""
    best = sort_best_first(trials[trials["state"] == "complete"])
    if best.empty:
        return None
    number, row = next(iterate_rows(best))
    repeats = repeats[(repeats["state"] == "complete") & repeats["pruned_val_accuracy"].notna()]
    repeated: RepeatedBest | None = None
    for original, its in iterate_rows(best[best.index.isin(repeats["confirms"])].head(1)):
        values = repeats.loc[repeats["confirms"] == original, "pruned_val_accuracy"].tolist()
        repeated = RepeatedBest(label_row(original, its), len(values), mean(values), mean_margin(values))
    return GroupBest(group, len(trials), label_row(number, row), row["pruned_val_accuracy"], repeated)


def _write_title(amounts: Sequence[tuple[str, Sequence[GroupBest]]], what: str) -> str:
    """Which group has the most accurate single run at each amount."""
    leads: dict[str, list[str]] = {}
    for amount, (first, *_) in amounts:
        leads.setdefault(first.group, []).append(amount)
    clauses = [f"{group} leads at {join_words(of)}" for group, of in leads.items()]
    return f"By the best single run of each {what}, {'; '.join(clauses)}."


def _draw_figure(info: BestOfEachInfo, *, by_family: bool) -> go.Figure:
    if not info.amounts:
        return sentence_figure(info.title)
    rows = [len(bests) for _, bests in info.amounts]
    height = sum(rows) * _ROW_PIXELS + len(rows) * _GAP_PIXELS
    drawn = blank_figure(info.title, info.note, height=height)
    drawn.set_subplots(
        **{
            "rows": len(rows),
            "cols": 1,
            "row_heights": rows,
            "subplot_titles": [literal_text(amount) for amount, _ in info.amounts],
            "vertical_spacing": 0 if len(rows) == 1 else _GAP_PIXELS / height,
        }
    )
    for panel, (_, bests) in enumerate(info.amounts, start=1):
        for place, one in enumerate(reversed(bests)):
            colour = trial_colour(one.best) if by_family else FAMILY_COLOURS["exponential"]
            common = {"y": [place], "mode": "markers", "showlegend": False}
            common |= {"hovertext": [hover_text(_describe(one))], "hovertemplate": "%{hovertext}<extra></extra>"}
            marker = {"size": 9, "symbol": control_symbol(one.best), "line": {"color": colour, "width": 2}}
            drawn.add_scatter(
                row=panel,
                col=1,
                x=[one.accuracy],
                marker={**marker, "color": HOLLOW},
                customdata=[one.best.number],
                **common,
            )
            if one.repeated is not None:
                margin = None if math.isnan(one.repeated.margin) else one.repeated.margin
                drawn.add_scatter(
                    row=panel,
                    col=1,
                    x=[one.repeated.mean],
                    error_x={"array": [margin], "color": colour, "thickness": 1.5, "width": 5},
                    marker={**marker, "color": colour},
                    customdata=[one.repeated.trial.number],
                    **common,
                )
        drawn.update_yaxes(
            row=panel,
            col=1,
            tickvals=list(range(len(bests))),
            ticktext=[literal_text(f"{one.group} ({one.tried})", 30) for one in reversed(bests)],
            **{"range": [-0.6, len(bests) - 0.4], "ticks": "", "showgrid": False},
        )
        drawn.update_xaxes(row=panel, col=1, tickformat=".2~%")
    drawn.update_annotations(font={"size": 12, "color": INK}, x=0, xanchor="left")
    drawn.update_xaxes(row=len(rows), col=1, title_text="validation accuracy")
    return drawn


def _describe(one: GroupBest) -> tuple[str, ...]:
    repeats = ""
    if again := one.repeated:
        interval = "" if math.isnan(again.margin) else f" ± {format_percent(again.margin)}"
        repeats = f"{format_percent(again.mean)}{interval} over {format_count(again.seeds, 'seed')}"
        repeats = f"{'' if again.trial == one.best else f'{again.trial.text}, '}repeated: {repeats}"
    return (
        f"{one.group}: the best of {format_count(one.tried, 'trial')}",
        f"{one.best.text}, {format_percent(one.accuracy)} of the validation images",
        repeats,
    )

"""Which trials a figure shows, and what it says of their configurations."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.experiment import Experiment
from analysis.labels import TrialLabel, label_trial, spell
from analysis.rank.ranking import sort_best_first

OUTER_FENCE = 3.0


def choose_trials(experiment: Experiment, numbers: Sequence[int] | None = None) -> tuple[TrialLabel, ...]:
    """The trials of these numbers; by default the best complete one of each family and the best control.

    Raises ValueError, in one line, for a number that no trial has.
    """
    trials = experiment.trials
    if numbers is None:
        best = sort_best_first(experiment.ranked)
        with_schedule = best[best["control"].isna()].drop_duplicates("alpha.family")
        numbers = [*with_schedule.index, *best.index[best["control"].notna()][:1]]
    for number in numbers:
        if number not in trials.index:
            there = f"there are {trials.index.min()} to {trials.index.max()}" if len(trials) else "there are none yet"
            raise ValueError(f"`numbers` must be those of trials ({there}), but got {number}")
    return tuple(label_trial(trials, int(number)) for number in dict.fromkeys(numbers))


def view_floor(accuracies: Sequence[float]) -> float | None:
    """Tukey's lower outer fence, where something lies below it: what did not learn would squeeze all else together."""
    if not accuracies:
        return None
    quarter, three_quarters = pd.Series(accuracies).quantile([0.25, 0.75])
    fence = quarter - OUTER_FENCE * max(three_quarters - quarter, 0.01)
    inside = [accuracy for accuracy in accuracies if accuracy >= fence]
    return min(inside) if len(inside) < len(accuracies) else None


def thin_out(count: int, most: int, kept: Collection[int] = ()) -> list[int]:
    """Which of `count` marks a figure draws, in order: those in `kept`, and of the others every n-th.

    A browser takes seconds for thousands of marks, and nobody can tell them apart.

    Args:
        count: how many there are.
        most: about how many are drawn, or all of `kept` if these are more.
        kept: places that are drawn in any case.
    """
    if count <= most:
        return list(range(count))
    always = set(kept)
    others = [place for place in range(count) if place not in always]
    step = math.ceil(len(others) / max(1, most - len(always)))
    return sorted({*always, *others[::step]})


def describe_configuration(row: Mapping[str, Any]) -> str:
    """What makes a trial what it is, in short: `one-cycle peak 0.05; l1 global; alpha_lr 0.01`."""

    def format_setting(name: str, title: str = "") -> str:
        value = row.get(name)
        if isinstance(value, str):
            return title + spell(value)
        return f"{title}{value:.3g}" if pd.notna(value) else ""

    parts = [
        (format_setting("lr.policy"), format_setting("lr.peak", "peak ")),
        (format_setting("pruning.criterion"), format_setting("pruning.scope")),
        (format_setting("alpha_lr", "alpha_lr "),),
    ]
    return "; ".join(" ".join(filter(None, part)) for part in parts if any(part))

"""What figures need of trials and say of them: their names, their numbers as texts, and which to show."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.experiment import Experiment
from analysis.text import percent, printable


@dataclass(frozen=True)
class Who:
    """A trial as figures name it; family is None where the record does not say."""

    number: int
    control: str | None
    family: str | None
    label: str


def numbers_in(frame: pd.DataFrame, name: str) -> pd.Series:
    """The column as floats; NaN where there is no such column or no number in it."""
    if name not in frame:
        return pd.Series(math.nan, frame.index)
    return pd.to_numeric(frame[name], errors="coerce").astype("float64")


def texts_in(frame: pd.DataFrame, name: str) -> pd.Series:
    """The column as texts; None where there is no such column or no text in it."""
    values: list[Any] = frame[name].tolist() if name in frame else [None] * len(frame)
    return pd.Series([value if isinstance(value, str) else None for value in values], frame.index, dtype="object")


def known(values: Iterable[Any]) -> tuple[float | None, ...]:
    """Floats, None for what is not known."""
    return tuple(None if value is None or math.isnan(value) else float(value) for value in values)


def searched(trials: pd.DataFrame) -> pd.DataFrame:
    """What the study asked for: no controls, no branches, no repeats."""
    extra = trials["control"].notna() | trials["parent"].notna() | numbers_in(trials, "confirms").notna()
    return trials[~extra]


def who(trials: pd.DataFrame, number: int) -> Who:
    """The trial as figures name it, such as `15 polynomial 3.62` or `2 one_shot control`."""
    row = trials.loc[number]
    control = row["control"] if isinstance(row["control"], str) else None
    family = row["family"] if isinstance(row["family"], str) else None
    if control is not None:
        label = f"{number} {control} control"
    else:
        label = f"{number} {family or 'schedule unknown'}" + ("" if pd.isna(row["rate"]) else f" {row['rate']:.3g}")
    if not pd.isna(row["parent"]):
        label += f", from {row['parent']:.0f}"
    confirms = row.get("confirms")
    if not pd.isna(confirms):
        label += f", repeats {confirms:.0f}"
    return Who(number, control, family, printable(label))


def chosen(experiment: Experiment, numbers: Sequence[int] | None = None) -> tuple[Who, ...]:
    """The trials of these numbers; by default the most accurate complete one of each family and the best control.

    Raises ValueError, in one line, for a number that no trial has.
    """
    trials = experiment.trials
    if numbers is None:
        ranked = experiment.rank(by="pruned_val_accuracy")
        ranked = ranked[ranked["pruned_val_accuracy"].notna()]
        plain = ranked[ranked["control"].isna()].drop_duplicates("family")
        numbers = [*plain.index, *ranked.index[ranked["control"].notna()][:1]]
    for number in numbers:
        if number not in trials.index:
            there = f"there are {trials.index.min()} to {trials.index.max()}" if len(trials) else "there are none yet"
            raise ValueError(f"`numbers` must be those of trials ({there}), but got {number}")
    return tuple(who(trials, int(number)) for number in dict.fromkeys(numbers))


def configuration(trials: pd.DataFrame, number: int) -> str:
    """What makes the trial what it is, in short: `one_cycle peak 0.05; l1, global; alpha_lr 0.01`."""
    row = trials.loc[number]

    def value(name: str) -> str:
        value = row.get(name)
        if isinstance(value, bool | int | float) and not pd.isna(value):
            return f"{value:.3g}"
        return printable(value) if isinstance(value, str) else ""

    parts = [
        (value("policy"), f"peak {value('lr.peak')}" if value("lr.peak") else ""),
        (value("pruning.criterion"), value("pruning.scope")),
        (f"alpha_lr {value('alpha_lr')}" if value("alpha_lr") else "",),
    ]
    return "; ".join(" ".join(filter(None, part)) for part in parts if any(part))


def percentage(fraction: float, digits: int = 2) -> str:
    """0.9965 as `99.65 %`."""
    return f"{percent(fraction, digits)} %"


def count(number: int, thing: str) -> str:
    """`1 trial`, `3 trials`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"

"""Which trials are better: non-dominated sorting by default, or any columns in turn."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.columns import column
from analysis.text import printable
from analysis.where import rows_where

OBJECTIVES = ("pruned_val_accuracy", "macs")

HIGH_FIRST = frozenset(
    {
        "pruned_val_accuracy",
        "val_accuracy",
        "accuracy_at_cut",
        "mac_sparsity",
        "parameter_sparsity",
        "channel_sparsity",
    }
)


def direction(key: str) -> tuple[str, bool]:
    """The column's name, and whether low values come first.

    Accuracies and sparsities rank high first; everything else (macs, parameters, drop, seconds, losses, settings)
    low first. A leading `-` makes it high first, a leading `+` low first, whatever the column.
    """
    if key[:1] in ("-", "+"):
        return key[1:], key[0] == "+"
    return key, key not in HIGH_FIRST


def fronts(costs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The front each point of `costs` (points x objectives, all to be made small) belongs to, counted from 0.

    Non-dominated sorting (Goldberg 1989; Deb et al. 2002): front 0 is what no other point dominates, front 1 what is
    left undominated without front 0, and so on. A point dominates another if it is nowhere worse and somewhere
    better; so equal points share a front. NaN for a point with a NaN, which is compared with nothing.
    """
    result = np.full(len(costs), np.nan)
    known = ~np.isnan(costs).any(axis=1)
    # In lexicographic order nothing is dominated by what follows it, and a point's front is one behind the last
    # front of those that dominate it.
    unique, inverse = np.unique(costs[known], axis=0, return_inverse=True)
    front = np.zeros(len(unique))
    for index, point in enumerate(unique):
        dominating = (unique[:index] <= point).all(axis=1)
        front[index] = front[:index][dominating].max(initial=-1) + 1
    result[known] = front[inverse]
    return result


def rank(
    trials: pd.DataFrame,
    by: str | Sequence[str] | None = None,
    where: str | None = None,
    top: int | None = None,
) -> pd.DataFrame:
    """The complete trials that fit `where`, best first, with `rank` (from 1) and `on_front` as first columns.

    by: None (or nothing) sorts by front of OBJECTIVES (accuracy up, MACs down), inside a front by accuracy; or
        columns, each deciding where those before it are equal (directions: see `direction`). What is unknown comes
        last, what is equal in the order of its number.
    where: a condition (analysis.where). The front is that of the trials that fit it.
    top: how many of the best to keep; the front is not changed by it.

    Raises ValueError, in one line, for a column that is not there, a condition that is none, and top < 1.
    """
    if top is not None and top < 1:
        raise ValueError(f"`top >= 1` must hold, but got top={top}")
    found = _candidates(trials, where)
    front = fronts(_costs(found, OBJECTIVES))
    found.insert(0, "on_front", front == 0)
    keys = [by] if isinstance(by, str) else by
    ranked = found.iloc[_order(found, keys) if keys else _order(found, OBJECTIVES, front)]
    ranked.insert(0, "rank", np.arange(1, len(ranked) + 1))
    return ranked[:top]


def pareto(trials: pd.DataFrame, objectives: Sequence[str] = OBJECTIVES, where: str | None = None) -> pd.DataFrame:
    """The complete trials that fit `where` and that none of those dominates in `objectives`, best in the first first.

    Columns as in `trials`; directions as in `direction`. Raises ValueError, in one line, as `rank` does, and for an
    objective that is no number.
    """
    found = _candidates(trials, where)
    found = found[fronts(_costs(found, objectives)) == 0]
    best: pd.DataFrame = found.iloc[_order(found, objectives)]
    return best


def _candidates(trials: pd.DataFrame, where: str | None) -> pd.DataFrame:
    complete = trials[trials["state"] == "complete"]
    return complete.copy() if where is None else complete[rows_where(complete, where)]


def _costs(frame: pd.DataFrame, objectives: Sequence[str]) -> npt.NDArray[np.float64]:
    """The objectives as columns of numbers that are to be made small."""
    costs = np.empty((len(frame), len(objectives)))
    for index, objective in enumerate(objectives):
        name, low_first = direction(objective)
        values = column(frame, name)
        if not pd.api.types.is_numeric_dtype(values.dtype):
            raise ValueError(f"an objective must be a number, but {name!r} is none")
        costs[:, index] = values.to_numpy(np.float64) * (1 if low_first else -1)
    return costs


def _order(
    frame: pd.DataFrame, keys: Sequence[str], front: npt.NDArray[np.float64] | None = None
) -> npt.NDArray[np.intp]:
    """The positions of the rows by front, if given, then by the keys in turn; the unknown last, ties as they stand."""
    named = [direction(key) for key in keys]
    values = [column(frame, name).reset_index(drop=True) for name, _ in named]
    low_first = [low for _, low in named]
    if front is not None:
        values, low_first = [pd.Series(front), *values], [True, *low_first]
    table = pd.concat(values, axis=1, keys=range(len(values)))
    try:
        table = table.sort_values(list(table.columns), ascending=low_first, kind="stable", na_position="last")
    except TypeError as error:
        raise ValueError(f"texts and numbers have no common order: {printable(str(error))}") from error
    return table.index.to_numpy()

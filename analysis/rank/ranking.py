"""Which trials are better: by fronts, by columns in turn, or by a weighted sum. Repeats count towards their trial."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import moocore
import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.columns import COLUMNS, column
from analysis.objectives import DEFAULT_OBJECTIVES
from analysis.rank import seeds
from analysis.rank.filter import rows_where
from analysis.text import printable


def split_direction(key: str) -> tuple[str, bool]:
    """The column's name, and whether low values come first.

    Accuracies, sparsities, speed-ups and images a second rank high first (Column.better); everything else (macs,
    parameters, drop, seconds, latencies, bytes, losses, settings) low first. A leading `-` makes it high first, a
    leading `+` low first, whatever the column.
    """
    if key[:1] in ("-", "+"):
        return key[1:], key[0] == "+"
    return key, key not in COLUMNS or COLUMNS[key].better != "high"


def fronts(costs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The front each point of `costs` (points x objectives, all to be made small) belongs to, counted from 0.

    Non-dominated sorting (Goldberg 1989; Deb et al. 2002): front 0 is what no other point dominates, front 1 what is
    left undominated without front 0, and so on. A point dominates another if it is nowhere worse and somewhere
    better; so equal points share a front. NaN for a point with a NaN, which is compared with nothing.
    """
    result = np.full(len(costs), np.nan)
    known = ~np.isnan(costs).any(axis=1)
    if known.any():
        # Dominance is about order alone, and moocore 0.3 crashes on infinities: so each value's place is sorted.
        places = [np.unique(values, return_inverse=True)[1] for values in costs[known].T]
        result[known] = moocore.pareto_rank(np.column_stack(places))
    return result


def crowding_distances(costs: npt.NDArray[np.float64], front: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How far each point of `costs` is from its neighbours on its front: the crowding distance of NSGA-II.

    The sum over the objectives of (next higher value - next lower value) / (highest - lowest) on the front; infinite
    for a front's ends (Deb et al. 2002, section III-B). Equal points count once and share the distance. NaN for a
    point on no front.
    """
    result = np.full(len(costs), np.nan)
    for number in np.unique(front[~np.isnan(front)]):
        points, of_point = np.unique(costs[front == number], axis=0, return_inverse=True)
        distances = np.zeros(len(points))
        for values in points.T:
            order = values.argsort(kind="stable")
            gaps = np.full(len(points), np.inf)
            span = values[order[-1]] - values[order[0]]
            gaps[1:-1] = (values[order[2:]] - values[order[:-2]]) / (span or 1.0)
            distances[order] += gaps
        result[front == number] = distances[of_point]
    return result


def rank(
    trials: pd.DataFrame,
    by: str | Sequence[str] | None = None,
    where: str | None = None,
    top: int | None = None,
    weights: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """The complete trials that fit `where`, best first; a trial and its repeats are one row (rank.seeds).

    Before the columns of rank.seeds and those of the trials come `rank`, `on_front`, `front`, `crowding` and, with
    `weights`, `score` (columns.RANKING_COLUMNS). The front is that of DEFAULT_OBJECTIVES: accuracy up, MACs down.

    There are three ways to rank. In all of them unknown values come last, and ties are in the order of the numbers.

    1. By default by front, inside a front by accuracy: a reader sees the front from its accurate to its sparse end.
       `by=["front", "crowding"]` is NSGA-II's order, in which the first few are spread over the front.
    2. `by`: columns, each deciding where those before it are equal (directions: see `split_direction`).
    3. `weights`: column -> weight > 0, of the columns that are added up. With x(i) a row's value in column i, and best
       and worst those of the rows that fit `where`,

           score = sum_i weight_i * (x(i) - worst_i) / (best_i - worst_i)  /  sum_i weight_i

       in [0, 1], 1 for a row that is best in all. A column in which all are equal adds 0.

    Args:
        trials: one row per trial (columns: tables.trials).
        where: a condition (rank.filter) on `number`, the columns of the trials and those of rank.seeds; a confirmed
            trial's accuracies are means. Only what fits is ranked and can be on the front, so rank, on_front, front,
            crowding and score cannot be named. `seeds >= 2` keeps confirmed trials only: the best of many single runs
            looks better than it is.
        top: how many of the best to keep; fronts and scores are not changed by it.

    Raises:
        ValueError: in one line, for a column that is unknown or has no order, an invalid condition, top < 1, a weight
            that is not above 0, `by` and `weights` together, and ranking by what was measured on several devices.
    """
    if top is not None and top < 1:
        raise ValueError(f"`top >= 1` must hold, but got top={top}")
    if by and weights:
        raise ValueError("`by` and `weights` are alternatives; pass only one of them")
    found = complete_trials(trials, where)
    cost = cost_matrix(found, DEFAULT_OBJECTIVES)
    front = fronts(cost)
    first: dict[str, Any] = {"on_front": front == 0, "front": front, "crowding": crowding_distances(cost, front)}
    if weights:
        first["score"] = _weighted_scores(found, weights)
    found = pd.concat([pd.DataFrame(first, index=found.index), found], axis=1)
    ranked = found.iloc[_order_rows(found, ["score"] if weights else _ranking_keys(by))]
    ranked.insert(0, "rank", np.arange(1, len(ranked) + 1))
    return ranked[:top]


def best(trials: pd.DataFrame, by: str | Sequence[str] | None = None, where: str | None = None) -> "pd.Series[Any]":
    """The first row of `rank(trials, by, where)`, its name being the trial's number.

    The best of many single runs looks better than it is; where="seeds >= 2" keeps confirmed trials only.

    Raises:
        ValueError: in one line, as `rank` does, and where no complete trial fits, or none that does has a known value
            in the first column.
    """
    ranked = rank(trials, by, where, top=1)
    fits = f" that fits where={printable(where)!r}" if where else ""
    if ranked.empty:
        raise ValueError(f"there is no complete trial{fits}")
    name, _ = split_direction(_ranking_keys(by)[0])
    if pd.isna(column(ranked, name).iloc[0]):
        raise ValueError(f"no complete trial{fits} has a known `{printable(name)}`")
    return ranked.iloc[0]


def pareto(
    trials: pd.DataFrame, objectives: Sequence[str] = DEFAULT_OBJECTIVES, where: str | None = None
) -> pd.DataFrame:
    """The complete trials that fit `where` and are not dominated in `objectives`, best in the first objective first.

    A trial and its repeats are one row, the columns of rank.seeds before those of `trials`; directions as in
    `split_direction`. Raises ValueError, in one line, as `rank` does, and for an objective that is no number.
    """
    found = complete_trials(trials, where)
    found = found[fronts(cost_matrix(found, objectives)) == 0]
    first: pd.DataFrame = found.iloc[_order_rows(found, objectives)]
    return first


def best_first_key(accuracy: float, macs: float | None, number: int) -> tuple[float, float, int]:
    """Sorts by the one rule for which trial is best: the most accurate, then the fewest MACs, then the first."""
    return -accuracy, math.inf if macs is None or math.isnan(macs) else macs, number


def sort_best_first(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows whose accuracy is known, in the order of `best_first_key`.

    Args:
        frame: one row per trial without repeats, such as a ranking.
    """
    known = frame[frame["pruned_val_accuracy"].notna()].sort_index()
    return known.sort_values(["pruned_val_accuracy", "macs"], ascending=[False, True])


def complete_trials(trials: pd.DataFrame, where: str | None = None) -> pd.DataFrame:
    """The complete trials that fit `where`, each with its repeats as one row (rank.seeds)."""
    found = seeds.merge_repeats(trials)
    return found if where is None else found[rows_where(found, where)]


def cost_matrix(frame: pd.DataFrame, objectives: Sequence[str]) -> npt.NDArray[np.float64]:
    """The objectives as columns of numbers, low being good; raises ValueError where they cannot be compared."""
    if not objectives:
        raise ValueError("at least one objective must be given")
    costs = np.empty((len(frame), len(objectives)))
    for index, (name, low_first) in enumerate(map(split_direction, objectives)):
        values = _comparable_column(frame, name)
        if not pd.api.types.is_numeric_dtype(values.dtype):
            raise ValueError(f"an objective must be a number, but {printable(name)!r} is not")
        costs[:, index] = values.to_numpy(np.float64) * (1 if low_first else -1)
    return costs


def _ranking_keys(by: str | Sequence[str] | None) -> Sequence[str]:
    return [by] if isinstance(by, str) and by else by or ["front", *DEFAULT_OBJECTIVES]


def _weighted_scores(frame: pd.DataFrame, weights: Mapping[str, float]) -> npt.NDArray[np.float64]:
    """The weighted sums that `rank` describes, in the order of the rows."""
    for name, weight in weights.items():
        if not 0 < weight < math.inf:
            shown = printable(name)
            directions = f"`-{shown}` ranks it high first, `+{shown}` low first"
            raise ValueError(f"`weight > 0` must hold, but {shown!r} has {weight}; {directions}")
    costs = pd.DataFrame(cost_matrix(frame, list(weights)))
    worst, best = costs.max(), costs.min()
    scaled = (worst - costs) / (worst - best).replace(0, 1)
    values = np.array(list(weights.values()), dtype=np.float64)
    scores: npt.NDArray[np.float64] = scaled.to_numpy() @ (values / values.sum())
    return scores


def _order_rows(frame: pd.DataFrame, keys: Sequence[str]) -> npt.NDArray[np.intp]:
    """The positions of the rows, sorted by the keys in turn; unknown values last, ties as they are."""
    names, low_first = zip(*map(split_direction, keys), strict=True)
    values = [_comparable_column(frame, name).reset_index(drop=True) for name in names]
    table = pd.concat(values, axis=1, keys=range(len(values)))
    try:
        table = table.sort_values(list(table.columns), ascending=list(low_first), kind="stable", na_position="last")
    except TypeError as error:
        raise ValueError(f"texts and numbers have no common order: {printable(str(error))}") from error
    return table.index.to_numpy()


def _comparable_column(frame: pd.DataFrame, name: str) -> pd.Series:
    """The column `name`; raises ValueError where its figures come from devices that do not compare."""
    values = column(frame, name)
    if name in COLUMNS and COLUMNS[name].of_device and "measured_on" in frame:
        devices = sorted(frame.loc[values.notna(), "measured_on"].dropna().unique())
        if len(devices) > 1:
            raise ValueError(
                f"`{name}` was measured on different devices, whose figures do not compare: "
                f"{', '.join(map(printable, devices))}; choose one with the condition (`where`) "
                f"measured_on == {printable(json.dumps(devices[0], ensure_ascii=False))}"
            )
    return values

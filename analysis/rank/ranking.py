"""Which trials are better: by fronts, by columns in turn, or by a weighted sum. Repeats count through their trial."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import moocore
import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.columns import column
from analysis.rank import seeds
from analysis.rank.filter import rows_where
from analysis.text import printable

OBJECTIVES = ("pruned_val_accuracy", "macs")

# What `rank` may put before the columns of the trials.
COLUMNS = ("rank", "on_front", "front", "crowding", "score", *seeds.COLUMNS)

FRACTIONS = frozenset(
    {
        "pruned_val_accuracy",
        "val_accuracy",
        "accuracy_at_cut",
        "test_accuracy",
        "mac_sparsity",
        "parameter_sparsity",
        "channel_sparsity",
    }
)
SPEEDUPS = frozenset({"batch1_speedup", "batch32_speedup", "batch256_speedup"})
THROUGHPUTS = frozenset({"batch1_images_per_second", "batch32_images_per_second", "batch256_images_per_second"})
HIGH_FIRST = FRACTIONS | SPEEDUPS | THROUGHPUTS | {"images_per_second", "crowding", "score", "seeds", "test_seeds"}

# Figures that say as much of the device as of the network. Accuracies and sizes are the same on all.
OF_A_DEVICE = (
    SPEEDUPS
    | THROUGHPUTS
    | {
        "batch1_latency_ms",
        "batch32_latency_ms",
        "batch256_latency_ms",
        "test_seconds",
        "peak_memory_bytes",
        "mean_memory_bytes",
        "weights_bytes",
        "activation_bytes",
    }
)


def direction(key: str) -> tuple[str, bool]:
    """The column's name, and whether low values come first.

    Accuracies, sparsities, speed-ups and images a second rank high first; everything else (macs, parameters, drop,
    seconds, latencies, bytes, losses, settings) low first. A leading `-` makes it high first, a leading `+` low first,
    whatever the column.
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
    if known.any():
        # Dominance is about order alone, and moocore 0.3 crashes on infinities: so each value's place is sorted.
        places = [np.unique(values, return_inverse=True)[1] for values in costs[known].T]
        result[known] = moocore.pareto_rank(np.column_stack(places))
    return result


def crowding(costs: npt.NDArray[np.float64], front: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
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

    Before the columns of rank.seeds and those of the trials come

        rank        from 1
        on_front    whether no other row dominates it in OBJECTIVES (accuracy up, MACs down)
        front       0 for those, 1 for those undominated without them, and so on (see `fronts`)
        crowding    its crowding distance on its front (see `crowding`)
        score       with `weights` only

    There are three ways to rank. In all of them the unknown comes last, and equals come in the order of their numbers.

    1. By default by front, inside a front by accuracy: a reader sees the front from its accurate to its sparse end.
       `by=["front", "crowding"]` is NSGA-II's order, in which the first few are spread over the front.
    2. `by`: columns, each deciding where those before it are equal (directions: see `direction`).
    3. `weights`: column -> weight > 0, of the columns that are added up. With x(i) a row's value in column i, and best
       and worst those of the rows that fit `where`,

           score = sum_i weight_i * (x(i) - worst_i) / (best_i - worst_i)  /  sum_i weight_i

       in [0, 1], 1 for a row that is best in all. A column in which all are equal adds 0.

    Args:
        trials: a row a trial (columns: tables.trials).
        where: a condition (rank.filter) on `number`, the columns of the trials and those of rank.seeds, a
            confirmed trial's accuracies being means. What is ranked, and the front, is what fits; so rank, on_front,
            front, crowding and score cannot be named. `seeds >= 2` keeps confirmed trials only: the best of many
            with one seed each is flattered.
        top: how many of the best to keep; fronts and scores are not changed by it.

    Raises:
        ValueError: in one line, for a column that is not there or has no order, a condition that is none, top < 1, a
            weight that is not above 0, `by` and `weights` together, and ranking by what was measured on several
            devices.
    """
    if top is not None and top < 1:
        raise ValueError(f"`top >= 1` must hold, but got top={top}")
    if by and weights:
        raise ValueError("`by` and `weights` are two ways to rank; give one of them")
    found = candidates(trials, where)
    cost = costs_of(found, OBJECTIVES)
    front = fronts(cost)
    first: dict[str, Any] = {"on_front": front == 0, "front": front, "crowding": crowding(cost, front)}
    if weights:
        first["score"] = _scores(found, weights)
    found = pd.concat([pd.DataFrame(first, index=found.index), found], axis=1)
    ranked = found.iloc[_order(found, ["score"] if weights else _keys(by))]
    ranked.insert(0, "rank", np.arange(1, len(ranked) + 1))
    return ranked[:top]


def best(trials: pd.DataFrame, by: str | Sequence[str] | None = None, where: str | None = None) -> "pd.Series[Any]":
    """The first row of `rank(trials, by, where)`, its name being the trial's number.

    Chosen among trials of one seed each, its accuracy is flattered; where="seeds >= 2" asks confirmed ones only.

    Raises:
        ValueError: in one line, as `rank` does, and where no complete trial fits, or all that do are unknown in what
            is asked for first.
    """
    ranked = rank(trials, by, where, top=1)
    fits = f" that fits where={printable(where)!r}" if where else ""
    if ranked.empty:
        raise ValueError(f"there is no complete trial{fits}")
    name, _ = direction(_keys(by)[0])
    if pd.isna(column(ranked, name).iloc[0]):
        raise ValueError(f"`{printable(name)}` is known of no complete trial{fits}")
    return ranked.iloc[0]


def pareto(trials: pd.DataFrame, objectives: Sequence[str] = OBJECTIVES, where: str | None = None) -> pd.DataFrame:
    """The complete trials that fit `where` and that none of those dominates in `objectives`, best in the first first.

    A trial and its repeats are one row, the columns of rank.seeds before those of `trials`; directions as in
    `direction`. Raises ValueError, in one line, as `rank` does, and for an objective that is no number.
    """
    found = candidates(trials, where)
    found = found[fronts(costs_of(found, objectives)) == 0]
    first: pd.DataFrame = found.iloc[_order(found, objectives)]
    return first


def candidates(trials: pd.DataFrame, where: str | None = None) -> pd.DataFrame:
    """The complete trials that fit `where`, each with its repeats as one row (rank.seeds)."""
    found = seeds.over_seeds(trials)
    return found if where is None else found[rows_where(found, where)]


def costs_of(frame: pd.DataFrame, objectives: Sequence[str]) -> npt.NDArray[np.float64]:
    """The objectives as columns of numbers that are to be made small; raises ValueError where that makes no sense."""
    if not objectives:
        raise ValueError("at least one objective must be given")
    costs = np.empty((len(frame), len(objectives)))
    for index, objective in enumerate(objectives):
        name, low_first = direction(objective)
        values = _comparable(frame, name)
        if not pd.api.types.is_numeric_dtype(values.dtype):
            raise ValueError(f"an objective must be a number, but {printable(name)!r} is none")
        costs[:, index] = values.to_numpy(np.float64) * (1 if low_first else -1)
    return costs


def _keys(by: str | Sequence[str] | None) -> Sequence[str]:
    return [by] if isinstance(by, str) and by else by or ["front", *OBJECTIVES]


def _scores(frame: pd.DataFrame, weights: Mapping[str, float]) -> npt.NDArray[np.float64]:
    """The weighted sums that `rank` describes, as its rows stand."""
    for name, weight in weights.items():
        if not 0 < weight < math.inf:
            raise ValueError(
                f"`weight > 0` must hold, but {printable(name)!r} has {weight}; `-{printable(name)}` ranks it high "
                f"first, `+{printable(name)}` low first"
            )
    costs = pd.DataFrame(costs_of(frame, list(weights)))
    worst, best = costs.max(), costs.min()
    scaled = (worst - costs) / (worst - best).replace(0, 1)
    values = np.array(list(weights.values()), dtype=np.float64)
    scores: npt.NDArray[np.float64] = scaled.to_numpy() @ (values / values.sum())
    return scores


def _order(frame: pd.DataFrame, keys: Sequence[str]) -> npt.NDArray[np.intp]:
    """The positions of the rows by the keys in turn; the unknown last, ties as they stand."""
    named = [direction(key) for key in keys]
    values = [_comparable(frame, name).reset_index(drop=True) for name, _ in named]
    table = pd.concat(values, axis=1, keys=range(len(values)))
    low_first = [low for _, low in named]
    try:
        table = table.sort_values(list(table.columns), ascending=low_first, kind="stable", na_position="last")
    except TypeError as error:
        raise ValueError(f"texts and numbers have no common order: {printable(str(error))}") from error
    return table.index.to_numpy()


def _comparable(frame: pd.DataFrame, name: str) -> pd.Series:
    """The column `name`; raises ValueError where its figures come from devices that do not compare."""
    values = column(frame, name)
    if name in OF_A_DEVICE and "measured_on" in frame:
        devices = sorted(frame.loc[values.notna(), "measured_on"].dropna().unique())
        if len(devices) > 1:
            raise ValueError(
                f"`{name}` was measured on different devices, whose figures do not compare: "
                f"{', '.join(map(printable, devices))}; choose one by the condition (`where`) "
                f"measured_on == {printable(json.dumps(devices[0], ensure_ascii=False))}"
            )
    return values

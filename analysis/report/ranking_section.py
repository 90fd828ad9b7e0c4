"""The ranking as the page's table: the dense network, then the groups of trials, best first."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.experiment import Experiment
from analysis.labels import numbers_in, texts_in
from analysis.rank.ranking import rank
from analysis.report.phrases import control_name, family_name, plain
from analysis.tables.trials import number_of
from analysis.text import UNKNOWN, percent

MOST_ROWS = 25
ONE_SEED = "°"
_MB = 1e6


@dataclass(frozen=True)
class Row:
    """kind: dense, control or trial. name: with its number; seeds: in words. cells: texts, one a column."""

    kind: str
    name: str
    seeds: str
    on_front: bool
    cells: tuple[str, ...]


@dataclass(frozen=True)
class RankingTable:
    """headers: (title, unit) of the columns behind the name. of: how many rows there would be in all."""

    headers: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    shown: int
    of: int
    measured: bool


Cell = Callable[["pd.Series[Any]"], str]


def ranking_table(experiment: Experiment) -> RankingTable:
    """The first MOST_ROWS of the ranking and all controls; measured columns only where something was measured."""
    ranked = rank(experiment.trials)
    kept = ranked[(ranked["rank"] <= MOST_ROWS) | ranked["control"].notna()]
    measured = bool(ranked["measured_on"].notna().any())
    several = len(set(ranked["measured_on"].dropna())) > 1
    columns = [
        ("MACs", "cut %", _share("mac_sparsity")),
        ("Validation", "accuracy %", _accuracy("pruned_val_accuracy", "accuracy_std")),
        ("Drop", "points", _percent("accuracy_drop")),
    ]
    if measured:
        columns += [
            ("Test", "accuracy %", _accuracy("test_accuracy", "test_accuracy_std")),
            *(("Speed-up", f"batch {size}", _times(f"batch{size}_speedup")) for size in (1, 32, 256)),
            ("Latency", "batch 256, ms", _plain("batch256_latency_ms", 1.0, 2)),
            ("Throughput", "batch 256, images/s", _plain("batch256_images_per_second", 1.0, 0)),
            ("Peak memory", "MB", _plain("peak_memory_bytes", _MB, 1)),
            ("Mean memory", "MB", _plain("mean_memory_bytes", _MB, 1)),
            ("Size", "MB", _plain("size_bytes", _MB, 2)),
        ]
    if several:
        columns.append(("Measured", "on", lambda row: _text(row["measured_on"])))
    columns += [
        ("Parameters", "cut %", _share("parameter_sparsity")),
        ("At the cut", "accuracy %", _percent("accuracy_at_cut")),
        ("Learning rates", "policy", lambda row: _text(row["policy"]).replace("_", "-")),
    ]
    if len(set(texts_in(kept, "pruning.gate").dropna())) > 1:
        columns.append(("Gate", "place", lambda row: _text(row.get("pruning.gate"))))
    cells = [cell for *_, cell in columns]
    rows = [_row(number, kept.loc[number], cells) for number in kept.index.tolist()]
    headers = tuple((title, unit) for title, unit, _ in columns)
    return RankingTable(headers, (_dense(experiment, cells, several), *rows), len(rows), len(ranked), measured)


def _row(number: int, row: "pd.Series[Any]", cells: list[Cell]) -> Row:
    control = row["control"] if isinstance(row["control"], str) else None
    if control is not None:
        name = f"{number} {control_name(control)}"
    else:
        name = f"{number} {family_name(row['family'])}" + ("" if pd.isna(row["rate"]) else f" {row['rate']:.3g}")
    if not pd.isna(row["parent"]):
        name += f", from {row['parent']:.0f}"
    seeds = int(row["seeds"])
    words = "one seed" if not seeds else "1 repeat" if seeds == 1 else f"{seeds} repeats"
    texts = tuple(cell(row) for cell in cells)
    return Row("trial" if control is None else "control", name, words, bool(row["on_front"]), texts)


def _dense(experiment: Experiment, cells: list[Cell], several: bool) -> Row:
    """The dense network's own figures; those of several devices together say nothing."""
    measure = {} if several else experiment.dense_measure
    values: dict[str, Any] = {str(name): number_of(measure, str(name)) for name in experiment.trials.columns}
    accuracy = experiment.dense.val_accuracy if experiment.dense else math.nan
    values |= {"mac_sparsity": 0.0, "parameter_sparsity": 0.0, "pruned_val_accuracy": accuracy, "seeds": 1}
    values |= {"policy": None, "measured_on": None}
    return Row("dense", "Dense network", "not pruned", False, tuple(cell(pd.Series(values)) for cell in cells))


def _share(name: str) -> Cell:
    return lambda row: percent(_number(row, name), 1)


def _percent(name: str) -> Cell:
    return lambda row: percent(_number(row, name), 2)


def _accuracy(name: str, std: str) -> Cell:
    def cell(row: "pd.Series[Any]") -> str:
        text, deviation = percent(_number(row, name), 2), percent(_number(row, std), 2)
        if text == UNKNOWN:
            return text
        return f"{text}{ONE_SEED}" if row["seeds"] == 0 else text if deviation == UNKNOWN else f"{text} ± {deviation}"

    return cell


def _times(name: str) -> Cell:
    return lambda row: UNKNOWN if (value := _number(row, name)) != value else f"{value:.2f}\N{MULTIPLICATION SIGN}"


def _plain(name: str, unit: float, digits: int) -> Cell:
    return lambda row: UNKNOWN if (value := _number(row, name)) != value else f"{value / unit:,.{digits}f}"


def _number(row: "pd.Series[Any]", name: str) -> float:
    return float(numbers_in(row.to_frame().T, name).iloc[0])


def _text(value: Any) -> str:
    return plain(value) if isinstance(value, str) else UNKNOWN

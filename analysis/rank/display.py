"""A ranking as people see it: which columns, in what order, and the text in each cell.

The terminal and the report lay out the same columns and rows; only headings and room differ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from analysis.columns import COLUMNS, Column, iterate_rows
from analysis.labels import SPELLINGS, label_row
from analysis.text import UNKNOWN, printable
from records.dense import DenseRecord
from records.measurement import BATCH_SIZES

_LARGEST = BATCH_SIZES[-1]


@dataclass(frozen=True)
class DisplayColumn:
    """A column of the ranking.

    importance: 1 for what is left out last where room is short. heading: two lines; short_heading: of a few letters.
    spread: the column of its standard deviation over seeds, or of the margin of its 95% interval. when_varied: whether
    it is shown only where rows differ. signed: whether gains have a plus.
    """

    name: str
    importance: int
    heading: tuple[str, str]
    short_heading: tuple[str, str]
    digits: int = 2
    spread: str | None = None
    when_varied: bool = False
    signed: bool = False

    @property
    def definition(self) -> Column:
        return COLUMNS.get(self.name) or Column(self.name, "text", "")


class DisplayCell(NamedTuple):
    """A value and, over several seeds, its standard deviation or margin."""

    value: str
    spread: str = ""


@dataclass(frozen=True)
class DisplayRow:
    """A network. kind: dense, control or trial. rank: 0 for the dense one. seeds: repeats that the means are of."""

    kind: str
    label: str
    rank: int
    seeds: int
    on_front: bool
    cells: tuple[DisplayCell, ...]


@dataclass(frozen=True)
class RankingDisplay:
    """The dense network and the ranked trials; every row has a cell for each column. devices: what was measured on."""

    columns: tuple[DisplayColumn, ...]
    rows: tuple[DisplayRow, ...]
    devices: tuple[str, ...]


_COLUMNS = (
    DisplayColumn("mac_sparsity", 1, ("MACs", "cut %"), ("MACs", "cut %"), 1),
    DisplayColumn("size_bytes", 10, ("Size", "MB"), ("size", "MB")),
    DisplayColumn("pruned_val_accuracy", 2, ("Validation", "accuracy %"), ("acc. %", "at end"), spread="accuracy_std"),
    DisplayColumn("accuracy_drop", 4, ("Δ to dense", "points"), ("drop", "points")),
    DisplayColumn("test_accuracy", 5, ("Test", "accuracy %"), ("acc. %", "test"), spread="test_accuracy_std"),
    *(
        DisplayColumn(
            f"twin_{budget}_difference",
            importance,
            ("Against its twin", f"equal {budget}, points"),
            ("vs twin", budget),
            spread=f"twin_{budget}_margin",
            signed=True,
        )
        for budget, importance in (("compute", 3), ("epochs", 7))
    ),
    DisplayColumn("training_cost", 11, ("Training cost", "dense epochs"), ("train.", "cost"), 1),
    *(
        DisplayColumn(f"batch{size}_speedup", importance, ("Speed-up", f"batch {size}"), ("speed", f"b. {size}"))
        for size, importance in zip(BATCH_SIZES, (8, 16, 6), strict=True)
    ),
    DisplayColumn(f"batch{_LARGEST}_latency_ms", 17, ("Latency", f"batch {_LARGEST}, ms"), ("ms", f"b. {_LARGEST}")),
    DisplayColumn(
        f"batch{_LARGEST}_images_per_second",
        18,
        ("Throughput", f"batch {_LARGEST}, images/s"),
        ("images/s", f"b. {_LARGEST}"),
        digits=0,
    ),
    DisplayColumn("peak_memory_bytes", 9, ("Peak memory", "MB"), ("memory", "MB"), 1),
    DisplayColumn("mean_memory_bytes", 19, ("Mean memory", "MB"), ("mean", "MB"), 1),
    DisplayColumn("parameter_sparsity", 14, ("Parameters", "cut %"), ("param.", "cut %"), 1),
    DisplayColumn("channel_sparsity", 15, ("Channels", "cut %"), ("chann.", "cut %"), 1),
    DisplayColumn("accuracy_at_cut", 13, ("At the cut", "accuracy %"), ("acc. %", "at cut")),
    DisplayColumn("lr.policy", 12, ("Learning rate", "policy"), ("LR", "policy")),
    DisplayColumn("pruning.gate", 20, ("Gate", "place"), ("gate", ""), when_varied=True),
    DisplayColumn("measured_on", 21, ("Measured", "on"), ("measured", "on"), when_varied=True),
)
_ALWAYS_SHOWN = ("mac_sparsity", "pruned_val_accuracy", "accuracy_drop")


def display_ranking(
    ranked: pd.DataFrame, dense: DenseRecord | None, dense_measure: Mapping[str, Any] | None
) -> RankingDisplay:
    """The rows of a ranking after the dense network's; columns without any known value are left out.

    Args:
        ranked: of analysis.rank.ranking.rank.
        dense: Experiment.dense.
        dense_measure: Experiment.dense_measure.
    """
    devices = tuple(sorted(ranked["measured_on"].dropna().unique())) if "measured_on" in ranked else ()
    columns = tuple(column for column in _COLUMNS if _is_shown(column, ranked))
    values = _dense_values(dense, dense_measure or {}, devices)
    cells = tuple(DisplayCell(_cell_text(column, values)) for column in columns)
    rows = [DisplayRow("dense", "dense network", 0, 0, False, cells)]
    for number, row in iterate_rows(ranked):
        label = label_row(number, row)
        kind = "trial" if label.control is None else "control"
        cells = tuple(DisplayCell(_cell_text(column, row), _cell_spread(column, row)) for column in columns)
        rows.append(DisplayRow(kind, label.text, row["rank"], row["seeds"], row["on_front"], cells))
    return RankingDisplay(columns, tuple(rows), devices)


def _is_shown(column: DisplayColumn, ranked: pd.DataFrame) -> bool:
    values = ranked[column.name].nunique() if column.name in ranked else 0
    return values > 1 if column.when_varied else values > 0 or column.name in _ALWAYS_SHOWN


def _dense_values(
    dense: DenseRecord | None, dense_measure: Mapping[str, Any], devices: Sequence[str]
) -> dict[str, Any]:
    """The dense network in the shape of a trial's row; what depends on the device only where all are of one.

    dense_measure is a median over all measurements, so where these are of several devices, or of another than the
    trials shown, it would be the figure of none.
    """
    of_one = tuple(devices) == (dense_measure.get("measured_on"),)
    values: dict[str, Any] = {
        name: value
        for name, value in dense_measure.items()
        if name != "measured_on" and (of_one or not COLUMNS[name].of_device)
    }
    values |= {f"batch{size}_speedup": 1.0 for size in BATCH_SIZES}
    values |= {"mac_sparsity": 0.0, "parameter_sparsity": 0.0, "channel_sparsity": 0.0}
    return values | {"pruned_val_accuracy": dense.val_accuracy if dense else None}


def _cell_text(column: DisplayColumn, row: Mapping[str, Any]) -> str:
    value = row.get(column.name)
    if isinstance(value, str):
        return SPELLINGS.get(value) or printable(value)
    if value is None or pd.isna(value):
        return UNKNOWN
    text = column.definition.format_value(value, column.digits)
    return f"+{text}" if column.signed and float(text) > 0 else text


def _cell_spread(column: DisplayColumn, row: Mapping[str, Any]) -> str:
    """The standard deviation or margin; nothing where there is none, as for a single run or a single repeat."""
    if column.spread is None or row["seeds"] < 2 or pd.isna(row.get(column.name)):
        return ""
    return COLUMNS[column.spread].format_value(row[column.spread], column.digits)

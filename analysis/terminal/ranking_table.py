"""A ranking as a table for people, and as CSV and JSON for programs."""

import json
import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from analysis.tables.trials import number_of
from analysis.text import UNKNOWN, percent, printable
from records.dense import DenseRecord

SPEEDUPS = {1: "batch1_speedup", 32: "batch32_speedup", 256: "batch256_speedup"}

_MEASURED = ("size_bytes", "test_accuracy", "batch1_speedup", "batch256_speedup", "peak_memory_bytes")
_NAMED = 5  # so many trials are named below the table, the others counted

_Row = Mapping[str, Any] | pd.Series  # a trial's row, or the dense network in the shape of one


def ranking_table(frame: pd.DataFrame, dense: DenseRecord | None, measured: Mapping[str, Any] | None = None) -> Table:
    """The ranking `frame` (of analysis.rank.ranking.rank) in at most 100 columns, the dense network above it.

    Where a trial of it was measured, the table takes at most 120 columns: what was measured stands in place of the
    accuracy at the cut and of what was cut besides MACs. Percentages of the dense network for what is cut, points of a
    percentage for the drop and for standard deviations. Below it is said what is of one seed, which device the figures
    are of, and what is sparser but not faster. All columns are in `to_csv` and `to_json`.

    Args:
        dense: Experiment.dense.
        measured: Experiment.dense_measure.
    """
    confirmed = bool((frame["seeds"] > 0).any())
    columns = _measured_columns if _is_measured(frame) else _columns
    dense_cells = columns(_dense_row(frame, dense, measured), confirmed)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0, caption_justify="left")
    # A narrower terminal takes from the columns that may wrap, the texts: a number cut short would be another number.
    table.add_column("\nrank", justify="right", no_wrap=True)
    table.add_column("\ntrial", justify="right", no_wrap=True)
    table.add_column("alpha schedule\nand rate")
    table.add_column("LR policy of\nthe retraining")
    for header, _ in dense_cells:
        table.add_column(header, justify="right", no_wrap=True)
    table.add_row("", "dense", "", "", *(text for _, text in dense_cells), style="dim", end_section=True)
    for number, trial in frame.iterrows():
        is_control = isinstance(trial["control"], str)
        table.add_row(
            str(trial["rank"]),
            str(number),
            shrinkable(_schedule(trial)),
            shrinkable(_text(trial["policy"])),
            *(text for _, text in columns(trial, confirmed)),
            style="yellow" if is_control else "bold" if trial["on_front"] else None,
        )
    table.caption = Text("\n".join(_caption(frame)), style="table.caption")
    return table


def _is_measured(frame: pd.DataFrame) -> bool:
    return any(name in frame and frame[name].notna().any() for name in _MEASURED)


def _devices(frame: pd.DataFrame) -> list[str]:
    return sorted(frame["measured_on"].dropna().unique()) if "measured_on" in frame else []


def _dense_row(frame: pd.DataFrame, dense: DenseRecord | None, measured: Mapping[str, Any] | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "mac_sparsity": 0.0,
        "parameter_sparsity": 0.0,
        "channel_sparsity": 0.0,
        "pruned_val_accuracy": dense.val_accuracy if dense else math.nan,
        "size_bytes": number_of(measured, "size_bytes"),
        "test_accuracy": number_of(measured, "test_accuracy"),
        "batch1_speedup": 1.0,
        "batch256_speedup": 1.0,
        "on_front": False,
    }
    if len(_devices(frame)) == 1:  # a median over several devices would be the figure of none
        row["peak_memory_bytes"] = number_of(measured, "peak_memory_bytes")
    return row


def _columns(row: _Row, confirmed: bool) -> list[tuple[str, str]]:
    """Header and cell of each column."""
    return [
        ("MACs\ncut %", _percent(row, "mac_sparsity", 1)),
        ("param.\ncut %", _percent(row, "parameter_sparsity", 1)),
        ("chann.\ncut %", _percent(row, "channel_sparsity", 1)),
        ("acc. %\nat cut", _percent(row, "accuracy_at_cut", 2)),
        ("acc. %\nat end", _percent(row, "pruned_val_accuracy", 2)),
        *([("\n±", _spread(row, "accuracy_std"))] if confirmed else []),
        ("drop\npoints", _percent(row, "accuracy_drop", 2)),
        ("\n★", "★" if row["on_front"] else ""),
    ]


def _measured_columns(row: _Row, confirmed: bool) -> list[tuple[str, str]]:
    """The same where something was measured."""
    return [
        ("MACs\ncut %", _percent(row, "mac_sparsity", 1)),
        ("size\nMB", _number(row, "size_bytes", 2, of=1e6)),
        ("acc. %\nat end", _percent(row, "pruned_val_accuracy", 2)),
        *([("\n±", _spread(row, "accuracy_std"))] if confirmed else []),
        ("drop\npoints", _percent(row, "accuracy_drop", 2)),
        ("acc. %\ntest", _percent(row, "test_accuracy", 2)),
        *([("\n±", _spread(row, "test_accuracy_std"))] if confirmed else []),
        ("speed\nb. 1", _number(row, "batch1_speedup", 2)),
        ("speed\nb. 256", _number(row, "batch256_speedup", 2)),
        ("memory\nMB", _number(row, "peak_memory_bytes", 0, of=1e6)),
        ("\n★", "★" if row["on_front"] else ""),
    ]


def _percent(row: _Row, name: str, digits: int) -> str:
    return percent(row[name], digits) if name in row else ""


def _number(row: _Row, name: str, digits: int, of: float = 1) -> str:
    if name not in row:
        return ""
    return UNKNOWN if math.isnan(row[name]) else f"{row[name] / of:.{digits}f}"


def _spread(row: _Row, name: str) -> str:
    """A standard deviation; nothing for what is of one seed."""
    return percent(row[name], 2) if row.get("seeds", 0) > 0 else ""


def _caption(frame: pd.DataFrame) -> list[str]:
    """What the columns mean and what the reader must know of the figures, a line each."""
    is_measured = _is_measured(frame)
    accuracy = "acc. at end" if is_measured else "acc."
    one_seed = ", one seed" if not frame.empty and (frame["seeds"] == 0).all() else ""
    lines = [f"{accuracy}: validation images{one_seed}; drop: against dense; ★ no better accuracy at as few MACs"]
    repeats = pd.concat([frame["seeds"], frame["test_seeds"]])  # some may not have been measured
    if (repeats > 0).any():
        few, many = repeats[repeats > 0].min(), repeats.max()
        seeds = f"{many} seeds" if few == many else f"{few} to {many} seeds"
        lines.append(f"±: standard deviation over {seeds}, of which the accuracies are means; without ±: one seed")
    if is_measured:
        devices = [printable(device) for device in _devices(frame)]
        figures = "speed: dense is 1, in batches of 1 and 256; memory: peak while the test set runs"
        lines.append(f"{figures}; on {devices[0]}" if len(devices) == 1 else figures)
        if len(devices) > 1:
            lines.append(f"measured on different devices, whose figures do not compare: {'; '.join(devices)}")
    return lines + _not_faster(frame)


def _not_faster(frame: pd.DataFrame) -> list[str]:
    """In words, in a line if any, which trials are slower than the dense network though they have fewer MACs."""
    slow: list[str] = []
    for number, trial in frame[frame["mac_sparsity"] > 0].iterrows():
        factors = {size: trial[name] for size, name in SPEEDUPS.items() if name in trial and trial[name] < 1}
        if factors:
            batches = ", ".join(f"{factor:.3g} at batch {size}" for size, factor in factors.items())
            slow.append(f"trial {number} (speed {batches})")
    more = f" and {len(slow) - _NAMED} more" if len(slow) > _NAMED else ""
    return [f"sparser but not faster than dense: {', '.join(slow[:_NAMED])}{more}"] if slow else []


def shrinkable(text: str) -> Text:
    """A table's cell that is cut short instead of wrapped where its column, which may wrap, gets too narrow."""
    return Text(printable(text), no_wrap=True, overflow="ellipsis")


def to_csv(frame: pd.DataFrame) -> str:
    """The frame as CSV, the index as first column, in full precision; nothing where a value is unknown."""
    return _plain(frame).to_csv(index=False, lineterminator="\n")


def to_json(frame: pd.DataFrame) -> str:
    """The frame as a JSON list of an object a row, in full precision; null where a value is unknown."""
    plain = _plain(frame)
    columns = [[_json_value(value) for value in plain[name].tolist()] for name in plain.columns]
    rows = [dict(zip(plain.columns, values, strict=True)) for values in zip(*columns, strict=True)]
    return json.dumps(rows, indent=1, allow_nan=False)


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its index as first column and its times as ISO 8601 in UTC."""
    plain = frame.reset_index()
    for name in plain.select_dtypes("datetimetz").columns:
        times = [None if pd.isna(time) else time.isoformat(timespec="milliseconds") for time in plain[name]]
        plain[name] = pd.Series(times, dtype="str")
    return plain


def _json_value(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _schedule(trial: "pd.Series[Any]") -> str:
    if isinstance(trial["control"], str):
        return f"control: {trial['control']}"
    schedule = _text(trial["family"]) + ("" if pd.isna(trial["rate"]) else f" {trial['rate']:.3g}")
    return schedule if pd.isna(trial["parent"]) else f"{schedule}, from {trial['parent']:.0f}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else UNKNOWN

"""A ranking as a table for people, and as CSV and JSON for programs."""

import json
import math
from typing import Any

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from analysis.text import UNKNOWN, percent, printable
from analysis.trials import number_of


def ranking_table(frame: pd.DataFrame, dense: dict[str, Any] | None) -> Table:
    """The ranking `frame` (of analysis.ranking.rank) in at most 100 columns, the dense network above it.

    Percentages of the dense network for what is cut, points of a percentage for the drop; accuracies are on the
    validation images.
    """
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=0,
        caption="acc.: on validation images; drop: against dense; ★ no better accuracy here at as few MACs",
        caption_justify="left",
    )
    # A narrower terminal takes from the columns that may wrap, the texts: a number cut short would be another number.
    table.add_column("\nrank", justify="right", no_wrap=True)
    table.add_column("\ntrial", justify="right", no_wrap=True)
    table.add_column("alpha schedule\nand rate")
    table.add_column("LR policy of\nthe retraining")
    for what, how in (
        *(("MACs", "cut %"), ("param.", "cut %"), ("chann.", "cut %")),
        *(("acc. %", "at cut"), ("acc. %", "at end"), ("drop", "points"), ("", "★")),
    ):
        table.add_column(f"{what}\n{how}", justify="right", no_wrap=True)
    dense_accuracy = percent(number_of(dense, "val_accuracy"), 2)
    table.add_row("", "dense", "", "", "0.0", "0.0", "0.0", "", dense_accuracy, style="dim", end_section=True)
    for number, trial in frame.iterrows():
        is_control = isinstance(trial["control"], str)
        table.add_row(
            str(trial["rank"]),
            str(number),
            shrinkable(_schedule(trial)),
            shrinkable(_text(trial["policy"])),
            percent(trial["mac_sparsity"], 1),
            percent(trial["parameter_sparsity"], 1),
            percent(trial["channel_sparsity"], 1),
            percent(trial["accuracy_at_cut"], 2),
            percent(trial["pruned_val_accuracy"], 2),
            percent(trial["accuracy_drop"], 2),
            "★" if trial["on_front"] else "",
            style="yellow" if is_control else "bold" if trial["on_front"] else None,
        )
    return table


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

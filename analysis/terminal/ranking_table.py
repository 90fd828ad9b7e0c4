"""A ranking as a table in a terminal, and as CSV and JSON for programs."""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pandas as pd
from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderResult
from rich.table import Table
from rich.text import Text

from analysis.columns import iterate_rows
from analysis.labels import label_row
from analysis.rank.display import DisplayCell, DisplayColumn, RankingDisplay, display_ranking
from analysis.text import format_count, join_words, printable
from records.dense import DenseRecord
from records.measurement import BATCH_SIZES
from records.trial import BUDGETS

_NAMED = 5  # how many trials are named below the table; the others are counted


def ranking_table(
    frame: pd.DataFrame, dense: DenseRecord | None, dense_measure: Mapping[str, Any] | None = None
) -> ConsoleRenderable:
    """The ranking `frame` (of analysis.rank.ranking.rank), the dense network above it, as wide as the terminal.

    Where there is no room for all columns, the least important are left out, those that it is ranked by last, so that
    no name and no number is cut short. The caption says what the columns mean, which device the figures are of, and
    what is sparser but not faster. All columns are in `to_csv` and `to_json`.

    Args:
        dense: Experiment.dense.
        dense_measure: Experiment.dense_measure.
    """
    return _RankingTable(frame, display_ranking(frame, dense, dense_measure))


class _RankingTable:
    def __init__(self, frame: pd.DataFrame, display: RankingDisplay) -> None:
        self._frame, self._display = frame, display

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = self._fitting_columns(options.max_width)
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
        table.add_column("\nrank", justify="right", no_wrap=True)
        table.add_column("\ntrial")
        for column in columns:
            for header, _ in column.parts:
                table.add_column(header, justify=column.justify, no_wrap=True)
        table.add_column("\n★", no_wrap=True)
        ends = self._find_front_ends()
        for index, row in enumerate(self._display.rows):
            table.add_row(
                str(row.rank) if row.rank else "",
                shrinkable_text(row.label),
                *(Text(texts[index]) for column in columns for _, texts in column.parts),  # no markup
                "★" if row.on_front else "",
                style={"dense": "dim", "control": "yellow"}.get(row.kind, "bold" if row.on_front else None),
                end_section=row.kind == "dense" or index - 1 in ends,
            )
        yield table
        shown = {column.name for column in columns}
        yield Text("\n".join(self._write_caption(shown, has_fronts=bool(ends))), style="table.caption")

    def _find_front_ends(self) -> set[int]:
        """The rows of the frame after which another front begins; none unless it is ordered by front."""
        numbers = self._frame["front"].fillna(math.inf).tolist()
        ends = {place for place, (one, other) in enumerate(itertools.pairwise(numbers)) if one != other}
        return ends if numbers == sorted(numbers) else set()

    def _fitting_columns(self, width: int) -> list["_TerminalColumn"]:
        """The columns that there is room for, in their order; at least the most important one."""
        display = self._display
        cells = zip(*(row.cells for row in display.rows), strict=True)
        columns = [_TerminalColumn(column, of_column) for column, of_column in zip(display.columns, cells, strict=True)]
        labels = max(map(cell_len, ("trial", *(row.label for row in display.rows))))
        room = width - len("rank ") - labels - len(" ★")
        fitting: set[str] = set()
        ranked_by = getattr(self._frame, "ranked_by", ())
        for column in sorted(columns, key=lambda column: (column.name not in ranked_by, column.importance)):
            room -= column.width
            if room < 0 and fitting:
                break
            fitting.add(column.name)
        return [column for column in columns if column.name in fitting]

    def _write_caption(self, shown: set[str], *, has_fronts: bool) -> list[str]:
        """What the columns mean and what the reader must know of the figures, a line each."""
        frame = self._frame
        runs = ", single runs" if not frame.empty and (frame["seeds"] == 0).all() else ""
        lines = [f"acc. at end: on the validation images{runs}; drop: below the dense network"]
        lines.append("★: on the Pareto front, so no trial with as few MACs is more accurate")
        if has_fronts:
            lines.append("blank lines separate fronts, each the Pareto front without those above it")
        repeats = pd.concat([frame["seeds"], frame["test_seeds"]])  # some may not have been measured
        if (repeats > 1).any():
            seeds = _count_seeds(repeats[repeats > 1])
            lines.append(f"±: standard deviation over {seeds}, whose mean is shown; without ±: a single run")
        elif (repeats > 0).any():
            lines.append("acc. of a trial that was repeated is that of its repeat, with another seed")
        budgets = [budget for budget in reversed(BUDGETS) if f"twin_{budget}_difference" in shown]
        if budgets:
            equal = join_words([f"equal {budget}" for budget in budgets])
            noise = "with one seed, how much of it is noise is unknown"
            if frame["pairs"].max() > 1:
                seeds = _count_seeds(frame["pairs"])
                noise = f"here ± is the 95% interval over {seeds}, and a smaller difference is within noise"
                if any(_has_unknown_margin(frame, budget) for budget in budgets):
                    noise += "; -: unknown, from a single pair or from equal differences"
            lines.append(f"vs twin: points above the same trial without a fade, at {equal}; {noise}")
        if "training_cost" in shown:
            lines.append("train. cost: multiply-accumulates of the training, in epochs of the dense network")
        sizes = [str(size) for size in BATCH_SIZES if f"batch{size}_speedup" in shown]
        figures = [f"speed: times as fast as dense in batches of {join_words(sizes)}"] if sizes else []
        figures += ["memory: peak on the test set"] if "peak_memory_bytes" in shown else []
        devices = [printable(device) for device in self._display.devices]
        if figures and len(devices) == 1:
            figures[-1] += f"; on {devices[0]}"
        lines += ["; ".join(figures)] if figures else []
        if len(devices) > 1:
            lines.append(f"measured on different devices, whose figures do not compare: {'; '.join(devices)}")
        lines += _not_faster(frame)
        if left_out := [column for column in self._display.columns if column.name not in shown]:
            names = ", ".join(" ".join(filter(None, column.short_heading)) for column in left_out)
            lines.append(f"left out: {names}; they are shown in a wider window, in CSV and in JSON")
        return lines


def _has_unknown_margin(frame: pd.DataFrame, budget: str) -> bool:
    """Whether a trial that was repeated has twins whose difference has no interval."""
    known = frame[f"twin_{budget}_difference"].notna() & (frame["seeds"] > 1)
    return bool((known & frame[f"twin_{budget}_margin"].isna()).any())


def _count_seeds(counts: "pd.Series[int]") -> str:
    """`3 seeds`, `2 to 3 seeds`: the fewest and the most of those that are above 0."""
    few, many = counts[counts > 0].min(), counts.max()
    return format_count(many, "seed") if few == many else f"{few} to {many} seeds"


class _TerminalColumn:
    """A column of the display as one or, with a spread, two of the terminal: header and texts of each."""

    def __init__(self, column: DisplayColumn, cells: Sequence[DisplayCell]) -> None:
        self.name, self.importance = column.name, column.importance
        self.justify: Literal["left", "right"] = "left" if column.definition.kind == "text" else "right"
        self.parts = [("\n".join(column.short_heading), [cell.value for cell in cells])]
        if any(cell.spread for cell in cells):
            self.parts.append(("\n±", [cell.spread for cell in cells]))
        # With the space before each part.
        self.width = sum(1 + max(map(cell_len, (*head.split("\n"), *texts))) for head, texts in self.parts)


def _not_faster(frame: pd.DataFrame) -> list[str]:
    """In words, in a line if any, which trials are slower than the dense network though they have fewer MACs."""
    slow: list[str] = []
    for number, trial in iterate_rows(frame[frame["mac_sparsity"] > 0]):
        factors = {size: factor for size in BATCH_SIZES if (factor := trial.get(f"batch{size}_speedup", 1)) < 1}
        if factors:
            batches = " and ".join(f"{factor:.3g} times in batches of {size}" for size, factor in factors.items())
            slow.append(f"{label_row(number, trial)}: {batches}")
    more = f"; and {len(slow) - _NAMED} more" if len(slow) > _NAMED else ""
    return [f"sparser but not faster than dense: {'; '.join(slow[:_NAMED])}{more}"] if slow else []


def shrinkable_text(text: str) -> Text:
    """A table's cell that is cut short instead of wrapped where its column, which may wrap, gets too narrow."""
    return Text(printable(text), no_wrap=True, overflow="ellipsis")


def to_csv(frame: pd.DataFrame) -> str:
    """The frame as CSV, the index as first column, in full precision; nothing where a value is unknown."""
    return _plain_frame(frame).to_csv(index=False, lineterminator="\n")


def to_json(frame: pd.DataFrame) -> str:
    """The frame as a JSON list of one object per row, in full precision; null where a value is unknown."""
    rows = [
        {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()}
        for row in _plain_frame(frame).to_dict("records")
    ]
    return json.dumps(rows, indent=1, allow_nan=False)


def _plain_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its index as first column and its times as ISO 8601 in UTC."""
    plain = frame.reset_index()
    for name in plain.select_dtypes("datetimetz").columns:
        times = [None if pd.isna(time) else time.isoformat(timespec="milliseconds") for time in plain[name]]
        plain[name] = pd.Series(times, dtype="str")
    return plain

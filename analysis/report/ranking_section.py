"""The ranking as the page's table: the dense network, then the trials, best first."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.experiment import Experiment
from analysis.rank.display import DisplayColumn, DisplayRow, display_ranking
from analysis.text import UNKNOWN, format_count

MOST_ROWS = 25
SINGLE_RUN = "°"


@dataclass(frozen=True)
class SectionRow:
    """kind: dense, control or trial. runs: how many, in words. cells: a text for each column."""

    kind: str
    label: str
    runs: str
    on_front: bool
    cells: tuple[str, ...]


@dataclass(frozen=True)
class RankingSection:
    """headings: two lines for each column after the label. shown: how many of the `total` complete trials."""

    headings: tuple[tuple[str, str], ...]
    rows: tuple[SectionRow, ...]
    shown: int
    total: int
    measured: bool


def ranking_section(experiment: Experiment) -> RankingSection:
    """The first MOST_ROWS of the ranking and all controls."""
    ranked = experiment.ranked
    kept = ranked[(ranked["rank"] <= MOST_ROWS) | ranked["control"].notna()]
    display = display_ranking(kept, experiment.dense, experiment.dense_measure)
    headings = tuple(column.heading for column in display.columns)
    rows = tuple(_section_row(row, display.columns) for row in display.rows)
    return RankingSection(headings, rows, len(kept), len(ranked), bool(display.devices))


def _section_row(row: DisplayRow, columns: Sequence[DisplayColumn]) -> SectionRow:
    runs = "not pruned" if row.kind == "dense" else format_count(row.seeds, "repeat") if row.seeds else "single run"
    cells = []
    for cell, column in zip(row.cells, columns, strict=True):
        of_single_run = column.spread and runs == "single run" and cell.value != UNKNOWN
        spread = SINGLE_RUN if of_single_run else f" ± {cell.spread}" if cell.spread not in ("", UNKNOWN) else ""
        cells.append(cell.value + spread)
    return SectionRow(row.kind, row.label, runs, row.on_front, tuple(cells))

"""The ranking as the page's table: the dense network, then the trials, best first."""

from dataclasses import dataclass

from analysis.experiment import Experiment
from analysis.rank.display import DisplayCell, DisplayRow, display_ranking
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
    spreads = [column.spread is not None for column in display.columns]
    rows = tuple(_section_row(row, spreads) for row in display.rows)
    return RankingSection(headings, rows, len(kept), len(ranked), bool(display.devices))


def _section_row(row: DisplayRow, spreads: list[bool]) -> SectionRow:
    runs = "not pruned" if row.kind == "dense" else format_count(row.seeds, "repeat") if row.seeds else "single run"
    single = row.kind != "dense" and not row.seeds
    cells = (_format_cell(cell, single and has_spread) for cell, has_spread in zip(row.cells, spreads, strict=True))
    return SectionRow(row.kind, row.label, runs, row.on_front, tuple(cells))


def _format_cell(cell: DisplayCell, single_run: bool) -> str:
    if single_run and cell.value != UNKNOWN:
        return f"{cell.value}{SINGLE_RUN}"
    return f"{cell.value} ± {cell.spread}" if cell.spread not in ("", UNKNOWN) else cell.value

"""The ranking as the page's table: the dense network, then the trials, best first."""

from dataclasses import dataclass

from analysis.experiment import Experiment
from analysis.rank.display import DisplayCell, DisplayColumn, RankingDisplay, display_ranking
from analysis.text import UNKNOWN

# Printed and shown at first; a script shows the others and searches them.
FIRST_ROWS, MOST_ROWS = 25, 200


@dataclass(frozen=True)
class RankingSection:
    """numbers: of the trials in the rows after the dense network's. total: how many complete trials there are."""

    display: RankingDisplay
    numbers: tuple[int, ...]
    total: int


def ranking_section(experiment: Experiment) -> RankingSection:
    """The first MOST_ROWS of the ranking and all controls."""
    ranked = experiment.ranked
    kept = ranked[(ranked["rank"] <= MOST_ROWS) | ranked["control"].notna()]
    display = display_ranking(kept, experiment.dense, experiment.dense_measure)
    return RankingSection(display, tuple(kept.index.tolist()), len(ranked))


def show_cell(cell: DisplayCell, column: DisplayColumn) -> str:
    """A cell's text: a mean with its deviation, a difference to the dense network with its sign."""
    if cell.value == UNKNOWN:
        return "\N{EN DASH}"
    value = f"{-float(cell.value) + 0.0:+.2f}" if column.name == "accuracy_drop" else cell.value
    value = value.replace("+0.00", "0.00")
    if column.signed or column.name in ("accuracy_drop", "mac_sparsity"):
        value = value.replace("-", "\N{MINUS SIGN}")
    return value + (f" ± {cell.spread}" if cell.spread not in ("", UNKNOWN) else "")

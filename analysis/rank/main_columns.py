"""Rankings that show the columns that matter: a ranking has some eighty."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

MAIN_COLUMNS = (
    *("rank", "score", "on_front", "control", "alpha.family", "alpha.rate", "lr.policy", "pruning.amount"),
    *("mac_sparsity", "pruned_val_accuracy", "seeds", "test_accuracy", "batch256_speedup"),
    *("training_cost", "twin_compute_difference", "twin_compute_margin"),
)
MOST_ROWS = 60


class Ranking(pd.DataFrame):
    """A ranking with all of its columns, of which it shows those that matter and those it is ranked by.

    `columns="all"` of the function that returned it gives a frame that shows all.
    """

    _metadata = ["ranked_by"]  # noqa: RUF012  pandas asks for it; passed on to what is made of the frame
    ranked_by: tuple[str, ...] = ()

    @property
    def _constructor(self) -> "type[Ranking]":
        return Ranking

    def __repr__(self) -> str:
        frame, note = self._shorten()
        return f"{frame.to_string(max_rows=MOST_ROWS)}\n{note}" if note else repr(frame)

    def _repr_html_(self) -> str:
        frame, note = self._shorten()
        html = frame.to_html(max_rows=MOST_ROWS, max_cols=20)
        return f"{html}<p>{note}</p>" if note else html

    def _shorten(self) -> tuple[pd.DataFrame, str]:
        """What is shown, and a note on what is not; columns that somebody has chosen are shown as they are."""
        frame = pd.DataFrame(self)
        shown = dict.fromkeys((*MAIN_COLUMNS, *self.ranked_by))
        names = [name for name in shown if name in frame and frame[name].notna().any()]
        if "rank" not in frame or len(frame.columns) <= len(MAIN_COLUMNS):
            return frame, ""
        return frame[names], f"and {len(frame.columns) - len(names)} more columns: columns='all' shows them"


class RankedTrial(pd.Series):
    """A row of a ranking with all of its columns, of which it shows those that matter."""

    _metadata = ["shown"]  # noqa: RUF012
    shown: tuple[str, ...] = MAIN_COLUMNS

    def __repr__(self) -> str:
        names = [name for name in self.shown if name in self.index and pd.notna(self[name])]
        left = len(self.index) - len(names)
        return f"{pd.Series(self)[names]!r}\nand {left} more columns: columns='all' shows them"

    def _repr_html_(self) -> str:
        from analysis.notebook import table_html

        names = [name for name in self.shown if name in self.index and pd.notna(self[name])]
        return table_html(("", str(self.name)), [(name, str(self[name])) for name in names])


def show_main_columns(frame: pd.DataFrame, columns: str | Sequence[str], ranked_by: Sequence[str] = ()) -> pd.DataFrame:
    """A ranking as it is shown.

    Args:
        frame: with all columns.
        columns: `main`, `all`, or the names of some.
        ranked_by: columns that are shown with the main ones.

    Raises:
        ValueError: in one line, for a column that does not exist.
    """
    from analysis.columns import column

    if columns == "all":
        return frame
    if columns != "main":
        names = [columns] if isinstance(columns, str) else list(columns)
        for name in names:
            column(frame, name)
        return frame[names]
    ranking = Ranking(frame)
    ranking.ranked_by = tuple(ranked_by)
    return ranking


def show_main_values(row: "pd.Series[Any]", columns: str | Sequence[str]) -> "pd.Series[Any]":
    """A row of a ranking as it is shown; columns and errors as in show_main_columns."""
    if columns == "main":
        return RankedTrial(row)
    return show_main_columns(row.to_frame().T, columns).iloc[0] if columns != "all" else row

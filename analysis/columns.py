"""A frame's columns by name, its index being one of them, with an error that helps where there is none."""

import difflib

import pandas as pd

from analysis.text import printable


def column(frame: pd.DataFrame, name: str) -> pd.Series:
    """The column `name`; raises ValueError, in one line, naming the nearest one, or all where none is near."""
    if name in frame.index.names:
        return frame.index.get_level_values(name).to_series(index=frame.index)
    if name in frame:
        return frame[name]
    names = [*map(str, frame.index.names), *map(str, frame.columns)]
    same_leaf = [known for known in names if known.endswith(f".{name}")]
    near = same_leaf or difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names)}"
    raise ValueError(f"there is no column {printable(name)!r}; {hint}")

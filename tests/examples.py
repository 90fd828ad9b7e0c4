"""Rows and cuts for tests to which most of their content does not matter."""

from typing import Any

from records.epoch import METRICS, EpochRow
from records.trial import Cut


def make_row(epoch: int, **columns: Any) -> EpochRow:
    """A row of `epoch`, all of whose numbers are one half unless given."""
    return EpochRow(**({"epoch": epoch, "phase": "retrain", **dict.fromkeys(METRICS, 0.5)} | columns))


def make_cut(**columns: Any) -> Cut:
    return Cut(**({"epoch": 1, "widths": (1,), "channels": 1, "macs": 100, "parameters": 50} | columns))

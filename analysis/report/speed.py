"""How fast, how small and how hungry the best pruned network is beside the dense one, in a sentence."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.labels import numbers_in, percentage, texts_in
from analysis.report.phrases import control_name, family_name, listed, plain
from analysis.tables.trials import number_of

BATCHES = (1, 32, 256)
NOTHING = (
    "Speed, memory and size were not measured, so whether fewer MACs are faster is not known; `alphaprune measure` "
    "measures them."
)


def speed_sentence(ranked: pd.DataFrame, of_note: Sequence[int], dense_measure: Mapping[str, Any]) -> str:
    """Of the first of the trials `of_note` that was measured, else of the first such of `ranked`.

    What the dense network has 0 of, nothing is compared with.
    """
    devices = texts_in(ranked, "measured_on")
    measured = [number for number in [*of_note, *ranked.index] if devices.get(number) is not None]
    if not measured:
        return NOTHING
    number = int(measured[0])
    row = ranked.loc[[number]]
    speedups = {size: value for size in BATCHES if (value := _value(row, f"batch{size}_speedup")) > 0}
    # The dense network's own figures are those of all devices together.
    one_device = len(set(devices.dropna())) == 1
    sizes = [
        f"{percentage(ratio, 0)} of its {what}"
        for column, what, of_device in (
            ("peak_memory_bytes", "peak memory on the test set", True),
            ("size_bytes", "size on disk", False),
        )
        if (one_device or not of_device)
        and (of_dense := number_of(dense_measure, column)) > 0
        and (ratio := _value(row, column) / of_dense) >= 0
    ]
    control = row["control"].iloc[0]
    kind = control_name(control) if isinstance(control, str) else family_name(row["family"].iloc[0])
    text = f"On {plain(devices[number] or '')}, trial {number} ({kind}) "
    parts = [_speed(speedups)] if speedups else []
    if sizes:
        parts.append(f"takes {listed(sizes)}")
    if not parts:
        return f"{text}was tested, but its speed, memory and size beside the dense network's are not known."
    other = f" Trial {of_note[0]} was not measured." if of_note and number != of_note[0] else ""
    return f"{text}{', and it '.join(parts)}.{other}"


def _speed(speedups: Mapping[int, float]) -> str:
    # As it will be read: what rounds to 1.00 is not faster.
    faster = {size: value for size, value in speedups.items() if round(value, 2) > 1}
    slower = {size: value for size, value in speedups.items() if size not in faster}
    if not faster:
        return f"is sparser but not faster: {_times(slower)} as fast as the dense network {_batches(slower)}"
    text = f"is {_times(faster)} as fast as the dense network {_batches(faster)}"
    return f"{text}, but sparser without being faster {_batches(slower)} ({_times(slower)})" if slower else text


def _times(speedups: Mapping[int, float]) -> str:
    return f"{listed([f'{value:.2f}' for value in speedups.values()])} times"


def _batches(speedups: Mapping[int, float]) -> str:
    return f"in batches of {listed([str(size) for size in speedups])}"


def _value(row: pd.DataFrame, column: str) -> float:
    return float(numbers_in(row, column).iloc[0])

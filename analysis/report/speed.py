"""How fast and how small the best pruned network is beside the dense one, in a sentence."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.columns import COLUMNS, row_of
from analysis.labels import label_row, label_trial
from analysis.text import format_percent, join_words, shorten_text
from records.measurement import BATCH_SIZES

NOT_MEASURED = (
    "Speed, memory and size have not been measured, so whether fewer MACs make the network faster is unknown; "
    "`alphaprune measure` measures them."
)


def speed_sentence(ranked: pd.DataFrame, of_note: Sequence[int], dense_measure: Mapping[str, Any]) -> str:
    """Says it of the first of the trials `of_note` that was measured, else of the first such of `ranked`.

    Nothing is compared with a figure of the dense network that is 0.
    """
    devices = ranked["measured_on"].dropna()
    measured = [number for number in [*of_note, *ranked.index] if number in devices.index]
    if not measured:
        return NOT_MEASURED
    number = int(measured[0])
    row = row_of(ranked, number)
    speedups = {size: value for size in BATCH_SIZES if (value := row[f"batch{size}_speedup"]) > 0}
    # The dense network's own figures are medians over all devices.
    one_device = len(set(devices)) == 1
    shares = [
        f"{format_percent(ratio, 0)} of its {COLUMNS[name].label}"
        for name in ("peak_memory_bytes", "size_bytes")
        if (one_device or not COLUMNS[name].of_device)
        and (of_dense := dense_measure.get(name, 0)) > 0
        and (ratio := row[name] / of_dense) >= 0
    ]
    parts = [_compare_speed(speedups)] if speedups else []
    parts += [f"needs {join_words(shares)}"] if shares else []
    text = f"Measured on {shorten_text(devices[number])}: {label_row(number, row)}"
    if not parts:
        return f"{text} was tested, but its speed, memory and size relative to the dense network are unknown."
    other = of_note and number != of_note[0]
    unmeasured = f" {label_trial(ranked, of_note[0])} was not measured." if other else ""
    return f"{text} {', and '.join(parts)}.{unmeasured}"


def _compare_speed(speedups: Mapping[int, float]) -> str:
    # As shown: what rounds to 1.00 is not faster.
    faster, slower = (
        {size: f"{value:.2f}" for size, value in speedups.items() if (round(value, 2) > 1) == fast}
        for fast in (True, False)
    )
    times, slower_times = (f"{join_words(list(side.values()))} times" for side in (faster, slower))
    batches, slower_batches = (f"in batches of {join_words(list(map(str, side)))}" for side in (faster, slower))
    if not faster:
        return f"is sparser but not faster: it runs {slower_times} as fast as the dense network {slower_batches}"
    text = f"runs {times} as fast as the dense network {batches}"
    return f"{text}, but is sparser without being faster {slower_batches} ({slower_times})" if slower else text

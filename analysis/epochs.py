"""The rows of all epochs of all trials as one frame, parsed in one go.

A file is read up to its first torn or damaged line, as the trial itself does when it resumes. The fast way is taken
for whatever looks whole; only what does not is read line by line, which can say where the damage is.
"""

import json
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.json
from pyarrow import compute

PHASES = ("alpha", "retrain")
MEASURES = (
    "alpha",
    "lr",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "pruned_val_accuracy",
    "channel_sparsity",
    "parameter_sparsity",
    "mac_sparsity",
    "images_per_second",
    "epoch_seconds",
)

_SCHEMA = pa.schema([("epoch", pa.int64()), ("phase", pa.string()), *((measure, pa.float64()) for measure in MEASURES)])


@dataclass(frozen=True)
class Rows:
    """The bytes of one trial's epochs.jsonl; `name` is what to call the file in a problem."""

    number: int
    name: str
    text: bytes


def epochs_frame(files: list[Rows], problems: list[str]) -> pd.DataFrame:
    """A row an epoch: `number` of the trial, epoch (1-based), phase, and MEASURES (NaN where a row has none).

    The rows stand in the order of `files` and of their lines. What could not be read is added to `problems`.
    """
    texts = [file.text if _looks_whole(file.text) else _whole_lines(file, file.text, problems) for file in files]
    table = _parse(texts)
    if table is None:
        texts = [_whole_lines(file, text, problems) for file, text in zip(files, texts, strict=True)]
        table = _parse(texts)
    assert table is not None  # what _whole_lines wrote is sound
    frame: pd.DataFrame = table.to_pandas()
    frame[list(MEASURES)] = frame[list(MEASURES)].where(np.isfinite)
    counts = [text.count(b"\n") for text in texts]
    frame.insert(0, "number", np.repeat(np.array([file.number for file in files], dtype=np.int64), counts))
    _check_order(frame, {file.number: file.name for file in files}, problems)
    return frame


def _looks_whole(text: bytes) -> bool:
    """Whether every line begins and ends as a JSON object does, the last with a newline."""
    lines = text.count(b"\n")
    return lines == 0 == len(text) or (
        text.startswith(b"{") and text.endswith(b"}\n") and text.count(b"}\n{") == lines - 1
    )


def _parse(texts: list[bytes]) -> pa.Table | None:
    """The rows of all `texts`, or None where they are not one sound row a line."""
    joined = b"".join(texts)
    if not joined:
        return _SCHEMA.empty_table()
    options = pa.json.ParseOptions(explicit_schema=_SCHEMA, unexpected_field_behavior="ignore")
    try:
        table = pa.json.read_json(pa.BufferReader(joined), parse_options=options)
    except pa.ArrowInvalid:
        return None
    sound = (
        table.num_rows == joined.count(b"\n")
        and table["epoch"].null_count == 0
        and compute.min(table["epoch"]).as_py() >= 1
        and compute.all(compute.is_in(table["phase"], pa.array(PHASES))).as_py()
    )
    return table if sound else None


def _whole_lines(file: Rows, text: bytes, problems: list[str]) -> bytes:
    """The sound lines of `text` before the first that is not, written anew so that the fast way takes them."""
    whole: list[bytes] = []
    lines = text.split(b"\n")
    ends_with_newline = lines[-1] == b""
    lines = lines[:-1] if ends_with_newline else lines
    for index, line in enumerate(lines):
        try:
            row = _sound_row(json.loads(line))
        except (ValueError, RecursionError) as error:
            behind = len(lines) - index - 1
            reason = "nested too deep" if isinstance(error, RecursionError) else error
            how = f"damaged ({reason})" if behind or ends_with_newline else "torn"
            left_out = f"it and the {behind} behind it are" if behind else "it is"
            problems.append(f"{file.name}: line {index + 1} is {how}; {left_out} left out")
            break
        whole.append(json.dumps(row).encode() + b"\n")
    return b"".join(whole)


def _sound_row(row: Any) -> dict[str, Any]:
    """The row with the columns that are known; raises ValueError saying what is wrong with it."""
    if not isinstance(row, dict):
        raise ValueError("no JSON object")
    epoch, phase = row.get("epoch"), row.get("phase")
    if type(epoch) is not int or not 1 <= epoch < 2**63:
        raise ValueError(f"`epoch` must be a whole number from 1 on, but is {_short(epoch)}")
    if phase not in PHASES:
        raise ValueError(f"`phase` must be one of {', '.join(PHASES)}, but is {_short(phase)}")
    return {"epoch": epoch, "phase": phase} | {measure: _measure(measure, row.get(measure)) for measure in MEASURES}


def _measure(name: str, value: Any) -> float | None:
    if value is None:
        return None
    if type(value) not in (int, float):
        raise ValueError(f"`{name}` must be a number, but is {_short(value)}")
    # As JSON has it, 1e999 is a number; what is beyond a float is as unknown as NaN.
    return float(value) if abs(value) <= sys.float_info.max else None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 30 else f"{text[:30]}…"


def _check_order(frame: pd.DataFrame, names: dict[int, str], problems: list[str]) -> None:
    """Says once a trial where an epoch is missing or is there twice: sums over its rows are wrong."""
    number, epoch = frame["number"].to_numpy(), frame["epoch"].to_numpy()
    broken = np.flatnonzero((number[1:] == number[:-1]) & (epoch[1:] != epoch[:-1] + 1))
    for index in broken[np.unique(number[broken], return_index=True)[1]]:
        problems.append(f"{names[int(number[index])]}: epoch {epoch[index + 1]} follows epoch {epoch[index]}")

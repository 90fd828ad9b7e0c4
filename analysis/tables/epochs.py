"""The rows of all epochs of all trials as one table.

Which lines of an epochs.jsonl count is decided by records.epoch. pyarrow parses many files at once, but only files in
which it must find the same rows; a batch that holds anything else is parsed file by file by records.epoch itself.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.json
from pyarrow import compute

from analysis.tables.problems import Problems
from records.digest import compute_content_digest
from records.epoch import METRICS, OPTIONAL, PHASES, EpochRow, parse_epoch_rows
from records.trial import ROWS_NAME, TrialFolder

_TYPES = {"epoch": pa.int64(), "phase": pa.string()}
_ROW = pa.schema([(field.name, _TYPES.get(field.name, pa.float64())) for field in fields(EpochRow)])
SCHEMA = pa.schema([("number", pa.int64()), *_ROW])

_NEWLINE, _OPEN, _CLOSE = b"\n{}"
# Enough for several threads of pyarrow, which take 1 MiB at a time. A damaged file makes a whole batch slow.
_BATCH_BYTES = 8 << 20


def read_epochs(trials: Mapping[TrialFolder, str | None], problems: Problems) -> pa.Table:
    """The rows of `trials`, in their order: the trial's `number`, then the fields of EpochRow, null where unknown.

    Each file is read up to the first line that is not the next epoch's row. `problems` gets a line for each file that
    has such a line, has changed since the trial ended, or cannot be read.

    Args:
        trials: whose rows are read, each with the rows_digest of its record.
        problems: gets what is wrong.
    """
    digests = {trial.number: digest for trial, digest in trials.items()}
    tables = [SCHEMA.empty_table()]
    for batch in _read_batches(trials, problems):
        table = _parse_whole(batch) if _digests_fit(batch, digests) else None
        tables.append(_parse_each(batch, digests, problems) if table is None else table)
    return pa.concat_tables(tables)


def _read_batches(trials: Iterable[TrialFolder], problems: Problems) -> Iterator[dict[int, bytes]]:
    """The contents of the files that have any, by the trial's number."""
    batch: dict[int, bytes] = {}
    size = 0
    for trial in trials:
        try:
            content = trial.read_text(ROWS_NAME)
        except FileNotFoundError:
            continue
        except OSError as error:
            problems.add(trial.number, f"{_file_name(trial.number)} cannot be read: {error.strerror}", error)
            continue
        if content:
            batch[trial.number] = content
            size += len(content)
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = {}, 0
    if batch:
        yield batch


def _file_name(number: int) -> str:
    return f"trials/{number:05}/epochs.jsonl"


def _digests_fit(contents: Mapping[int, bytes], digests: Mapping[int, str | None]) -> bool:
    return all(digests.get(number) in (None, compute_content_digest(content)) for number, content in contents.items())


def _parse_whole(contents: Mapping[int, bytes]) -> pa.Table | None:
    """The rows of all files together, or None if records.epoch might find other rows in any of them."""
    joined = b"".join(contents.values())
    counts = _count_lines(joined, np.cumsum([len(content) for content in contents.values()]))
    if counts is None:
        return None
    # An unknown column is an error, too: pyarrow would pass over values that are no JSON.
    options = pa.json.ParseOptions(explicit_schema=_ROW, unexpected_field_behavior="error")
    try:
        table = pa.json.read_json(pa.BufferReader(joined), parse_options=options)
    except pa.ArrowInvalid:
        return None
    epochs = np.arange(1, counts.sum() + 1) - np.repeat(np.cumsum(counts) - counts, counts)
    if len(table) != len(epochs) or not _is_sound(table) or (table["epoch"].to_numpy() != epochs).any():
        return None
    numbers = np.repeat(np.array(list(contents)), counts)
    return pa.Table.from_arrays([pa.chunked_array([numbers]), *table.columns], schema=SCHEMA)


def _count_lines(joined: bytes, ends: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | None:
    """How many lines each file has; None unless each line, the last included, is `{...}` and a newline.

    pyarrow itself takes several objects on a line, or one on several lines, and stops without an error at a NUL.

    Args:
        joined: the files, one after another.
        ends: where each ends.
    """
    text = np.frombuffer(joined, np.uint8)
    newlines = np.flatnonzero(text == _NEWLINE)
    starts = np.concatenate([[0], newlines[:-1] + 1])
    if (text[ends - 1] != _NEWLINE).any() or (text[starts] != _OPEN).any() or (text[newlines - 1] != _CLOSE).any():
        return None
    return None if b"\0" in joined else np.diff(np.searchsorted(newlines, ends), prepend=0)


def _is_sound(table: pa.Table) -> bool:
    """Whether each row has all that it must have, the phase is one, and the metrics are finite."""
    required = [name for name in _ROW.names if name not in OPTIONAL]
    return (
        not any(table[name].null_count for name in required)
        and compute.all(compute.is_in(table["phase"], pa.array(PHASES))).as_py()
        and all(compute.all(compute.is_finite(table[name]), min_count=0).as_py() for name in METRICS)
    )


def _parse_each(contents: Mapping[int, bytes], digests: Mapping[int, str | None], problems: Problems) -> pa.Table:
    numbers: list[int] = []
    rows: list[EpochRow] = []
    for number, content in contents.items():
        of_file, problem = parse_epoch_rows(content, digests.get(number))
        if problem is not None:
            problems.add(number, f"{_file_name(number)}: {problem}")
        numbers += [number] * len(of_file)
        rows += of_file
    columns: dict[str, Any] = {"number": numbers} | {name: [getattr(row, name) for row in rows] for name in _ROW.names}
    # numpy takes whole numbers that no float holds exactly, which pyarrow refuses.
    columns |= {name: np.array(columns[name], np.float64) for name in METRICS}
    return pa.table([pa.array(columns[field.name], field.type, from_pandas=True) for field in SCHEMA], schema=SCHEMA)

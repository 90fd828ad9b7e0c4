"""The rows of all epochs of all trials as one table.

A file is read up to its first torn or damaged line, as the trial itself does when it resumes. The fast way is taken
for whatever looks whole; only what does not is read line by line, which can say where the damage is. Files are read
into a few buffers that are parsed meanwhile by other threads: pyarrow needs no GIL for it.
"""

import json
import os
import sys
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.json
from pyarrow import compute

from records.epoch import METRICS as MEASURES
from records.epoch import PHASES

Problems = dict[int, list[str]]  # of each trial, by its number

_ROW = pa.schema([("epoch", pa.int64()), ("phase", pa.string()), *((measure, pa.float64()) for measure in MEASURES)])
SCHEMA = pa.schema([("number", pa.int64()), *_ROW])

_BUFFER_BYTES = 1 << 20  # as much as pyarrow parses at a time; it also stays in a core's cache
_NEWLINE, _OPEN, _CLOSE = b"\n{}"


class Rows(NamedTuple):
    """The bytes of one trial's epochs.jsonl; `name` is what to call the file in a problem."""

    number: int
    name: str
    text: bytes | memoryview


@dataclass(frozen=True)
class Parsed:
    """The rows (as SCHEMA has them) of some trials, in their order, and how many each of them has."""

    table: pa.Table
    counts: npt.NDArray[np.int64]


class EpochsReader:
    """Reads one epochs.jsonl after another, and parses them in the background."""

    def __init__(self) -> None:
        workers: int = pa.cpu_count()
        self._pool = ThreadPoolExecutor(workers)
        self._parsing: deque[tuple[Future[tuple[Parsed, Problems]], bytearray]] = deque()
        self._most = workers + 1
        self._parsed: list[Parsed] = []
        self._problems: Problems = {}
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._used = 0
        self._files: list[Rows] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def read(self, number: int, name: str, descriptor: int | None) -> None:
        """Reads the file `descriptor`, of trial `number`; None is for no row.

        Raises OSError where that cannot be done, and nothing is noted of the trial.
        """
        start = self._used
        while descriptor is not None:
            if self._used == len(self._buffer):
                start = self._make_room(start)
            try:
                count = os.readv(descriptor, [self._view[self._used :]])
            except OSError:
                self._used = start
                raise
            if count == 0:
                break
            self._used += count
        self._files.append(Rows(number, name, self._view[start : self._used]))

    def finish(self) -> tuple[Parsed, Problems]:
        """The rows of all that was read, and what could not be read of it."""
        self._parse(self._used)
        while self._parsing:
            self._collect()
        tables = [parsed.table for parsed in self._parsed]
        table = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
        counts = np.concatenate([np.zeros(0, np.int64), *(parsed.counts for parsed in self._parsed)])
        return Parsed(table, counts), self._problems

    def _make_room(self, start: int) -> int:
        """Gives what is before `start` away to be parsed; what is behind it begins the next buffer."""
        rest = bytes(self._view[start : self._used])
        self._parse(start)
        spare = self._collect() if len(self._parsing) >= self._most else None
        size = max(_BUFFER_BYTES, 2 * len(rest))
        buffer = spare if spare is not None and len(spare) >= size else bytearray(size)
        buffer[: len(rest)] = rest
        self._buffer, self._view, self._used, self._files = buffer, memoryview(buffer), len(rest), []
        return 0

    def _parse(self, end: int) -> None:
        if self._files:
            future = self._pool.submit(parse, self._view[:end], self._files)
            self._parsing.append((future, self._buffer))

    def _collect(self) -> bytearray:
        future, buffer = self._parsing.popleft()
        parsed, problems = future.result()
        self._parsed.append(parsed)
        self._problems |= problems
        return buffer


def parse(joined: bytes | memoryview, files: Sequence[Rows]) -> tuple[Parsed, Problems]:
    """The rows of `files`, whose texts one behind another are `joined`, and what could not be read of them.

    A row an epoch: `number` of the trial, epoch (1-based), phase, and MEASURES (null where they are not known), in the
    order of `files` and of their lines.
    """
    problems: Problems = {}
    counts = _lines(joined, np.array([len(file.text) for file in files], dtype=np.int64))
    table = None if counts is None else _parse(joined, counts.sum())
    if table is None or counts is None:
        # File by file, so that what becomes of one does not depend on those beside it.
        texts = [_whole(file, problems) for file in files]
        counts = np.array([text.count(b"\n") for text in texts], dtype=np.int64)
        table = _parse(b"".join(texts), counts.sum())
        assert table is not None  # each is sound, or was written by _whole_lines
    numbers = np.repeat(np.array([file.number for file in files], dtype=np.int64), counts)
    table = table.add_column(0, SCHEMA.field("number"), pa.array(numbers))
    _check_order(table, {file.number: file.name for file in files}, problems)
    return Parsed(table, counts), problems


def _lines(joined: bytes | memoryview, sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | None:
    """How many lines each file has; None where one does not begin and end as a JSON object and its line do.

    None also where there is more than ASCII, which no trial writes: pyarrow does not look at what it passes over.
    """
    if not len(joined):
        return np.zeros(len(sizes), np.int64)
    text = np.frombuffer(joined, np.uint8)
    newlines = np.flatnonzero(text == _NEWLINE)
    ends = np.cumsum(sizes)
    if text.max() > 127 or (text[ends[sizes > 0] - 1] != _NEWLINE).any():
        return None
    starts = np.concatenate([[0], newlines[:-1] + 1])
    if (text[starts] != _OPEN).any() or (text[newlines - 1] != _CLOSE).any():
        return None
    return np.diff(np.searchsorted(newlines, ends), prepend=0)


def _parse(joined: bytes | memoryview, lines: int) -> pa.Table | None:
    """The rows of `joined`, or None where that is not one sound row a line."""
    if not len(joined):
        return _ROW.empty_table()
    parse_options = pa.json.ParseOptions(explicit_schema=_ROW, unexpected_field_behavior="ignore")
    read_options = pa.json.ReadOptions(use_threads=False)  # the threads are the callers
    try:
        table = pa.json.read_json(pa.BufferReader(pa.py_buffer(joined)), read_options, parse_options)
    except pa.ArrowInvalid:
        return None
    sound = (
        len(table) == lines
        and table["epoch"].null_count == 0
        and compute.min(table["epoch"]).as_py() >= 1
        and compute.all(compute.is_in(table["phase"], pa.array(PHASES))).as_py()
    )
    return _finite(table) if sound else None


def _finite(table: pa.Table) -> pa.Table:
    """The table without what is not finite: it is as unknown as what is not there."""
    for index, measure in enumerate(MEASURES, start=2):
        finite = compute.is_finite(table[measure])
        if not compute.all(finite, min_count=0).as_py():
            table = table.set_column(index, measure, compute.if_else(finite, table[measure], None))
    return table


def _whole(file: Rows, problems: Problems) -> bytes:
    """The sound lines of a file."""
    text = bytes(file.text)
    lines = _lines(text, np.array([len(text)]))
    if lines is not None and _parse(text, lines.sum()) is not None:
        return text
    return _whole_lines(file, text, problems)


def _whole_lines(file: Rows, text: bytes, problems: Problems) -> bytes:
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
            _note(problems, file.number, f"{file.name}: line {index + 1} is {how}; {left_out} left out")
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


def _check_order(table: pa.Table, names: dict[int, str], problems: Problems) -> None:
    """Says once a trial where an epoch is missing or is there twice: sums over its rows are wrong."""
    number, epoch = table["number"].to_numpy(), table["epoch"].to_numpy()
    broken = np.flatnonzero((number[1:] == number[:-1]) & (epoch[1:] != epoch[:-1] + 1))
    for index in broken[np.unique(number[broken], return_index=True)[1]]:
        of = int(number[index])
        _note(problems, of, f"{names[of]}: epoch {epoch[index + 1]} follows epoch {epoch[index]}")


def _note(problems: Problems, number: int, problem: str) -> None:
    problems.setdefault(number, []).append(problem)

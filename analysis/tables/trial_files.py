"""Trials read from their records: trial.json, epochs.jsonl and model/measure.json of each, in one go.

Paths are texts relative to a folder that is open, and files are read without Python's file objects: with thousands of
small files it is those that take the time.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import TypeAdapter, ValidationError

from analysis.tables.epochs import EpochsReader, Parsed, Problems
from analysis.tables.measurements import Measurement, measurement
from analysis.tables.trials import Found, read_record, trials_table
from records.trial import TrialFolder, TrialRecord

_RECORD = TypeAdapter(TrialRecord)


@dataclass(frozen=True)
class Part:
    """Some trials of an experiment, in the order of their numbers.

    trials: the columns of tables.trials.SCHEMA. configs, of_dense: the configuration of each, and what its
    measure.json says of the dense network, if anything. epochs: their rows. problems: what could not be read.
    """

    trials: pa.Table
    configs: Sequence[dict[str, Any]]
    of_dense: Sequence[dict[str, Any] | None]
    epochs: Parsed
    problems: Problems

    @property
    def numbers(self) -> npt.NDArray[np.int64]:
        numbers: npt.NDArray[np.int64] = self.trials["number"].to_numpy()
        return numbers


def merged(old: Part, kept: npt.NDArray[np.bool_], new: Part) -> Part:
    """The trials of `old` that are `kept` and those of `new`, in the order of their numbers."""
    places = np.concatenate([np.flatnonzero(kept), len(kept) + np.arange(len(new.numbers))])
    places = places[np.argsort(np.concatenate([old.numbers, new.numbers])[places], kind="stable")]
    chosen = places.tolist()
    configs, of_dense = [*old.configs, *new.configs], [*old.of_dense, *new.of_dense]
    counts = np.concatenate([old.epochs.counts, new.epochs.counts])
    starts = np.cumsum(counts) - counts
    starts, counts = starts[places], counts[places]
    # Trials whose rows already follow one another stay together.
    begins = np.flatnonzero(np.append(True, starts[1:] != starts[:-1] + counts[:-1])) if len(places) else places
    rows = pa.concat_tables([old.epochs.table, new.epochs.table])
    runs = [
        rows.slice(start, length)
        for start, length in zip(starts[begins].tolist(), np.add.reduceat(counts, begins).tolist(), strict=True)
    ]
    gone = set(old.numbers[~kept].tolist())
    return Part(
        pa.concat_tables([old.trials, new.trials]).take(pa.array(places)),
        [configs[place] for place in chosen],
        [of_dense[place] for place in chosen],
        Parsed(pa.concat_tables(runs) if runs else rows.slice(0, 0), counts),
        {number: lines for number, lines in old.problems.items() if number not in gone} | new.problems,
    )


def read_trials(folder: Path, names: Sequence[str], dense: dict[str, Any] | None) -> tuple[Part, dict[str, list[str]]]:
    """The trials of the experiment in `folder` that are in `names` of its trials/.

    Args:
        names: of folders, in the order of their numbers.
        dense: what dense.json holds.

    Returns:
        The trials whose record can be read, and of the others what is wrong with it, by their names.
    """
    with _opened(folder) as directory, EpochsReader() as reader:
        texts = [_read(name, directory, reader) for name in names]
        # The rows are parsed meanwhile.
        records: list[TrialRecord] = []
        unreadable: dict[str, list[str]] = {}
        for name, text in zip(names, texts, strict=True):
            try:
                records.append(_record(folder, name, text.record))
            except ValueError as error:
                unreadable[name] = [str(error).removeprefix(f"{folder}{os.sep}")]
        epochs, of_rows = reader.finish()
    if unreadable:
        readable = np.array([name not in unreadable for name in names])
        texts = [text for text, is_readable in zip(texts, readable.tolist(), strict=True) if is_readable]
        epochs = Parsed(epochs.table.filter(np.repeat(readable, epochs.counts)), epochs.counts[readable])
    problems: Problems = {}
    found = []
    for record, text in zip(records, texts, strict=True):
        place = f"trials/{record.number:05}"
        lines = [f"{place}/trial.json: {problem}" for problem in record.problems]
        lines += text.problems
        lines += of_rows.get(record.number, ())
        measured = None if text.measured is None else _measurement(text.measured, place, lines)
        if lines:
            problems[record.number] = lines
        found.append(Found(record, measured))
    table = trials_table(found, epochs, dense, problems)
    of_dense = [None if each.measured is None else each.measured.values_of_dense() for each in found]
    return Part(table, [record.config for record in records], of_dense, epochs, problems), unreadable


class _Texts(NamedTuple):
    """What was read of a trial besides its rows: trial.json and measure.json, None where there is none."""

    record: bytes | None
    measured: bytes | None
    problems: list[str]


def _read(name: str, directory: int, reader: EpochsReader) -> _Texts:
    problems: list[str] = []
    number = number_of_folder(name)
    # The record first: a trial that ends in between must not look complete without its last row.
    try:
        record = _bytes_of(f"trials/{name}/trial.json", directory) if number >= 0 else None
    except OSError:
        record = None
    place = f"trials/{name}/epochs.jsonl"
    try:
        descriptor = None if record is None else os.open(place, os.O_RDONLY, dir_fd=directory)
        try:
            reader.read(number, place, descriptor)
        finally:
            if descriptor is not None:
                os.close(descriptor)
    except OSError as error:
        reader.read(number, place, None)
        if not isinstance(error, FileNotFoundError):
            problems.append(f"{place} cannot be read: {error.strerror}")
    place = f"trials/{name}/model/measure.json"
    try:
        measured = None if record is None else _bytes_of(place, directory)
    except OSError as error:
        measured = None
        if not isinstance(error, FileNotFoundError):
            problems.append(f"{place} cannot be read: {error.strerror}")
    return _Texts(record, measured, problems)


def number_of_folder(name: str) -> int:
    """The number of the trial whose folder is called so; -1 for a name that no trial's is."""
    number = int(name)
    # trials/12 and trials/00012 would both be trial 12.
    return number if name == f"{number:05}" and number < 2**63 else -1


def _record(folder: Path, name: str, text: bytes | None) -> TrialRecord:
    """Raises ValueError, in one line, where the record is damaged, missing or that of another trial."""
    try:
        if text is not None:
            record = _RECORD.validate_json(text, strict=True)
            if record.number == int(name) and max(abs(record.attempt), abs(record.confirms or 0)) < 2**63:
                return record
    except ValidationError:
        pass
    return read_record(TrialFolder(folder / "trials" / name))  # which says what is wrong


def _measurement(text: bytes, place: str, problems: list[str]) -> Measurement | None:
    try:
        return measurement(text)
    except ValueError as error:
        problems.append(f"{place}/model/measure.json is damaged: {error}")
        return None


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _bytes_of(path: str, directory: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY, dir_fd=directory)
    try:
        text = os.read(descriptor, 1 << 14)
        while more := os.read(descriptor, 1 << 14):
            text += more
        return text
    finally:
        os.close(descriptor)

"""tables/trials.parquet and tables/epochs.parquet of an experiment: its tables, kept for the next time.

Any program that reads Parquet can read them: a row a trial (columns: tables.trials) and a row an epoch (tables.epochs),
null where something is not known.

They are derived from the records: if they are deleted, they come back. They are used whole if no file that they were
made from has changed since, and otherwise not at all. They are written only when no trial is running.
"""

import hashlib
import json
import os
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import compute

from analysis.tables import epochs, trials
from records.experiment import ExperimentFolder
from records.files import read_bytes, replace_file

# One more whenever a column is computed in another way though its name and type stay the same.
FORMAT = 4
# A file that changed so recently may change again in the same tick of the storage's clock, and keep time and size.
SETTLE_SECONDS = 2

# 100,000 trials of 100 epochs take 0.8 GB.
MOST_BYTES = 4 << 30

_TRIAL_FILES = ("trial.json", "epochs.jsonl", "model/measure.json")
_KEY = b"alphaprune"


@dataclass(frozen=True)
class Tables:
    """What the records of an experiment's trials are turned into.

    trials: all columns of tables.trials. epochs: returns the rows (tables.epochs), or raises OSError if they come from
    a file that is damaged. dense_measure: tables.measurements.dense_values. problems: a line each.
    """

    trials: pa.Table
    epochs: Callable[[], pa.Table]
    dense_measure: dict[str, Any]
    problems: list[str]


def take_fingerprint(folder: ExperimentFolder) -> str | None:
    """A hash of all that the tables depend on: the names, times of change and sizes of the files, and the columns.

    None if a file has changed so recently (or is dated in the future) that its next change might not show, or if the
    storage does not tell.
    """
    newest = time.time_ns() - SETTLE_SECONDS * 10**9
    lines = [str(FORMAT), str(trials.SCHEMA), str(epochs.SCHEMA)]
    try:
        names = [f"trials/{name}/{file}" for name in folder.trial_names() for file in _TRIAL_FILES]
        for name in ("dense/dense.json", *names):
            try:
                status = os.stat(f"{folder.path}/{name}")  # noqa: PTH116  # Path's own takes three times as long
            except (FileNotFoundError, NotADirectoryError) as error:
                lines.append(f"{name} {type(error).__name__}")
                continue
            if status.st_mtime_ns > newest:
                return None
            lines.append(f"{name} {status.st_mtime_ns} {status.st_size}")
    except (OSError, ValueError):
        return None
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_tables(folder: ExperimentFolder, fingerprint: str) -> Tables | None:
    """The tables of the experiment; None if there are none with this fingerprint, or if they are damaged."""
    try:
        trials_content = read_bytes(_path(folder, "trials"), most=MOST_BYTES)
        epochs_content = pa.BufferReader(read_bytes(_path(folder, "epochs"), most=MOST_BYTES))
        epochs_file = pq.ParquetFile(epochs_content, page_checksum_verification=True)
        if _metadata(epochs_file) != {"fingerprint": fingerprint, "trials": zlib.crc32(trials_content)}:
            return None
        trials_file = pq.ParquetFile(pa.BufferReader(trials_content))
        stored, table = _metadata(trials_file), trials_file.read(use_threads=False)
        rows = compute.sum(table["epochs_done"], min_count=0).as_py()
        if epochs_file.schema_arrow != epochs.SCHEMA or epochs_file.metadata.num_rows != rows:
            return None
        return Tables(table, epochs_file.read, stored["dense_measure"], stored["problems"])
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None


def write_tables(folder: ExperimentFolder, fingerprint: str, tables: Tables) -> None:
    """Writes the tables of the experiment whole; if that fails, they stay as they were."""
    stored = {"dense_measure": tables.dense_measure, "problems": tables.problems}
    try:
        trials_content = _as_parquet(tables.trials, stored)
        # So the reader can tell that the two belong together and that trials.parquet is undamaged. In epochs.parquet
        # each page has a checksum of its own.
        origin = {"fingerprint": fingerprint, "trials": zlib.crc32(trials_content)}
        epochs_content = _as_parquet(tables.epochs(), origin)
        (folder.path / "tables").mkdir(exist_ok=True)
        replace_file(_path(folder, "trials"), lambda file: file.write(trials_content))
        replace_file(_path(folder, "epochs"), lambda file: file.write(epochs_content))
    except (OSError, pa.ArrowException):
        pass  # storage that is full or read-only, and columns that Parquet does not have


def _path(folder: ExperimentFolder, name: str) -> Path:
    return folder.path / "tables" / f"{name}.parquet"


def _metadata(file: pq.ParquetFile) -> Any:
    return json.loads(file.metadata.metadata[_KEY])


def _as_parquet(table: pa.Table, metadata: dict[str, Any]) -> memoryview:
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, store_schema=False, write_page_checksum=True) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({_KEY: json.dumps(metadata)})
    return memoryview(sink.getvalue())

"""tables/trials.parquet and tables/epochs.parquet of an experiment: what was read of its records, for the next time.

Derived: deleted, they come back. Any program that reads Parquet reads them; a row a trial (columns: tables.trials)
and a row an epoch (tables.epochs), null where something is not known. trials.parquet also has two columns of JSON
text: `config`, the configuration, and `dense_measure`, what the trial's measure.json says of the dense network.

They are never taken for the truth. With each trial the time of change and the size of all three files that it was read
from are kept, and what differs in any of them is read anew; as is what changed within GRACE_SECONDS before it was
read, since it may have changed again in the same tick of the clock (as Git has it of its index).
"""

import json
import time
import zlib
from base64 import b64decode, b64encode
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from analysis.tables import epochs, trials
from analysis.tables.epochs import Parsed, Problems
from analysis.tables.trial_files import Part
from records.files import replace_file

# One more whenever the columns, which are compared one by one, are computed in another way.
FORMAT = 1
# So much is read at once; what is larger stays open until its rows are asked for.
SMALL_BYTES = 4_000_000
GRACE_SECONDS = 2

_READ_FROM = ("trial.json", "epochs.jsonl", "model/measure.json")
_KEY = b"alphaprune"
_TEXTS = ("config", "dense_measure")

State = npt.NDArray[np.int64]
UNSETTLED = -2


@dataclass(frozen=True)
class Seen:
    """The files of some trials as they are now.

    state: a row a trial, of the time of change (ns) and the size of each of its files, -1 for what is not there.
    settled: whether a change from now on would show in it.
    """

    state: State
    settled: npt.NDArray[np.bool_]


def look_at(folder: Path, names: Sequence[str]) -> Seen | None:
    """How the files of the trials `names` of the experiment in `folder` are; None where that cannot be told."""
    paths = [f"{folder}/trials/{name}/{file}" for file in _READ_FROM for name in names]
    settled_before = time.time_ns() - GRACE_SECONDS * 10**9
    half = len(paths) // 2
    try:
        # pyarrow asks without the GIL, and in half the time that os.stat takes.
        with ThreadPoolExecutor(1) as other:
            rest = other.submit(fs.LocalFileSystem().get_file_info, paths[half:])
            infos = [*fs.LocalFileSystem().get_file_info(paths[:half]), *rest.result()]
    except (OSError, ValueError):
        return None
    changed = pa.array([info.mtime_ns for info in infos], pa.int64()).fill_null(-1).to_numpy()
    sizes = pa.array([info.size for info in infos], pa.int64()).fill_null(-1).to_numpy()
    shape = (len(_READ_FROM), len(names))
    state = np.concatenate([changed.reshape(shape), sizes.reshape(shape)]).T
    newest = state[:, : len(_READ_FROM)].max(axis=1)
    return Seen(state, newest < settled_before)


@dataclass(frozen=True)
class Stored:
    """What the tables hold.

    trials: the columns of tables.trials, those of the configuration included. state: of each trial's files when they
    were read, as in Seen, all UNSETTLED for one that had not settled. dense_measure: of all trials together.
    """

    trials: pa.Table
    state: State
    problems: Problems
    dense_measure: dict[str, Any]
    _trials: pq.ParquetFile
    _epochs: pq.ParquetFile

    @property
    def numbers(self) -> npt.NDArray[np.int64]:
        numbers: npt.NDArray[np.int64] = self.trials["number"].to_numpy()
        return numbers

    def epochs(self) -> pa.Table:
        """The rows of all trials; raises OSError where the file is damaged."""
        return self._epochs.read()

    def part(self) -> Part:
        """The trials as they were read from their records; raises OSError where a file is damaged."""
        texts = self._trials.read(list(_TEXTS))
        epochs = self.epochs()
        counts = np.bincount(np.searchsorted(self.numbers, epochs["number"].to_numpy()), minlength=len(self.numbers))
        return Part(
            self.trials.select(trials.SCHEMA.names),
            [json.loads(text) for text in texts["config"].to_pylist()],
            [text and json.loads(text) for text in texts["dense_measure"].to_pylist()],
            Parsed(epochs, counts),
            self.problems,
        )


def read(folder: Path, dense: str) -> Stored | None:
    """The tables of the experiment in `folder`; None where there are none, damaged ones, or others than these.

    Args:
        dense: what is known of the dense network that the trials are compared with.
    """
    try:
        # Read whole and compared with what epochs.parquet says of it: so it is undamaged, and the two are of one load.
        text = (folder / "tables" / "trials.parquet").read_bytes()
        path = folder / "tables" / "epochs.parquet"
        file = path if path.stat().st_size > SMALL_BYTES else pa.BufferReader(path.read_bytes())
        of_epochs = pq.ParquetFile(file, page_checksum_verification=True)
        if of_epochs.schema_arrow != epochs.SCHEMA or of_epochs.metadata.metadata[_KEY] != _digest(text).encode():
            return None
        of_trials = pq.ParquetFile(pa.BufferReader(text))
        if list(of_trials.schema_arrow)[: len(trials.SCHEMA)] != list(trials.SCHEMA):
            return None
        kept = json.loads(of_trials.metadata.metadata[_KEY])
        if (kept["format"], kept["dense"]) != (FORMAT, dense):
            return None
        table = of_trials.read([name for name in of_trials.schema_arrow.names if name not in _TEXTS], use_threads=False)
        return Stored(
            table,
            np.frombuffer(b64decode(kept["state"]), np.int64).reshape(len(table), -1),
            {int(number): lines for number, lines in kept["problems"].items()},
            kept["dense_measure"],
            of_trials,
            of_epochs,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException):
        return None


def write(folder: Path, dense: str, part: Part, table: pa.Table, dense_measure: dict[str, Any], state: State) -> None:
    """Writes the tables of all trials of the experiment; where that cannot be done, they are as they were.

    Args:
        part, table: the trials, and all their columns.
        dense, dense_measure, state: as in `read` and Stored.
    """
    kept = {
        "format": FORMAT,
        "dense": dense,
        "problems": part.problems,
        "dense_measure": dense_measure,
        "state": b64encode(state.astype(np.int64).tobytes()).decode(),
    }
    texts = ([json.dumps(config) for config in part.configs], [each and json.dumps(each) for each in part.of_dense])
    for name, values in zip(_TEXTS, texts, strict=True):
        table = table.append_column(name, pa.array(values, pa.string()))
    try:
        (folder / "tables").mkdir(exist_ok=True)
        text = _parquet(table, json.dumps(kept))
        rows = _parquet(part.epochs.table, _digest(text))
        replace_file(folder / "tables" / "trials.parquet", lambda file: file.write(text))
        replace_file(folder / "tables" / "epochs.parquet", lambda file: file.write(rows))
    except (OSError, pa.ArrowException):
        pass  # storage that is full or read-only, and columns that Parquet does not have


def _parquet(table: pa.Table, kept: str) -> memoryview:
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, store_schema=False, write_page_checksum=True) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({_KEY: kept})
    return memoryview(sink.getvalue())


def _digest(text: bytes | memoryview) -> str:
    return f"{FORMAT}-{len(text)}-{zlib.crc32(text):08x}"

"""An experiment's records, read: finished, running, interrupted or damaged. Only tables/ is written."""

import gc
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import pandas as pd
import pyarrow as pa

from analysis.experiment import Experiment, Once
from analysis.experiments import Experiments
from analysis.tables import cache as tables
from analysis.tables.measurements import dense_measure
from analysis.tables.trial_files import Part, merged, number_of_folder, read_trials
from analysis.tables.trials import config_table, number_of
from analysis.text import printable
from records.experiment import ExperimentFolder
from records.files import read_json

# What of dense.json makes a difference to the trials.
_COMPARED = ("val_accuracy", "macs", "parameters")

AnyPath = str | os.PathLike[str]


@overload
def load(path: AnyPath, *, cache: bool = True) -> Experiment: ...  # type: ignore[overload-overlap]  # a text is an iterable
@overload
def load(path: Iterable[AnyPath], *, cache: bool = True) -> Experiments: ...
def load(path: AnyPath | Iterable[AnyPath], *, cache: bool = True) -> Experiment | Experiments:
    """Reads the experiment in the folder `path`, or those in several folders as one.

    Args:
        path: of a folder, or an iterable of such, as a list or Path("ray_results").glob("cifar10*"); ~ is one's home.
        cache: whether what has not changed since the last time may come from tables/ in the folder, and whether that
            may be written. What is returned is the same with and without.

    Raises:
        ValueError: in one line, where a folder holds no experiment, and for no folder and one that is given twice.
    """
    if isinstance(path, str | os.PathLike):
        return _load(_folder(path), cache)
    return Experiments.of([_load(_folder(each), cache) for each in path])


def _folder(path: AnyPath) -> ExperimentFolder:
    return ExperimentFolder(Path(os.path.expanduser(path)))  # noqa: PTH111  # Path's own fails where there is no home


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keeps Python from looking for cycles in what was read again and again: there are none in it, but much of it."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@_no_collection()
def _load(folder: ExperimentFolder, cache: bool) -> Experiment:
    record = _experiment_record(folder)
    problems: list[str] = []
    dense = _dense(folder, problems)
    loaded = _Reader(folder.path, _names(folder, problems), dense).read(cache)
    measured = loaded.dense_measure
    if "measured" in measured:
        measured = measured | {"measured": pd.Timestamp(measured["measured"])}
    trials: pd.DataFrame = loaded.trials.to_pandas()
    trials.index = pd.Index(trials.pop("number").to_numpy(), name="number")
    return Experiment(
        folder.path,
        record,
        dense,
        measured,
        trials,
        [printable(problem) for problem in (*problems, *loaded.problems)],
        Once(lambda: loaded.epochs().to_pandas()),
    )


@dataclass(frozen=True)
class _Loaded:
    """All trials: their columns, their rows, which are read when they are asked for, and the problems in order."""

    trials: pa.Table
    epochs: Callable[[], pa.Table]
    dense_measure: dict[str, Any]
    problems: list[str]


@dataclass(frozen=True)
class _Reader:
    """Reads the trials in `names`, in the order of their numbers, of the experiment in `folder`, as `dense` is."""

    folder: Path
    names: Sequence[str]
    dense: dict[str, Any] | None

    def read(self, cache: bool) -> _Loaded:
        if not cache or not self.names:
            return self._from_records()
        with ThreadPoolExecutor(1) as other:
            looking = other.submit(tables.look_at, self.folder, self.names)
            stored = tables.read(self.folder, self._compared)
            seen = looking.result()
        return self._from_records() if seen is None else self._refreshed(stored, seen)

    @property
    def _compared(self) -> str:
        """What trials are compared with; another one makes other trials of the same records."""
        return str([number_of(self.dense, key) for key in _COMPARED])

    def _from_records(self) -> _Loaded:
        part, unreadable = read_trials(self.folder, self.names, self.dense)
        return self._loaded(part, unreadable)

    def _refreshed(self, stored: tables.Stored | None, seen: tables.Seen) -> _Loaded:
        """The trials as the tables have them, but for what changed since."""
        numbers = np.array([number_of_folder(name) for name in self.names])
        same = np.zeros(len(numbers), np.bool_)
        if stored is not None:
            at = np.searchsorted(stored.numbers, numbers).clip(max=len(stored.numbers) - 1)
            same = (stored.numbers[at] == numbers) & (stored.state[at] == seen.state).all(axis=1)
            if same.all() and len(same) == len(stored.numbers):
                return self._as_stored(stored)
            try:
                old = stored.part()
            except (OSError, ValueError):
                return self._refreshed(None, seen)
        changed = [name for name, is_same in zip(self.names, same.tolist(), strict=True) if not is_same]
        part, unreadable = read_trials(self.folder, changed, self.dense)
        if stored is not None:
            part = merged(old, np.isin(stored.numbers, numbers[same]), part)
        loaded = self._loaded(part, unreadable)
        read = np.isin(numbers, part.numbers)
        gone = 0 if stored is None else len(stored.numbers) - np.isin(stored.numbers, numbers[read]).sum()
        if len(part.numbers) and (stored is None or _worthwhile(part, gone + (read & seen.settled & ~same).sum())):
            state = np.where(seen.settled[:, None], seen.state, tables.UNSETTLED)
            tables.write(self.folder, self._compared, part, loaded.trials, loaded.dense_measure, state[read])
        return loaded

    def _as_stored(self, stored: tables.Stored) -> _Loaded:
        def rows() -> pa.Table:
            try:
                return stored.epochs()
            except (OSError, ValueError):
                return read_trials(self.folder, self.names, self.dense)[0].epochs.table

        problems = [line for _, lines in sorted(stored.problems.items()) for line in lines]
        return _Loaded(stored.trials, rows, stored.dense_measure, problems)

    def _loaded(self, part: Part, unreadable: dict[str, list[str]]) -> _Loaded:
        config = config_table(part.configs)
        names = part.trials.column_names + config.column_names
        table = pa.Table.from_arrays(part.trials.columns + config.columns, names)
        problems = [
            line
            for name in self.names
            for line in unreadable.get(name) or part.problems.get(number_of_folder(name), [])
        ]
        of_dense = dense_measure([each for each in part.of_dense if each])
        return _Loaded(table, lambda: part.epochs.table, of_dense, problems)


def _worthwhile(part: Part, changed: int) -> bool:
    """Whether to write the tables: while trials run something has always changed, and it should be a twentieth."""
    running = "running" in part.trials["state"].to_pylist()
    return changed > 0 and (not running or 20 * changed >= len(part.numbers))


def _names(folder: ExperimentFolder, problems: list[str]) -> list[str]:
    """The names of the trials' folders, in the order of their numbers."""
    try:
        with os.scandir(folder.path / "trials") as entries:
            names = [entry.name for entry in entries]
    except FileNotFoundError:
        return []
    except OSError as error:
        problems.append(f"trials cannot be read: {error.strerror}")
        return []
    return sorted((name for name in names if name.isascii() and name.isdecimal()), key=lambda name: (int(name), name))


def _experiment_record(folder: ExperimentFolder) -> dict[str, Any]:
    where = str(folder.path)
    try:
        if not folder.record_path.is_file():
            names = sorted(path.parent.name for path in folder.path.glob("*/experiment.json"))
            hint = (
                f"choose one of those in it: {printable(', '.join(names))}" if names else "`alphaprune run` makes one"
            )
            raise ValueError(f"{where!r} holds no experiment: there is no experiment.json in it; {hint}")
        record = read_json(folder.record_path)
    except OSError as error:
        raise ValueError(f"{where!r} cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise ValueError(f"{folder.record_path} is damaged: nested too deep") from error
    if not isinstance(record.get("name"), str) or not isinstance(record.get("settings"), dict):
        raise ValueError(
            f"{where!r} holds no experiment: its experiment.json has no `name` and `settings`; "
            "was it written by something else than `alphaprune run`?"
        )
    return record


def _dense(folder: ExperimentFolder, problems: list[str]) -> dict[str, Any] | None:
    try:
        dense = read_json(folder.dense / "dense.json")
    except FileNotFoundError:
        return None
    except OSError as error:
        problems.append(f"dense/dense.json cannot be read: {error.strerror}")
        return None
    except RecursionError:
        problems.append("dense/dense.json is damaged: nested too deep")
        return None
    except ValueError as error:
        problems.append(str(error).removeprefix(f"{folder.path}{os.sep}"))
        return None
    for key in _COMPARED:
        if math.isnan(number_of(dense, key)):
            problems.append(f"dense/dense.json has no number `{key}`; what is compared with it is unknown")
    return dense

"""An experiment's records, read: finished, running, interrupted or damaged. Only tables/ is written."""

import os
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import overload

import pandas as pd
import pyarrow as pa

from analysis.experiment import Experiment
from analysis.experiments import Experiments
from analysis.tables.cache import Tables, read_tables, take_fingerprint, write_tables
from analysis.tables.epochs import read_epochs
from analysis.tables.measurements import dense_values, read_measurement
from analysis.tables.problems import Problems
from analysis.tables.trials import build_trials_table, read_records
from analysis.text import printable
from records.dense import read_dense_record
from records.driver import DEFAULT_STORAGE
from records.experiment import ExperimentFolder, ExperimentRecord, experiment_names
from records.measurement import Measurement
from records.trial import TrialFolder, TrialRecord

AnyPath = str | os.PathLike[str]


@overload
def load(path: AnyPath, *, storage: AnyPath = DEFAULT_STORAGE, cache: bool = True) -> Experiment: ...  # type: ignore[overload-overlap]  # a text is an iterable
@overload
def load(path: Iterable[AnyPath], *, storage: AnyPath = DEFAULT_STORAGE, cache: bool = True) -> Experiments: ...
def load(
    path: AnyPath | Iterable[AnyPath], *, storage: AnyPath = DEFAULT_STORAGE, cache: bool = True
) -> Experiment | Experiments:
    """Reads an experiment, or several as one.

    Args:
        path: the experiment's name in `storage`, as the commands take it, or the path of its folder; or an iterable of
            such, as a list or Path("ray_results").glob("cifar10*"); ~ is one's home.
        storage: the folder in which names are looked up.
        cache: whether tables/ in the folder may be used if nothing has changed since it was written, and whether it may
            be written. What is returned is the same with and without.

    Raises:
        ValueError: in one line, where a folder holds no experiment or one of a newer format, and for no folder and one
            that is given twice.
    """
    if isinstance(path, str | os.PathLike):
        return _load(ExperimentFolder(find_path(path, storage)), cache)
    return Experiments.of([_load(ExperimentFolder(find_path(each, storage)), cache) for each in path])


def find_path(experiment: AnyPath, storage: AnyPath = DEFAULT_STORAGE) -> Path:
    """The path of an experiment that is given by its name in `storage` or by its path, whether or not it exists.

    A text without a slash is a name if `storage` has such an experiment.
    """
    path, folder = expand_home(experiment), expand_home(storage)
    is_name = isinstance(experiment, str) and path.name == experiment
    return folder / path if is_name and (_is_experiment(folder / path) or not path.exists()) else path


def _is_experiment(path: Path) -> bool:
    return os.path.lexists(ExperimentFolder(path).record_path)


def expand_home(path: AnyPath) -> Path:
    """The path, with ~ as the home folder."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  # Path's own fails where there is no home


def _load(folder: ExperimentFolder, cache: bool) -> Experiment:
    record = _read_experiment_record(folder)
    # Before anything is read, so that a change from now on makes another fingerprint.
    fingerprint = take_fingerprint(folder) if cache else None
    dense, own_problems = None, []
    try:
        folder.check_digest()
    except ValueError as error:
        own_problems.append(f"{folder.record_path.name} is damaged: {error}")
    try:
        dense = read_dense_record(folder.dense_path)
    except ValueError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            own_problems.append(str(error).removeprefix(f"{folder.path}{os.sep}"))
    tables = read_tables(folder, fingerprint) if fingerprint else None
    records: dict[int, TrialRecord] = {}
    measurements: dict[int, Measurement | None] = {}
    if tables is None:
        problems = Problems()
        # The records first: a trial that ends while it is read must not look complete without its last row.
        read = read_records(folder, problems)
        records = {trial.number: record for trial, record in read.items()}
        epochs = _read_epochs(read, problems)
        measurements = {trial.number: read_measurement(trial, problems) for trial in read}
        table = build_trials_table(records, measurements, epochs, dense, problems)
        measured = dense_values(filter(None, measurements.values()))
        tables = Tables(table, lambda: epochs, measured, problems.lines())
        is_running = any(each.state == "running" for each in records.values())
        if fingerprint and records and not is_running and not problems.may_pass:
            write_tables(folder, fingerprint, tables)
    return Experiment(
        folder.path,
        record,
        dense,
        {name: pd.Timestamp(value) if name == "measured" else value for name, value in tables.dense_measure.items()},
        tables.trials.to_pandas().set_index("number"),
        [printable(problem) for problem in (*own_problems, *tables.problems)],
        partial(_build_epochs_frame, folder, tables),
        records,
        measurements,
    )


def _read_epochs(records: Mapping[TrialFolder, TrialRecord], problems: Problems) -> pa.Table:
    return read_epochs({trial: record.rows_digest for trial, record in records.items()}, problems)


def _build_epochs_frame(folder: ExperimentFolder, tables: Tables) -> pd.DataFrame:
    try:
        rows = tables.epochs()
    except (OSError, pa.ArrowException):  # a damaged tables/epochs.parquet, which shows only when it is read
        rows = _read_epochs(read_records(folder, Problems()), Problems())
    frame: pd.DataFrame = rows.to_pandas().set_index("number")
    return frame


def _read_experiment_record(folder: ExperimentFolder) -> ExperimentRecord:
    try:
        return folder.read_record()
    except ValueError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        names = ", ".join(experiment_names(folder.path))
        hint = f"choose one of those in it: {printable(names)}" if names else "`alphaprune run` makes one"
        raise ValueError(
            f"{str(folder.path)!r} holds no experiment: there is no experiment.json in it; {hint}"
        ) from error.__cause__

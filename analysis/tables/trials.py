"""The trials as a table, one row per trial: what each is, how it stands and what came out.

Accuracies and sparsities are fractions in [0, 1]; what is not known is NaN (NaT for times). columns.TRIAL_COLUMNS says
what each column is. After them comes every other leaf of the configuration by its path, such as lr.peak and
pruning.amount; a list as JSON text, and so are texts and others where a leaf has both.
"""

import math
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from analysis.columns import RANKING_COLUMNS, TRIAL_COLUMNS, number_of
from analysis.tables.configs import build_config_table
from analysis.tables.measurements import NUMBERS, TEXTS, pruned_values
from analysis.tables.problems import Problems
from records.dense import DenseRecord
from records.experiment import ExperimentFolder
from records.measurement import Measurement
from records.trial import TrialFolder, TrialRecord

_TIME = pa.timestamp("us", "UTC")
_OUTCOMES = ("pruned_val_accuracy", "val_accuracy", "mac_sparsity", "parameter_sparsity", "channel_sparsity")

_TYPES = {"whole": pa.int64(), "text": pa.string(), "time": _TIME}  # all others are numbers

# All columns but those of the configuration.
SCHEMA = pa.schema([(name, _TYPES.get(column.kind, pa.float64())) for name, column in TRIAL_COLUMNS.items()])

# The leaves of the configuration that are there whatever the configurations hold, and always of one type.
_SETTINGS = ("alpha.family", "alpha.rate", "lr.policy")

# A leaf of the configuration that is called so becomes `config.<name>`: `experiment`, and what a ranking puts before
# the columns, would be there twice.
RESERVED = frozenset({*TRIAL_COLUMNS, *RANKING_COLUMNS, "experiment"})


def read_records(folder: ExperimentFolder, problems: Problems) -> dict[TrialFolder, TrialRecord]:
    """The records that can be read, by the folders of their trials, in order; `problems` gets a line for each other."""
    records = {}
    try:
        trials = list(folder.trial_folders())
    except ValueError as error:
        problems.add(-1, str(error).removeprefix(f"{folder.path}{os.sep}"), error.__cause__)
        trials = []
    for trial in trials:
        try:
            record = records[trial] = trial.read_record()
        except ValueError as error:
            problems.add(trial.number, str(error).removeprefix(f"{folder.path}{os.sep}"), error.__cause__)
        else:
            for problem in record.problems:
                problems.add(record.number, f"trials/{record.number:05}/trial.json: {problem}")
    return records


def _text_of(values: Any, key: str) -> str | None:
    value = values.get(key) if isinstance(values, dict) else None
    return value if isinstance(value, str) else None


def build_trials_table(
    records: Mapping[int, TrialRecord],
    measurements: Mapping[int, Measurement | None],
    epochs: pa.Table,
    dense: DenseRecord | None,
    problems: Problems,
) -> pa.Table:
    """The columns of SCHEMA and those of the configurations, one row per trial; what is not known is null.

    Args:
        records, measurements: of all trials, by their numbers, in the order of these.
        epochs: their rows (tables.epochs).
    """
    last = _find_last_rows(list(records), epochs)
    _forget_unfinished(last, records, problems)
    columns = _record_columns(records, problems) | _outcome_columns(records, last, dense)
    measured = [{} if one is None else pruned_values(one) for one in measurements.values()]
    columns |= {name: [values.get(name) for values in measured] for name in (*NUMBERS, *TEXTS)}
    columns["measured"] = pa.array(columns["measured"], pa.string()).cast(_TIME)
    fixed = [pa.array(columns[field.name], field.type, from_pandas=True) for field in SCHEMA]
    config = build_config_table([record.config for record in records.values()], RESERVED, _SETTINGS)
    return pa.Table.from_arrays([*fixed, *config.columns], [*SCHEMA.names, *config.column_names])


def _record_columns(records: Mapping[int, TrialRecord], problems: Problems) -> dict[str, Any]:
    """What a trial is and where it ran."""
    each = list(records.values())
    taken_over = ("number", "kind", "control", "confirms", "twin", "state", "attempt", "host", "device", "error")
    return {
        **{name: [getattr(record, name) for record in each] for name in taken_over},
        **{name: _times(records, name, problems) for name in ("created", "started", "finished")},
        "parent": [record.parent and record.parent.number for record in each],
        "alpha.family": [_text_of(record.config.get("alpha"), "family") for record in each],
        "alpha.rate": [number_of(record.config.get("alpha"), "rate") for record in each],
        "lr.policy": [_text_of(record.config.get("lr"), "policy") for record in each],
    }


def _outcome_columns(
    records: Mapping[int, TrialRecord], last: dict[str, npt.NDArray[Any]], dense: DenseRecord | None
) -> dict[str, Any]:
    """What came out of a trial, according to its rows and its cut."""
    cuts = [record.cut for record in records.values()]

    def scale_dense(name: str, sparsity: str) -> npt.NDArray[np.float64]:
        known = np.array([cut and getattr(cut, name) for cut in cuts], np.float64)
        return np.where(np.isnan(known), getattr(dense, name, math.nan) * (1 - last[sparsity]), known)

    return {
        **{name: last[name] for name in (*_OUTCOMES, "training_cost", "seconds")},
        "epochs_done": last["epoch"],
        "accuracy_at_cut": [cut and cut.val_accuracy for cut in cuts],
        "accuracy_drop": getattr(dense, "val_accuracy", math.nan) - last["pruned_val_accuracy"],
        "macs": scale_dense("macs", "mac_sparsity"),
        "parameters": scale_dense("parameters", "parameter_sparsity"),
    }


def _find_last_rows(numbers: Sequence[int], epochs: pa.Table) -> dict[str, npt.NDArray[Any]]:
    """Of each trial the epoch and the outcomes of its last row (0 and NaN where it has none), and sums."""
    of_row = epochs["number"].to_numpy()
    ends = np.searchsorted(of_row, np.array(numbers, np.int64), side="right")
    counts = np.diff(ends, prepend=0)
    last: dict[str, npt.NDArray[Any]] = {"epoch": counts}
    for name in _OUTCOMES:
        last[name] = np.full(len(numbers), np.nan)
        last[name][counts > 0] = epochs[name].to_numpy()[ends[counts > 0] - 1]
    trial = np.repeat(np.arange(len(numbers)), counts)
    # Of rows without seconds or without a cost, the sums are not known.
    seconds, costs = epochs["epoch_seconds"].to_numpy(), epochs["training_cost"].to_numpy()
    return last | {
        "seconds": np.bincount(trial, seconds, len(numbers)),
        "training_cost": np.bincount(trial, costs, len(numbers)),
    }


def _forget_unfinished(
    last: dict[str, npt.NDArray[Any]], records: Mapping[int, TrialRecord], problems: Problems
) -> None:
    """A complete trial whose last rows are lost has no outcome: that of an earlier epoch must not pass for it."""
    for row, (number, record) in enumerate(records.items()):
        epoch = last["epoch"][row]
        if record.state == "complete" and epoch < number_of(record.config, "epochs"):
            ends = f"trials/{number:05}/epochs.jsonl ends at epoch {epoch} of {record.config['epochs']}"
            problems.add(number, f"{ends} though the trial is complete; its outcome is unknown")
            for name in _OUTCOMES:
                last[name][row] = math.nan


def _times(records: Mapping[int, TrialRecord], name: str, problems: Problems) -> list[datetime | None]:
    times: list[datetime | None] = []
    for number, record in records.items():
        text = getattr(record, name)
        try:
            time = None if text is None else datetime.fromisoformat(text)
            times.append(time and (time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)))
        except (ValueError, OverflowError):
            problems.add(number, f"trials/{number:05}/trial.json: {text!r} is no time")
            times.append(None)
    return times

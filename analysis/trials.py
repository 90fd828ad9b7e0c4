"""The trials as a frame, a row a trial: what each is, how it stands and what came out.

Accuracies and sparsities are fractions in [0, 1]; what is not known is NaN (NaT for times).

    number                                the index
    control, parent, state                NaN, NaN for what the study asked for; parent is what a branch goes on from
    family, rate, policy                  alpha.family, alpha.rate (NaN where the family has none), lr.policy
    epochs_done                           the last epoch that has a row, 0 where none has
    pruned_val_accuracy, val_accuracy     of the last epoch
    accuracy_at_cut                       right behind the removal of the channels, before retraining
    accuracy_drop                         val_accuracy of the dense network - pruned_val_accuracy
    mac_sparsity, parameter_sparsity, channel_sparsity    of the last epoch
    macs, parameters                      of the pruned network; before the cut, of what the cut would leave
    seconds                               the sum of its rows' epoch_seconds
    attempt, host, device, error          as in trial.json
    created, started, finished            UTC
    alpha.rate, lr.peak, pruning.amount ...    every leaf of the configuration, by name; a list as JSON text
"""

import json
import math
import sys
from collections.abc import Iterable
from itertools import compress
from typing import Any

import pandas as pd

from analysis.epochs import MEASURES
from trainable.records import TrialFolder, TrialRecord


def read_record(folder: TrialFolder) -> TrialRecord:
    """The trial's record; raises ValueError, in one line, where it is damaged, missing or that of another trial."""
    record = folder.read()
    # trials/12 and trials/00012 would both be trial 12.
    if folder.path.name != f"{record.number:05}":
        raise ValueError(f"{folder.record_path} is left out: trial {record.number} is in {record.number:05}")
    if max(record.number, abs(record.attempt)) >= 2**63:
        raise ValueError(f"{folder.record_path} is damaged: number and attempt must be less than 2**63")
    return record


def number_of(values: Any, key: str) -> float:
    """The number that `values` holds under `key`; NaN where it is no JSON object or holds none that is finite."""
    value = values.get(key) if isinstance(values, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        return math.nan
    return float(value)


def _text_of(values: Any, key: str) -> str | None:
    value = values.get(key) if isinstance(values, dict) else None
    return value if isinstance(value, str) else None


def trials_frame(
    records: list[TrialRecord], epochs: pd.DataFrame, dense: dict[str, Any] | None, problems: list[str]
) -> pd.DataFrame:
    """The frame described above, in the order of `records`, whose rows are in `epochs`."""
    index = pd.Index([record.number for record in records], dtype="int64", name="number")
    config = _config_frame(records, index)
    last = epochs.drop_duplicates("number", keep="last").set_index("number").reindex(index)
    last["epoch"] = last["epoch"].fillna(0).astype("int64")
    _forget_unfinished(last, records, problems)

    def texts(values: Iterable[str | None]) -> pd.Series:
        return pd.Series(list(values), index, dtype="str")

    def numbers(values: Iterable[float]) -> pd.Series:
        return pd.Series(list(values), index, dtype="float64")

    def left_by_cut(name: str, sparsity: str) -> pd.Series:
        left = numbers(number_of(record.cut, name) for record in records)
        return left.fillna(number_of(dense, name) * (1 - last[sparsity]))

    columns = {
        "control": texts(record.control for record in records),
        "parent": numbers(number_of(record.parent, "number") for record in records),
        "state": texts(record.state for record in records),
        "family": texts(_text_of(record.config.get("alpha"), "family") for record in records),
        "rate": numbers(number_of(record.config.get("alpha"), "rate") for record in records),
        "policy": texts(_text_of(record.config.get("lr"), "policy") for record in records),
        "epochs_done": last["epoch"],
        "pruned_val_accuracy": last["pruned_val_accuracy"],
        "val_accuracy": last["val_accuracy"],
        "accuracy_at_cut": numbers(number_of(record.cut, "val_accuracy") for record in records),
        "accuracy_drop": number_of(dense, "val_accuracy") - last["pruned_val_accuracy"],
        "mac_sparsity": last["mac_sparsity"],
        "parameter_sparsity": last["parameter_sparsity"],
        "channel_sparsity": last["channel_sparsity"],
        "macs": left_by_cut("macs", "mac_sparsity"),
        "parameters": left_by_cut("parameters", "parameter_sparsity"),
        "seconds": epochs.groupby("number")["epoch_seconds"].sum().reindex(index, fill_value=0.0),
        "attempt": pd.Series([record.attempt for record in records], index, dtype="int64"),
        "host": texts(record.host for record in records),
        "device": texts(record.device for record in records),
        "error": texts(record.error for record in records),
        "created": _times(texts(record.created for record in records), problems),
        "started": _times(texts(record.started for record in records), problems),
        "finished": _times(texts(record.finished for record in records), problems),
    }
    taken = {"number", "rank", "on_front", *columns}
    config.columns = pd.Index([f"config.{name}" if name in taken else name for name in config.columns])
    return pd.concat([pd.DataFrame(columns), config], axis=1)


def _forget_unfinished(last: pd.DataFrame, records: list[TrialRecord], problems: list[str]) -> None:
    """A complete trial whose last rows are lost has no outcome: that of an earlier epoch must not pass for it."""
    done = last["epoch"].tolist()
    lost = [
        record.state == "complete" and epoch < number_of(record.config, "epochs")
        for record, epoch in zip(records, done, strict=True)
    ]
    last.loc[lost, list(MEASURES)] = math.nan
    for record, epoch in compress(zip(records, done, strict=True), lost):
        problems.append(
            f"trials/{record.number:05}/epochs.jsonl ends at epoch {epoch} of {record.config['epochs']} though the "
            "trial is complete; its outcome is unknown"
        )


def _config_frame(records: list[TrialRecord], index: "pd.Index[int]") -> pd.DataFrame:
    """A column a leaf of the configurations, called by its path; what a configuration lacks is unknown."""
    columns: dict[str, list[Any]] = {}
    for row, record in enumerate(records):
        _flatten("", record.config, columns, row, len(records))
    return pd.DataFrame(dict(sorted(columns.items())), index=index)


def _flatten(prefix: str, values: dict[str, Any], columns: dict[str, list[Any]], row: int, rows: int) -> None:
    for key, value in values.items():
        if isinstance(value, dict):
            _flatten(f"{prefix}{key}.", value, columns, row, rows)
        else:
            column = columns.get(prefix + key)
            if column is None:
                column = columns[prefix + key] = [None] * rows
            column[row] = json.dumps(value) if isinstance(value, list) else value


def _times(texts: pd.Series, problems: list[str]) -> pd.Series:
    times = pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce").dt.as_unit("us")
    for number, text in texts[times.isna() & texts.notna()].items():
        problems.append(f"trials/{number:05}/trial.json: {text!r} is no time")
    return times

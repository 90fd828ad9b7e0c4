"""The trials as a table, a row a trial: what each is, how it stands and what came out.

Accuracies and sparsities are fractions in [0, 1]; what is not known is NaN (NaT for times).

    number                                the index
    control, parent, confirms, state      NaN, NaN, NaN for what the study asked for; parent is what a branch goes on
                                          from, confirms what a repeat with another seed repeats
    family, rate, policy                  alpha.family, alpha.rate (NaN where the family has none), lr.policy
    epochs_done                           the last epoch that has a row, 0 where none has
    pruned_val_accuracy, val_accuracy     of the last epoch
    accuracy_at_cut                       right behind the removal of the channels, before retraining
    accuracy_drop                         val_accuracy of the dense network - pruned_val_accuracy
    mac_sparsity, parameter_sparsity, channel_sparsity    of the last epoch
    macs, parameters                      of the pruned network; before the cut, of what the cut would leave
    test_accuracy                         of the pruned network on the whole test set
    size_bytes                            of the pruned network's model.safetensors
    batch1_latency_ms, batch32_latency_ms, batch256_latency_ms    one forward pass of the pruned network, median
    batch1_speedup, batch32_speedup, batch256_speedup    dense latency / pruned latency, median of the pairs
    batch1_images_per_second, batch32_images_per_second, batch256_images_per_second    images / median latency
    test_seconds                          the whole test set once, in batches of 256
    peak_memory_bytes, mean_memory_bytes  while the test set ran, weights included, over what the process holds idle
                                          (CPU: its own resident memory; GPU: allocated)
    weights_bytes, activation_bytes       that the weights take, and what a batch of 256 takes besides, at its peak
    measured_on, measured                 the device that these were measured on, and when (UTC)
    seconds                               the sum of its rows' epoch_seconds
    attempt, host, device, error          as in trial.json
    created, started, finished            UTC
    alpha.rate, lr.peak, pruning.amount ...    every leaf of the configuration, by name; a list as JSON text, and so
                                          are texts and others where a leaf has both
"""

import json
import math
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute

from analysis.tables import measurements as measured
from analysis.tables.epochs import Parsed, Problems
from records.trial import TrialFolder, TrialRecord

_TIME = pa.timestamp("us", "UTC")
_EXACT = 2**53  # up to here each whole number is a float
_OUTCOMES = ("pruned_val_accuracy", "val_accuracy", "mac_sparsity", "parameter_sparsity", "channel_sparsity")
_EARLY, _LATE = (pa.scalar(datetime(year, 1, 1, tzinfo=UTC), _TIME) for year in (2, 9999))

# All columns but those of the configuration.
SCHEMA = pa.schema(
    [
        ("number", pa.int64()),
        ("control", pa.string()),
        ("parent", pa.float64()),
        ("confirms", pa.float64()),
        ("state", pa.string()),
        ("family", pa.string()),
        ("rate", pa.float64()),
        ("policy", pa.string()),
        ("epochs_done", pa.int64()),
        ("pruned_val_accuracy", pa.float64()),
        ("val_accuracy", pa.float64()),
        ("accuracy_at_cut", pa.float64()),
        ("accuracy_drop", pa.float64()),
        ("mac_sparsity", pa.float64()),
        ("parameter_sparsity", pa.float64()),
        ("channel_sparsity", pa.float64()),
        ("macs", pa.float64()),
        ("parameters", pa.float64()),
        *((name, pa.float64()) for name in measured.NUMBERS),
        ("measured_on", pa.string()),
        ("measured", _TIME),
        ("seconds", pa.float64()),
        ("attempt", pa.int64()),
        ("host", pa.string()),
        ("device", pa.string()),
        ("error", pa.string()),
        ("created", _TIME),
        ("started", _TIME),
        ("finished", _TIME),
    ]
)

# A leaf of the configuration that is called so is `config.<name>`: what ranking puts before the columns, and what the
# Parquet file has besides them.
_TAKEN = {*SCHEMA.names, "config", "dense_measure", "experiment"} | {
    *("rank", "on_front", "front", "crowding", "score", "seeds", "accuracy_std", "test_accuracy_std", "test_seeds"),
}


class Found(NamedTuple):
    """A trial's files but for its rows; measured is None where there is no measure.json or a damaged one."""

    record: TrialRecord
    measured: measured.Measurement | None


def read_record(folder: TrialFolder) -> TrialRecord:
    """The trial's record; raises ValueError, in one line, where it is damaged, missing or that of another trial."""
    record = folder.read()
    # trials/12 and trials/00012 would both be trial 12.
    if folder.path.name != f"{record.number:05}":
        raise ValueError(f"{folder.record_path} is left out: trial {record.number} is in {record.number:05}")
    if max(record.number, abs(record.attempt), abs(record.confirms or 0)) >= 2**63:
        raise ValueError(f"{folder.record_path} is damaged: number, attempt and confirms must be less than 2**63")
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


def trials_table(found: Sequence[Found], epochs: Parsed, dense: dict[str, Any] | None, problems: Problems) -> pa.Table:
    """The columns of SCHEMA, a row for each of `found`, whose rows are `epochs`; what is not known is null."""
    records = [each.record for each in found]
    last = _last_rows(epochs)
    _forget_unfinished(last, records, problems)

    cuts = [record.cut for record in records]
    alphas = [record.config.get("alpha") for record in records]

    def left_by_cut(name: str, sparsity: str) -> npt.NDArray[np.float64]:
        left = _numbers([cut and getattr(cut, name) for cut in cuts])
        return np.where(np.isnan(left), number_of(dense, name) * (1 - last[sparsity]), left)

    nothing: dict[str, Any] = {}
    of_pruned = [nothing if each.measured is None else each.measured.values_of_pruned() for each in found]
    columns: dict[str, Any] = {
        "number": [record.number for record in records],
        "control": [record.control for record in records],
        "parent": _numbers([record.parent and record.parent.number for record in records]),
        "confirms": _numbers([record.confirms for record in records]),
        "state": [record.state for record in records],
        "family": [_text_of(alpha, "family") for alpha in alphas],
        "rate": _numbers([alpha.get("rate") if isinstance(alpha, dict) else None for alpha in alphas]),
        "policy": [_text_of(record.config.get("lr"), "policy") for record in records],
        "epochs_done": last["epoch"],
        "accuracy_at_cut": _numbers([cut and cut.val_accuracy for cut in cuts]),
        "accuracy_drop": number_of(dense, "val_accuracy") - last["pruned_val_accuracy"],
        "macs": left_by_cut("macs", "mac_sparsity"),
        "parameters": left_by_cut("parameters", "parameter_sparsity"),
        "seconds": last["seconds"],
        "attempt": [record.attempt for record in records],
        "host": [record.host for record in records],
        "device": [record.device for record in records],
        "error": [record.error for record in records],
        **{name: last[name] for name in _OUTCOMES},
        **{name: [values.get(name) for values in of_pruned] for name in (*measured.NUMBERS, *measured.TEXTS)},
    }
    columns["measured"] = pa.array(columns["measured"], pa.string()).cast(_TIME)
    for name in ("created", "started", "finished"):
        columns[name] = _times([getattr(record, name) for record in records], columns["number"], problems)
    return pa.table([pa.array(columns[field.name], field.type, from_pandas=True) for field in SCHEMA], schema=SCHEMA)


def config_table(configs: Sequence[dict[str, Any]]) -> pa.Table:
    """A column a leaf of the configurations, called by its path, sorted; what a configuration lacks is null."""
    columns: dict[str, list[Any]] = {}
    _collect("", range(len(configs)), configs, columns, len(configs))
    names = sorted(columns)
    return pa.table([_leaf(columns[name]) for name in names], names=names)


def _collect(
    prefix: str, rows: Sequence[int], trees: Sequence[dict[str, Any]], columns: dict[str, list[Any]], count: int
) -> None:
    """Adds the leaves of `trees`, which stand in `rows`, to the `columns` of `count` rows."""
    # Most trees have the same keys in the same order, so that their values can be taken key by key.
    places_of: dict[tuple[str, ...], list[int]] = {}
    for place, keys in enumerate(map(tuple, trees)):
        places_of.setdefault(keys, []).append(place)
    for keys, places in places_of.items():
        of_keys = zip(*[trees[place].values() for place in places], strict=True)
        rows_of_keys = [rows[place] for place in places]
        for key, values in zip(keys, of_keys, strict=True):
            _collect_key(prefix + key, rows_of_keys, values, columns, count)


def _collect_key(
    name: str, rows: Sequence[int], values: Sequence[Any], columns: dict[str, list[Any]], count: int
) -> None:
    kinds = set(map(type, values))
    if dict in kinds:
        inner = [(row, value) for row, value in zip(rows, values, strict=True) if type(value) is dict]
        _collect(f"{name}.", [row for row, _ in inner], [tree for _, tree in inner], columns, count)
        if kinds == {dict}:
            return
    name = f"config.{name}" if name in _TAKEN else name
    if len(values) == count and dict not in kinds and name not in columns:
        columns[name] = list(values)
        return
    column = columns.setdefault(name, [None] * count)
    for row, value in zip(rows, values, strict=True):
        if value is not None and type(value) is not dict:
            column[row] = value


def _leaf(values: list[Any]) -> pa.Array:
    """The values of one leaf in a plain type: truth values, whole numbers, numbers, else text (see above)."""
    kinds = set(map(type, values)) - {type(None)}
    if not kinds or kinds in ({str}, {bool}, {float}):
        return pa.array(values)
    known = [value for value in values if value is not None]
    if kinds == {int} and min(known) >= -(2**63) and max(known) < 2**63:
        return pa.array(values, pa.int64())
    if kinds == {int, float} and all(type(value) is float or abs(value) <= _EXACT for value in known):
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return pa.array(
        [value if value is None or isinstance(value, str) else _json(value) for value in values], pa.string()
    )


def _json(value: Any) -> str:
    return json.dumps(value) if value != [] else "[]"  # most are, and dumps takes its time


def _numbers(values: Sequence[Any]) -> npt.NDArray[np.float64]:
    """What of `values` is a finite number, NaN for all else; as `number_of`, but for many."""
    if set(map(type, values)) <= {float, int, type(None)}:
        with suppress(OverflowError):  # a whole number beyond a float
            numbers = np.array(values, np.float64)
            return np.where(np.isfinite(numbers), numbers, np.nan)
    return np.array([number_of({"": value}, "") for value in values], np.float64)


def _last_rows(epochs: Parsed) -> dict[str, npt.NDArray[Any]]:
    """Of each trial the epoch and the outcomes of its last row (0 and NaN where it has none), and its seconds."""
    has_rows = epochs.counts > 0
    ends = np.cumsum(epochs.counts)[has_rows] - 1
    last: dict[str, npt.NDArray[Any]] = {"epoch": np.zeros(len(has_rows), np.int64)}
    last |= {name: np.full(len(has_rows), np.nan) for name in _OUTCOMES}
    for name, values in last.items():
        values[has_rows] = epochs.table[name].to_numpy()[ends]
    trial = np.repeat(np.arange(len(has_rows)), epochs.counts)
    seconds = np.nan_to_num(epochs.table["epoch_seconds"].to_numpy(), posinf=0, neginf=0)
    return last | {"seconds": np.bincount(trial, seconds, len(has_rows))}


def _forget_unfinished(last: dict[str, npt.NDArray[Any]], records: Sequence[TrialRecord], problems: Problems) -> None:
    """A complete trial whose last rows are lost has no outcome: that of an earlier epoch must not pass for it."""
    for row, (record, epoch) in enumerate(zip(records, last["epoch"].tolist(), strict=True)):
        if record.state == "complete" and epoch < number_of(record.config, "epochs"):
            for name in _OUTCOMES:
                last[name][row] = math.nan
            problems.setdefault(record.number, []).append(
                f"trials/{record.number:05}/epochs.jsonl ends at epoch {epoch} of {record.config['epochs']} though "
                "the trial is complete; its outcome is unknown"
            )


def _times(texts: Sequence[str | None], numbers: Sequence[int], problems: Problems) -> pa.Array:
    try:
        times = pa.array(texts, pa.string()).cast(_TIME)
    except pa.ArrowInvalid:
        times = None
    # An offset can lead out of the years that a datetime has.
    if (
        times is None
        or not compute.all(compute.and_(compute.less(_EARLY, times), compute.less(times, _LATE)), min_count=0).as_py()
    ):
        times = pa.array([_time(text, number, problems) for text, number in zip(texts, numbers, strict=True)], _TIME)
    return times


def _time(text: str | None, number: int, problems: Problems) -> datetime | None:
    try:
        time = None if text is None else datetime.fromisoformat(text)
        return time and (time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        problems.setdefault(number, []).append(f"trials/{number:05}/trial.json: {text!r} is no time")
        return None

"""How the figures of speed, memory and size were taken: a line for each way that is in the records."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from analysis.experiment import Experiment
from analysis.labels import count
from analysis.report.phrases import listed, plain
from analysis.tables.trials import number_of
from records.experiment import ExperimentFolder
from records.files import read_json

_GIB = 2.0**30


@dataclass(frozen=True)
class Measuring:
    """One machine and way. title: a clause. facts: (what, how), in the order to be read."""

    title: str
    facts: tuple[tuple[str, str], ...]


def measurings(experiment: Experiment) -> list[Measuring]:
    """The ways in which the trials were measured, one after another; none where nothing was."""
    groups: dict[tuple[str, tuple[tuple[str, str], ...]], list[dict[str, Any]]] = {}
    for record in _records(experiment):
        groups.setdefault((_text(record, "measured_on"), _machine(record)), []).append(record)
    found = []
    for (device, machine), records in groups.items():
        days = sorted({_text(record, "created")[:10] for record in records} - {""})
        facts = [*machine, ("pairs of runs timed", _pairs(records)), ("memory sampled every", _sampled(records))]
        facts += [("other programs took", _busy(records)), ("kept alone", _alone(records))]
        facts += [("date", days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}")] if days else []
        title = f"{count(len(records), 'network')} measured on {device or 'an unknown device'}"
        found.append(Measuring(title, tuple((what, how) for what, how in facts if how)))
    return found


def _records(experiment: Experiment) -> Iterator[dict[str, Any]]:
    folder = ExperimentFolder(experiment.path)
    measured = experiment.trials.index[experiment.trials["measured_on"].notna()]
    for number in measured.tolist():
        try:
            yield read_json(folder.trial(number).model / "measure.json")
        except (OSError, ValueError, RecursionError):
            continue  # replaced or lost since the experiment was loaded


def _machine(record: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    memory = number_of(record, "device_memory_bytes") / _GIB
    return (
        ("device memory", "" if math.isnan(memory) else f"{memory:.1f} GiB"),
        ("threads", _number(record, "threads")),
        ("number format", _text(record, "dtype")),
        ("memory layout", _text(record, "memory_format").replace("_", "-")),
        ("compiled", {"eager": "no, eager"}.get(_text(record, "compile"), _text(record, "compile"))),
        ("freed memory", _allocator(record)),
        ("MACs counted by", _text(record, "macs_counter")),
        ("memory counted", _memory(record, "counter")),
        ("PyTorch", _text(record, "torch")),
        ("CUDA", _text(record, "cuda")),
    )


def _allocator(record: dict[str, Any]) -> str:
    settings = record.get("allocator")
    return "kept for the next pass where time was taken" if isinstance(settings, dict) and settings else ""


def _memory(record: dict[str, Any], key: str) -> str:
    network = record.get("pruned")
    memory = network.get("memory") if isinstance(network, dict) else None
    return _text(memory, key) if isinstance(memory, dict) else ""


def _pairs(records: list[dict[str, Any]]) -> str:
    """How many pairs of each batch size, from the least to the most."""
    pairs: dict[str, list[float]] = {}
    for record in records:
        rows = record.get("latency")
        for row in rows if isinstance(rows, list) else []:
            if (number := number_of(row, "pairs")) >= 1 and (size := _number(row, "batch_size")):
                pairs.setdefault(size, []).append(number)
    return listed([f"{_range(numbers)} of batches of {size}" for size, numbers in pairs.items()])


def _sampled(records: list[dict[str, Any]]) -> str:
    intervals = [
        interval
        for record in records
        for side in ("dense", "pruned")
        if isinstance(record.get(side), dict) and (interval := number_of(record[side].get("memory"), "sample_ms")) > 0
    ]
    return f"{_range(intervals)} ms" if intervals else ""


def _busy(records: list[dict[str, Any]]) -> str:
    """How much of the CPUs others had right before; on a busy machine latencies are worth little."""
    busy = [taken for record in records if (taken := number_of(record, "busy")) >= 0]
    return f"at most {max(busy):.0%} of the CPUs' time right before a measurement" if busy else ""


def _alone(records: list[dict[str, Any]]) -> str:
    known = [record["alone"] for record in records if isinstance(record.get("alone"), bool)]
    if not known:
        return ""
    return "from the training of this and other searches" if all(known) else "not always: there was no lock to be had"


def _range(numbers: list[float]) -> str:
    return " to ".join(dict.fromkeys(f"{number:g}" for number in (min(numbers), max(numbers))))


def _text(record: dict[str, Any], key: str) -> str:
    value = record.get(key)
    return plain(value) if isinstance(value, str) else ""


def _number(record: Any, key: str) -> str:
    value = number_of(record, key)
    return "" if math.isnan(value) else f"{value:g}"

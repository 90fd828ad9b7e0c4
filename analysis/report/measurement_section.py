"""How the figures of speed, memory and size were taken: a line for each way that is in the records."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.experiment import Experiment
from analysis.labels import count
from analysis.report.phrases import listed, plain
from records.measurement import Measurement

_GIB = 2.0**30


@dataclass(frozen=True)
class Measuring:
    """One machine and way. title: a clause. facts: (what, how), in the order to be read."""

    title: str
    facts: tuple[tuple[str, str], ...]


def measurings(experiment: Experiment) -> list[Measuring]:
    """The ways in which the trials were measured, one after another; none where nothing was."""
    groups: dict[tuple[str, tuple[tuple[str, str], ...]], list[Measurement]] = {}
    for number in experiment.trials.index[experiment.trials["measured_on"].notna()].tolist():
        one = experiment.measurement(number)
        if one is not None:  # damaged or lost since the experiment was loaded
            groups.setdefault((plain(one.measured_on or ""), _machine(one)), []).append(one)
    found = []
    for (device, machine), each in groups.items():
        days = sorted({one.created[:10] for one in each if one.created})
        facts = [*machine, ("pairs of runs timed", _pairs(each)), ("memory sampled every", _sampled(each))]
        facts += [("other programs took", _busy(each)), ("kept alone", _alone(each))]
        facts += [("date", days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}")] if days else []
        title = f"{count(len(each), 'network')} measured on {device or 'an unknown device'}"
        found.append(Measuring(title, tuple((what, how) for what, how in facts if how)))
    return found


def _machine(one: Measurement) -> tuple[tuple[str, str], ...]:
    memory = one.device_memory_bytes
    counter = one.pruned.memory.counter if one.pruned and one.pruned.memory else None
    return (
        ("device memory", "" if memory is None else f"{memory / _GIB:.1f} GiB"),
        ("threads", "" if one.threads is None else f"{one.threads}"),
        ("number format", plain(one.dtype or "")),
        ("memory layout", plain(one.memory_format or "").replace("_", "-")),
        ("compiled", "no, eager" if one.compile == "eager" else plain(one.compile or "")),
        ("freed memory", "kept for the next pass where time was taken" if one.allocator else ""),
        ("MACs counted by", plain(one.macs_counter or "")),
        ("memory counted", plain(counter or "")),
        ("PyTorch", plain(one.torch or "")),
        ("CUDA", plain(one.cuda or "")),
    )


def _pairs(measurements: Sequence[Measurement]) -> str:
    """How many pairs of each batch size, from the least to the most."""
    pairs: dict[int, list[float]] = {}
    for one in measurements:
        for latency in one.latency:
            if latency.pairs:
                pairs.setdefault(latency.batch_size, []).append(latency.pairs)
    return listed([f"{_range(numbers)} of batches of {size}" for size, numbers in pairs.items()])


def _sampled(measurements: Sequence[Measurement]) -> str:
    memories = [network.memory for one in measurements for network in (one.dense, one.pruned) if network]
    intervals = [memory.sample_ms for memory in memories if memory and memory.sample_ms]
    return f"{_range(intervals)} ms" if intervals else ""


def _busy(measurements: Sequence[Measurement]) -> str:
    """How much of the CPUs others had right before; on a busy machine latencies are worth little."""
    busy = [one.busy for one in measurements if one.busy is not None]
    return f"at most {max(busy):.0%} of the CPUs' time right before a measurement" if busy else ""


def _alone(measurements: Sequence[Measurement]) -> str:
    known = [one.alone for one in measurements if one.alone is not None]
    if not known:
        return ""
    return "from the training of this and other searches" if all(known) else "not always: there was no lock to be had"


def _range(numbers: Sequence[float]) -> str:
    return " to ".join(dict.fromkeys(f"{number:g}" for number in (min(numbers), max(numbers))))

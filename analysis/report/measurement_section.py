"""How speed, memory and size were measured: a list of facts for each device and way that is in the records."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.experiment import Experiment
from analysis.text import format_count, join_words, shorten_text
from records.measurement import Measurement


@dataclass(frozen=True)
class MeasurementMethod:
    """One device and way. title: a clause. facts: (what, how), in the order to be read."""

    title: str
    facts: tuple[tuple[str, str], ...]


def measurement_methods(experiment: Experiment) -> list[MeasurementMethod]:
    """The ways in which the trials were measured, one after another; none where nothing was."""
    groups: dict[tuple[str, tuple[tuple[str, str], ...]], list[Measurement]] = {}
    measured = experiment.trials.index[experiment.trials["measured_on"].notna()]
    for record in filter(None, map(experiment.measurement, measured.tolist())):
        groups.setdefault((_format_text(record.measured_on), _device_facts(record)), []).append(record)
    methods = []
    for (device, device_facts), records in groups.items():
        days = sorted({record.created[:10] for record in records if record.created})
        # On a busy machine latencies are worth little.
        busy = [record.busy for record in records if record.busy is not None]
        alone = [record.alone for record in records if record.alone is not None]
        separate = "from the training of this and other searches"
        if not all(alone):
            separate = "not always: no lock was available, or other work stopped waiting"
        facts = (
            *device_facts,
            ("pairs of runs timed", _format_pairs(records)),
            ("memory sampled every", _format_sampling(records)),
            (
                "other programs took",
                f"at most {max(busy):.0%} of the CPU time just before a measurement" if busy else "",
            ),
            ("kept separate", separate if alone else ""),
            ("date", " to ".join(dict.fromkeys((days[0], days[-1]))) if days else ""),
        )
        title = f"{format_count(len(records), 'network')} measured on {device or 'an unknown device'}"
        methods.append(MeasurementMethod(title, tuple(fact for fact in facts if fact[1])))
    return methods


def _device_facts(record: Measurement) -> tuple[tuple[str, str], ...]:
    memory = record.device_memory_bytes
    counter = record.pruned.memory.counter if record.pruned and record.pruned.memory else None
    return (
        ("device memory", "" if memory is None else f"{memory / 1e9:.1f} GB"),
        ("threads", "" if record.threads is None else str(record.threads)),
        ("number format", _format_text(record.dtype)),
        ("memory layout", _format_text(record.memory_format).replace("_", "-")),
        ("compiled", {"eager": "no, eager"}.get(_format_text(record.compile), _format_text(record.compile))),
        ("freed memory", "kept for the next pass while timing" if record.allocator else ""),
        ("MACs counted by", _format_text(record.macs_counter)),
        ("memory counted", _format_text(counter)),
        ("PyTorch", _format_text(record.torch)),
        ("CUDA", _format_text(record.cuda)),
    )


def _format_pairs(records: Sequence[Measurement]) -> str:
    """How many pairs of each batch size, from the fewest to the most."""
    pairs: dict[int, list[float]] = {}
    for latency in (latency for record in records for latency in record.latency):
        if latency.pairs:
            pairs.setdefault(latency.batch_size, []).append(latency.pairs)
    return join_words([f"{_format_span(numbers)} in batches of {size}" for size, numbers in pairs.items()])


def _format_sampling(records: Sequence[Measurement]) -> str:
    networks = [network for record in records for network in (record.dense, record.pruned)]
    intervals = [each.memory.sample_ms for each in networks if each and each.memory and each.memory.sample_ms]
    return f"{_format_span(intervals)} ms" if intervals else ""


def _format_span(numbers: Sequence[float]) -> str:
    return " to ".join(dict.fromkeys(f"{number:g}" for number in (min(numbers), max(numbers))))


def _format_text(value: str | None) -> str:
    return shorten_text(value or "")

"""measure.json: how fast, large and accurate a pruned network is, next to the dense one measured with it.

All of it may be missing: a repeat with another seed only runs the test set, and older records lack newer fields.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, ConfigDict, TypeAdapter

from records.files import parse_digested_record, write_record
from records.numbers import Integer, Number

# Latencies are measured at these batch sizes, and columns are named after them.
BATCH_SIZES = (1, 32, 256)


def _in_utc(time: str) -> str:
    """The time in UTC, which is assumed if it names no zone; raises ValueError if it is not a time."""
    try:
        parsed = datetime.fromisoformat(time)
        return (parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)).isoformat()
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{time!r} is not a time") from error


@dataclass(frozen=True, kw_only=True)
class Quartiles:
    median: Number | None = None
    q1: Number | None = None
    q3: Number | None = None


@dataclass(frozen=True, kw_only=True)
class LatencyComparison:
    """One forward pass of a batch, dense and pruned in turn; speedup: dense / pruned, pair by pair."""

    batch_size: Integer
    pairs: Integer | None = None
    dense_ms: Quartiles = Quartiles()
    pruned_ms: Quartiles = Quartiles()
    speedup: Quartiles = Quartiles()


@dataclass(frozen=True, kw_only=True)
class BatchMemory:
    """Memory while batches of one size pass: the increase over the idle process, plus the weights."""

    batch_size: Integer
    peak_bytes: Integer | None = None
    mean_bytes: Integer | None = None
    reserved_bytes: Integer | None = None
    samples: Integer | None = None
    passes: Integer | None = None


@dataclass(frozen=True, kw_only=True)
class NetworkMemory:
    """weights_bytes: parameters and buffers. activation_bytes: what the largest batch takes on top, at its peak.

    counter: what was counted, in words. sample_ms: milliseconds between two samples.
    """

    weights_bytes: Integer | None = None
    activation_bytes: Integer | None = None
    batches: tuple[BatchMemory, ...] = ()
    counter: str | None = None
    sample_ms: Number | None = None


@dataclass(frozen=True, kw_only=True)
class TestRun:
    """One run over the whole test set; memory as in BatchMemory. host_: of the host, if it ran on a GPU."""

    __test__: ClassVar[bool] = False  # or pytest would collect it as a test

    images: Integer | None = None
    accuracy: Number | None = None
    loss: Number | None = None
    seconds: Number | None = None
    peak_bytes: Integer | None = None
    mean_bytes: Integer | None = None
    reserved_bytes: Integer | None = None
    host_peak_bytes: Integer | None = None
    host_mean_bytes: Integer | None = None
    samples: Integer | None = None
    passes: Integer | None = None


@dataclass(frozen=True, kw_only=True)
class NetworkMeasurement:
    """One network. size_bytes: of its model.safetensors."""

    size_bytes: Integer | None = None
    macs: Integer | None = None
    parameters: Integer | None = None
    memory: NetworkMemory | None = None
    test: TestRun | None = None


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A measure.json. Fields that a later version adds are ignored.

    created: UTC, ISO 8601. alone: whether nothing else trained or was measured on the machine, as far as locks can
    tell; busy: the fraction of its CPU time that other programs took just before. measured_on: the device and its
    threads, in words; figures from different ones are not comparable. host: the machine's name. The fields from device
    to macs_counter say how it was measured.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="ignore")

    created: Annotated[str, AfterValidator(_in_utc)] | None = None
    alone: bool | None = None
    busy: Number | None = None
    measured_on: str | None = None
    host: str | None = None
    device: str | None = None
    device_memory_bytes: Integer | None = None
    torch: str | None = None
    cuda: str | None = None
    threads: Integer | None = None
    dtype: str | None = None
    memory_format: str | None = None
    compile: str | None = None
    allocator: dict[str, str] | None = None
    macs_counter: str | None = None
    latency: tuple[LatencyComparison, ...] = ()
    dense: NetworkMeasurement | None = None
    pruned: NetworkMeasurement | None = None


_SCHEMA = TypeAdapter(Measurement)


def write_measurement(path: Path, measurement: Measurement) -> None:
    """Replaces the measure.json at `path`."""
    write_record(path, asdict(measurement))


def parse_measurement(content: bytes) -> Measurement:
    """What a measure.json holds; raises ValueError, in one line without the file's name, if it is damaged."""
    return parse_digested_record(content, _SCHEMA)

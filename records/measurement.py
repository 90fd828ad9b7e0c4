"""measure.json: how fast, large and accurate a pruned network is, beside the dense one that was measured with it.

All of it may be missing: a repeat with another seed only runs the test set, and older records lack newer fields.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, ClassVar

from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError

from records.files import describe_invalid
from records.numbers import Integer, Number

# Latencies are measured at these batch sizes, and so are named the columns.
BATCH_SIZES = (1, 32, 256)


def _in_utc(time: str) -> str:
    """The time in UTC, which it is taken to be in where it does not say; raises ValueError where it is no time."""
    try:
        parsed = datetime.fromisoformat(time)
        return (parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)).isoformat()
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{time!r} is no time") from error


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
    """Memory while batches of one size pass, over what the process holds idle, to which the weights are added."""

    batch_size: Integer
    peak_bytes: Integer | None = None
    mean_bytes: Integer | None = None
    reserved_bytes: Integer | None = None
    samples: Integer | None = None
    passes: Integer | None = None


@dataclass(frozen=True, kw_only=True)
class NetworkMemory:
    """weights_bytes: parameters and buffers. activation_bytes: what the largest batch takes besides, at its peak.

    counter: what was counted, in words. sample_ms: milliseconds between two samples.
    """

    weights_bytes: Integer | None = None
    activation_bytes: Integer | None = None
    batches: tuple[BatchMemory, ...] = ()
    counter: str | None = None
    sample_ms: Number | None = None


@dataclass(frozen=True, kw_only=True)
class TestRun:
    """The whole test set once: accuracy, loss, seconds; memory as in BatchMemory. host_: beside a GPU's."""

    __test__: ClassVar[bool] = False  # or pytest would take it for a test

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
    """A measure.json. Columns that a later version adds are passed over.

    created: UTC, ISO 8601. alone: whether nothing else trained or was measured on the machine, as far as locks reach;
    busy: the fraction of its CPUs that other programs took right before. measured_on: the device and its threads, in
    words; figures of different ones do not compare. host: the machine's name. The fields from device to macs_counter
    say how it was measured.
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


def parse_measurement(content: bytes) -> Measurement:
    """What a measure.json holds; raises ValueError, in one line without the file's name, where it is damaged."""
    try:
        return _SCHEMA.validate_json(content, strict=True)
    except ValidationError as error:
        raise ValueError(describe_invalid(error)) from error

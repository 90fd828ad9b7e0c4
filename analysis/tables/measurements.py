"""What model/measure.json says of a trial's pruned network, and of the dense one that was measured beside it."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

BATCH_SIZES = (1, 32, 256)

# The columns of tables.trials that are numbers, and those that are texts here: the device and the time.
NUMBERS = (
    "test_accuracy",
    "size_bytes",
    *(f"batch{size}_latency_ms" for size in BATCH_SIZES),
    *(f"batch{size}_speedup" for size in BATCH_SIZES),
    *(f"batch{size}_images_per_second" for size in BATCH_SIZES),
    "test_seconds",
    "peak_memory_bytes",
    "mean_memory_bytes",
    "weights_bytes",
    "activation_bytes",
)
TEXTS = ("measured_on", "measured")

Number = Annotated[float, Field(allow_inf_nan=False)] | None


def _utc(time: datetime) -> datetime:
    """The time in UTC, which it is taken to be in where it does not say; raises ValueError where there is no such."""
    try:
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except OverflowError as error:
        raise ValueError(f"{time.isoformat()} is no time") from error


@dataclass(frozen=True)
class _Quartiles:
    median: Number = None


@dataclass(frozen=True)
class _Latency:
    batch_size: int
    dense_ms: _Quartiles = _Quartiles()
    pruned_ms: _Quartiles = _Quartiles()
    speedup: _Quartiles = _Quartiles()


@dataclass(frozen=True)
class _Test:
    accuracy: Number = None
    seconds: Number = None
    peak_bytes: Number = None
    mean_bytes: Number = None


@dataclass(frozen=True)
class _Memory:
    weights_bytes: Number = None
    activation_bytes: Number = None


@dataclass(frozen=True)
class _Network:
    size_bytes: Number = None
    memory: _Memory | None = None
    test: _Test | None = None


@dataclass(frozen=True)
class Measurement:
    """What is read of a measure.json; all of it may be missing, as most is of a repeat's."""

    created: Annotated[datetime, AfterValidator(_utc)] | None = None
    measured_on: str | None = None
    latency: tuple[_Latency, ...] = ()
    dense: _Network | None = None
    pruned: _Network | None = None

    def values_of_pruned(self) -> dict[str, Any]:
        """NUMBERS and TEXTS of the pruned network, None where one is not known."""
        values = self._values(self.pruned)
        for latency in self._latencies():
            values |= _speed(latency.batch_size, latency.pruned_ms.median)
            values[f"batch{latency.batch_size}_speedup"] = latency.speedup.median
        return values

    def values_of_dense(self) -> dict[str, Any] | None:
        """NUMBERS and TEXTS of the dense network, as far as they are known; None where it was not measured too."""
        if self.dense is None and not self.latency:
            return None
        values = self._values(self.dense)
        for latency in self._latencies():
            values |= _speed(latency.batch_size, latency.dense_ms.median)
        return {name: value for name, value in values.items() if value is not None}

    def _latencies(self) -> Iterator[_Latency]:
        return (latency for latency in self.latency if latency.batch_size in BATCH_SIZES)

    def _values(self, network: _Network | None) -> dict[str, Any]:
        network = network or _Network()
        test, memory = network.test or _Test(), network.memory or _Memory()
        return {
            "test_accuracy": test.accuracy,
            "size_bytes": network.size_bytes,
            "test_seconds": test.seconds,
            "peak_memory_bytes": test.peak_bytes,
            "mean_memory_bytes": test.mean_bytes,
            "weights_bytes": memory.weights_bytes,
            "activation_bytes": memory.activation_bytes,
            "measured_on": self.measured_on,
            "measured": self.created and self.created.isoformat(),
        }


def _speed(size: int, latency_ms: float | None) -> dict[str, float | None]:
    return {
        f"batch{size}_latency_ms": latency_ms,
        f"batch{size}_images_per_second": 1e3 * size / latency_ms if latency_ms else None,
    }


_MEASUREMENT = TypeAdapter(Measurement)


def measurement(text: bytes) -> Measurement:
    """What a measure.json holds; raises ValueError, in one line without the file's name, where it is damaged."""
    try:
        return _MEASUREMENT.validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(key) for key in first["loc"])
        raise ValueError(f"{place}{': ' if place else ''}{first['msg']}") from error


def dense_measure(of_trials: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The dense network's measurement, by the names of the columns: medians over what the trials' say of it.

    Args:
        of_trials: `values_of_dense` of each trial that has them.

    Returns:
        The numbers that are known, with speedups of 1.0 where there is a latency; measured_on where it was one device,
        and measured, the latest time as text. {} for no trials.
    """
    known = {name: [values[name] for values in of_trials if name in values] for name in (*NUMBERS, *TEXTS)}
    found: dict[str, Any] = {name: statistics.median(known[name]) for name in NUMBERS if known[name]}
    for size in BATCH_SIZES:
        if f"batch{size}_latency_ms" in found:
            found[f"batch{size}_speedup"] = 1.0
    if len(set(known["measured_on"])) == 1:
        found["measured_on"] = known["measured_on"][0]
    if known["measured"]:
        found["measured"] = max(known["measured"])
    return found

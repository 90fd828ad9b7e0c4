"""A measure.json: missing fields are unknown, new ones are ignored, and what is not a number is damage."""

import json
from dataclasses import asdict, fields
from typing import Any

import pytest

from records.measurement import (
    BatchMemory,
    LatencyComparison,
    Measurement,
    NetworkMeasurement,
    NetworkMemory,
    Quartiles,
    TestRun,
    parse_measurement,
)

NETWORK = NetworkMeasurement(
    size_bytes=2000,
    macs=1000,
    parameters=500,
    memory=NetworkMemory(
        weights_bytes=2000,
        activation_bytes=3000,
        batches=(
            BatchMemory(batch_size=1, peak_bytes=5, mean_bytes=4, reserved_bytes=6, samples=3, passes=2),
            BatchMemory(batch_size=32),
        ),
        counter="resident without files",
        sample_ms=1.0,
    ),
    test=TestRun(
        images=100,
        accuracy=0.9,
        loss=0.3,
        seconds=1.5,
        peak_bytes=5,
        mean_bytes=4,
        reserved_bytes=6,
        host_peak_bytes=8,
        host_mean_bytes=7,
        samples=3,
        passes=2,
    ),
)
FULL = Measurement(
    created="2025-01-01T00:00:00.500000+00:00",
    alone=True,
    busy=0.01,
    measured_on="a CPU, 2 threads",
    host="höst",
    device="cpu",
    device_memory_bytes=2**35,
    torch="2.11",
    cuda="12.8",
    threads=2,
    dtype="float32",
    memory_format="channels_last",
    compile="eager",
    allocator={"MALLOC_MMAP_MAX_": "0"},
    macs_counter="by hand",
    latency=(
        LatencyComparison(
            batch_size=1,
            pairs=30,
            dense_ms=Quartiles(median=2.0, q1=1.0, q3=3.0),
            pruned_ms=Quartiles(median=1.0, q1=0.5, q3=1.5),
            speedup=Quartiles(median=2.0, q1=2.0, q3=2.0),
        ),
        LatencyComparison(batch_size=32),
    ),
    dense=NETWORK,
    pruned=NETWORK,
)


def written(measurement: Measurement, **changed: Any) -> bytes:
    return json.dumps({**asdict(measurement), **changed}).encode()


@pytest.mark.parametrize("measurement", [FULL, Measurement(), Measurement(pruned=NetworkMeasurement(test=TestRun()))])
def test_a_measurement_comes_back_as_it_was(measurement: Measurement) -> None:
    assert parse_measurement(written(measurement)) == measurement


@pytest.mark.parametrize("missing", [each.name for each in fields(Measurement)])
def test_any_field_may_be_missing(missing: str) -> None:
    values = {name: value for name, value in asdict(FULL).items() if name != missing}
    found = parse_measurement(json.dumps(values).encode())
    assert getattr(found, missing) == getattr(Measurement(), missing)
    assert asdict(found) == {**asdict(FULL), missing: getattr(found, missing)}


def test_what_a_newer_version_adds_is_ignored() -> None:
    newer = asdict(FULL)
    for place in (
        *(newer, newer["dense"], newer["pruned"]["memory"], newer["pruned"]["memory"]["batches"][0]),
        *(newer["pruned"]["test"], newer["latency"][0], newer["latency"][0]["speedup"]),
    ):
        place["energy_joules"] = {"median": 3}
    assert parse_measurement(json.dumps(newer).encode()) == FULL


@pytest.mark.parametrize(
    ("given", "utc"),
    [
        ("2025-01-01T12:00:00+02:00", "2025-01-01T10:00:00+00:00"),
        ("2025-01-01T12:00:00", "2025-01-01T12:00:00+00:00"),
        ("2025-01-01T12:00:00.123Z", "2025-01-01T12:00:00.123000+00:00"),
    ],
)
def test_times_are_in_utc(given: str, utc: str) -> None:
    assert parse_measurement(written(FULL, created=given)).created == utc


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "JSON"),
        (written(FULL)[:-9], "JSON"),
        (b"[]", "object"),
        (b"[" * 100_000, "JSON"),
        (written(FULL, busy=float("nan")), "^busy"),
        (written(FULL, busy="0.1"), "^busy"),
        (written(FULL, threads=1.5), "^threads"),
        (written(FULL, alone=1), "^alone"),
        (written(FULL, created="yesterday"), "^created: .*'yesterday' is not a time"),
        (written(FULL, created="0001-01-01T00:00:00+23:59"), "^created: .*is not a time"),
        (written(FULL, latency=[{"pairs": 3}]), "^latency.0.batch_size"),
        (written(FULL, latency=[{"batch_size": 1, "speedup": {"median": float("inf")}}]), "^latency.0.speedup.median"),
        (written(FULL, pruned={"test": {"accuracy": float("-inf")}}), "^pruned.test.accuracy"),
        (written(FULL, pruned={"size_bytes": 2**63}), "^pruned.size_bytes"),
        (written(FULL, dense={"memory": {"batches": [{"batch_size": "1"}]}}), "^dense.memory.batches.0.batch_size"),
    ],
)
def test_damage_is_reported_in_one_line_that_begins_with_the_field(content: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says) as error:
        parse_measurement(content)
    assert "\n" not in str(error.value)

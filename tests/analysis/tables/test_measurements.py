"""What was measured of the networks is in the columns, and what cannot be read is said."""

import math
from dataclasses import replace

import pandas as pd
import pytest
from experiments import ExperimentBuilder, make_latency, write_measurement

import analysis
from analysis.tables.measurements import NUMBERS, TEXTS
from records.measurement import (
    BATCH_SIZES,
    LatencyComparison,
    Measurement,
    NetworkMeasurement,
    NetworkMemory,
    Quartiles,
    TestRun,
)


def network(scale: float) -> NetworkMeasurement:
    test = TestRun(
        accuracy=0.9 + scale / 100, seconds=8 * scale, peak_bytes=int(4000 * scale), mean_bytes=int(3000 * scale)
    )
    memory = NetworkMemory(weights_bytes=int(1950 * scale), activation_bytes=int(2050 * scale))
    return NetworkMeasurement(size_bytes=int(2000 * scale), memory=memory, test=test)


# A pruned network that is twice as fast and half as large as the dense one.
MEASURED = Measurement(
    created="2026-03-04T05:06:07.891+00:00",
    measured_on="a CPU, 2 threads",
    latency=tuple(make_latency(size, 2.0 * size, 2.0) for size in BATCH_SIZES),
    dense=network(2.0),
    pruned=network(1.0),
)


def test_the_columns_are_those_of_the_pruned_network(builder: ExperimentBuilder) -> None:
    builder.add_trial(0)
    memory = NetworkMemory(weights_bytes=1900, activation_bytes=2100)
    write_measurement(builder.add_trial(1), replace(MEASURED, pruned=replace(network(1.0), memory=memory)))
    experiment = analysis.load(builder.path)
    names = list(experiment.trials.columns)
    behind = names.index("parameters") + 1
    expected = {
        "test_accuracy": 0.91,
        "size_bytes": 2000.0,
        "batch1_latency_ms": 1.0,
        "batch32_latency_ms": 32.0,
        "batch256_latency_ms": 256.0,
        "batch1_speedup": 2.0,
        "batch32_speedup": 2.0,
        "batch256_speedup": 2.0,
        "batch1_images_per_second": 1000.0,
        "batch32_images_per_second": 1000.0,
        "batch256_images_per_second": 1000.0,
        "test_seconds": 8.0,
        "peak_memory_bytes": 4000.0,
        "mean_memory_bytes": 3000.0,
        "weights_bytes": 1900.0,
        "activation_bytes": 2100.0,
        "measured_on": "a CPU, 2 threads",
        "measured": pd.Timestamp("2026-03-04T05:06:07.891Z"),
    }
    assert names[behind : behind + len(expected)] == list(expected)
    assert experiment.trials.loc[1, list(expected)].to_dict() == expected
    assert experiment.trials.loc[0, list(expected)].isna().all()
    assert experiment.problems == []


def test_the_dense_network_is_the_median_over_the_trials(builder: ExperimentBuilder) -> None:
    for number, seconds in enumerate((16.0, 15.0, 23.0)):
        dense = network(2.0)
        assert dense.test is not None
        dense = replace(
            dense,
            memory=NetworkMemory(weights_bytes=3900 + number, activation_bytes=4100 - number),
            test=replace(dense.test, seconds=seconds),
        )
        latency = (make_latency(1, 2 * seconds, 2.0), *MEASURED.latency[1:])
        created = f"2026-03-0{number + 1}T00:00:00+00:00"
        write_measurement(builder.add_trial(number), replace(MEASURED, created=created, dense=dense, latency=latency))
    dense = analysis.load(builder.path).dense_measure
    assert dense == {
        "test_accuracy": 0.92,
        "size_bytes": 4000.0,
        "batch1_latency_ms": 32.0,
        "batch32_latency_ms": 64.0,
        "batch256_latency_ms": 512.0,
        "batch1_images_per_second": 31.25,
        "batch32_images_per_second": 500.0,
        "batch256_images_per_second": 500.0,
        "test_seconds": 16.0,
        "peak_memory_bytes": 8000.0,
        "mean_memory_bytes": 6000.0,
        "weights_bytes": 3901.0,
        "activation_bytes": 4099.0,
        "measured_on": "a CPU, 2 threads",
        "measured": pd.Timestamp("2026-03-03T00:00:00Z"),
        **{f"batch{size}_speedup": 1.0 for size in BATCH_SIZES},
    }
    assert dense.keys() == {*NUMBERS, *TEXTS}


def test_no_one_device_is_named_where_there_were_two(builder: ExperimentBuilder) -> None:
    for number, device in enumerate(("a CPU", "a GPU")):
        write_measurement(builder.add_trial(number), replace(MEASURED, measured_on=device))
    experiment = analysis.load(builder.path)
    assert "measured_on" not in experiment.dense_measure
    assert experiment.trials["measured_on"].tolist() == ["a CPU", "a GPU"]


def test_nothing_measured_is_nothing(builder: ExperimentBuilder) -> None:
    builder.add_trial(0)
    experiment = analysis.load(builder.path)
    assert experiment.dense_measure == {}
    assert experiment.trials[[*NUMBERS, *TEXTS]].isna().all(axis=None)


def test_of_a_repeat_the_test_set_is_known(builder: ExperimentBuilder) -> None:
    tested = Measurement(measured_on="a CPU", pruned=NetworkMeasurement(test=network(1.0).test))
    write_measurement(builder.add_trial(0), tested)
    experiment = analysis.load(builder.path)
    assert experiment.problems == []
    assert experiment.dense_measure == {}
    trial = experiment.trials.loc[0]
    assert (trial["test_accuracy"], trial["test_seconds"], trial["measured_on"]) == (0.91, 8.0, "a CPU")
    assert trial[["size_bytes", "batch1_latency_ms", "batch1_speedup", "measured"]].isna().all()


def test_other_batch_sizes_are_no_columns(builder: ExperimentBuilder) -> None:
    write_measurement(builder.add_trial(0), replace(MEASURED, latency=(make_latency(7, 2.0, 2.0),), dense=None))
    experiment = analysis.load(builder.path)
    assert not [name for name in experiment.trials.columns if "batch7" in name]
    assert math.isnan(experiment.trials.loc[0, "batch1_speedup"])
    assert experiment.problems == []


@pytest.mark.parametrize("median", [None, 0.0])
def test_there_are_no_images_a_second_without_a_time(builder: ExperimentBuilder, median: float | None) -> None:
    latency = LatencyComparison(batch_size=32, pruned_ms=Quartiles(median=median))
    write_measurement(builder.add_trial(0), replace(MEASURED, latency=(latency,), dense=None))
    experiment = analysis.load(builder.path)
    assert math.isnan(experiment.trials.loc[0, "batch32_images_per_second"])
    assert experiment.problems == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is damaged: Invalid JSON"),
        ("[]", "is damaged: "),
        ("[" * 100_000, "is damaged: Invalid JSON"),
        ('{"latency": 3}', "is damaged: latency: "),
        ('{"latency": [{"batch_size": "1"}]}', "is damaged: latency.0.batch_size: "),
        ('{"pruned": {"test": {"accuracy": "high"}}}', "is damaged: pruned.test.accuracy: "),
        ('{"pruned": {"size_bytes": true}}', "is damaged: pruned.size_bytes: "),
        ('{"dense": {"size_bytes": 1e999}}', "is damaged: dense.size_bytes: "),
        ('{"pruned": {"memory": {"weights_bytes": "3"}}}', "is damaged: pruned.memory.weights_bytes: "),
        ('{"measured_on": 1}', "is damaged: measured_on: "),
        ('{"created": "yesterday", "dense": {"size_bytes": 3}}', "is damaged: created: "),
        ('{"created": 3}', "is damaged: created: "),
        ('{"created": "0001-01-01T00:00:00+14:00"}', "is damaged: created: "),
    ],
)
def test_what_is_damaged_is_a_problem_and_unknown(builder: ExperimentBuilder, text: str, why: str) -> None:
    for number in (0, 1):
        write_measurement(builder.add_trial(number), MEASURED)
    builder.folder.trial_folder(0).measurement_path.write_text(text)
    experiment = analysis.load(builder.path)
    [problem] = experiment.problems
    assert problem.startswith(f"trials/00000/model/measure.json {why}")
    assert experiment.trials.loc[0, [*NUMBERS, *TEXTS]].isna().all()
    assert experiment.trials.loc[1, "test_accuracy"] == 0.91
    assert experiment.trials.loc[0, "pruned_val_accuracy"] == 0.9


def test_a_measurement_that_cannot_be_read_is_a_problem(builder: ExperimentBuilder) -> None:
    trial = builder.add_trial(0)
    write_measurement(trial, MEASURED)
    path = trial.measurement_path
    path.unlink()
    path.mkdir()
    assert analysis.load(builder.path).problems == ["trials/00000/model/measure.json cannot be read: Is a directory"]


def test_a_measurement_cut_short_anywhere_is_a_problem(builder: ExperimentBuilder) -> None:
    trial = builder.add_trial(0)
    write_measurement(trial, MEASURED)
    path = trial.measurement_path
    text = path.read_bytes().removesuffix(b"\n")
    for length in range(0, len(text), 97):
        path.write_bytes(text[:length])
        experiment = analysis.load(builder.path)
        assert [line.partition(" ")[0] for line in experiment.problems] == ["trials/00000/model/measure.json"], length
        assert experiment.dense_measure == {}

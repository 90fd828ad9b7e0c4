from dataclasses import replace

from experiments import ExperimentBuilder, make_measurement, write_measurement

from analysis import Experiment
from analysis.report.measurement_section import measurement_methods
from records.measurement import Measurement, NetworkMeasurement, NetworkMemory


def test_one_way_of_measuring(rich: Experiment) -> None:
    [way] = measurement_methods(rich)
    assert way.title == "11 networks measured on AMD EPYC 7B13, 2 threads"
    assert dict(way.facts) == {
        "threads": "2",
        "number format": "float32",
        "memory layout": "channels-last",
        "PyTorch": "2.15.0",
        "pairs of runs timed": "30 in batches of 1, 30 in batches of 32 and 30 in batches of 256",
        "memory sampled every": "20 ms",
        "date": "2026-01-03",
    }


def test_machines_are_told_apart(untrained: ExperimentBuilder) -> None:
    gpu = replace(
        make_measurement(measured_on="NVIDIA H200"), device_memory_bytes=150 * 10**9, cuda="13.0", dtype="bfloat16"
    )
    for measurement in (gpu, make_measurement(), replace(gpu, created="2026-02-01T00:00:00.000+00:00")):
        write_measurement(untrained.add_searched(0.9), measurement)
    first, second = measurement_methods(untrained.load())
    assert first.title == "2 networks measured on NVIDIA H200"
    facts = dict(first.facts)
    assert (facts["device memory"], facts["CUDA"], facts["number format"]) == ("150.0 GB", "13.0", "bfloat16")
    assert facts["date"] == "2026-01-03 to 2026-02-01"
    assert second.title == "1 network measured on AMD EPYC 7B13, 2 threads"
    assert "CUDA" not in dict(second.facts)


def test_a_busy_machine_is_told_by_its_worst_moment(untrained: ExperimentBuilder) -> None:
    for busy in (0.02, 0.31, 0.0):
        write_measurement(untrained.add_searched(0.9), replace(make_measurement(), busy=busy))
    [way] = measurement_methods(untrained.load())
    assert dict(way.facts)["other programs took"] == "at most 31% of the CPU time just before a measurement"


def test_what_was_counted_and_whether_it_was_alone(untrained: ExperimentBuilder) -> None:
    pruned = NetworkMeasurement(memory=NetworkMemory(counter="allocated"))
    found = replace(make_measurement(), alone=True, compile="eager", macs_counter="ours", pruned=pruned)
    found = replace(found, allocator={"MALLOC_MMAP_MAX_": "0"})
    write_measurement(untrained.add_searched(0.9), found)
    facts = dict(measurement_methods(untrained.load())[0].facts)
    assert (facts["compiled"], facts["MACs counted by"], facts["memory counted"]) == ("no, eager", "ours", "allocated")
    assert facts["freed memory"] == "kept for the next pass while timing"
    assert facts["kept separate"] == "from the training of this and other searches"
    write_measurement(untrained.add_searched(0.9), replace(found, alone=False))
    alone = [dict(way.facts)["kept separate"] for way in measurement_methods(untrained.load())]
    assert "not always: no lock was available, or other work stopped waiting" in alone


def test_nothing_measured(untrained: ExperimentBuilder) -> None:
    untrained.add_searched(0.9)
    assert measurement_methods(untrained.load()) == []


def test_half_of_it_is_missing(untrained: ExperimentBuilder) -> None:
    write_measurement(untrained.add_searched(0.9), Measurement(measured_on="a CPU", pruned=NetworkMeasurement()))
    [method] = measurement_methods(untrained.load())
    assert (method.title, method.facts) == ("1 network measured on a CPU", ())


def test_what_is_lost_after_loading_is_only_missed_where_it_was_not_read(untrained: ExperimentBuilder) -> None:
    trial = untrained.add_searched(0.9)
    write_measurement(trial, make_measurement())
    experiment = untrained.load()
    trial.measurement_path.write_text("[")
    assert len(measurement_methods(experiment)) == 1
    assert measurement_methods(replace(experiment, _measurements={})) == []

import math
from typing import Any

from experiments import make_trials
from golden import assert_golden

from analysis.rank.ranking import rank
from analysis.report.speed import NOT_MEASURED, speed_sentence

CPU = "AMD EPYC 7B13, 2 threads"


def measured(*speedups: float, on: str = CPU, **more: Any) -> dict[str, Any]:
    names = [f"batch{size}_speedup" for size in (1, 32, 256)]
    return {"accuracy": 0.9, "measured_on": on, **dict(zip(names, speedups, strict=True)), **more}


def said_of(*speedups: float) -> str:
    return speed_sentence(rank(make_trials(measured(*speedups))), [0], {}).removeprefix(
        f"Measured on {CPU}: 0 exponential "
    )


def test_faster_or_not() -> None:
    cases = {
        "faster": (1.5, 2.0, 3.25),
        "slower, or no faster as shown": (0.5, 0.9, 1.004),
        "faster in larger batches only": (0.9, 2.0, 3.0),
        "known for one size": (math.nan, math.nan, 0.8),
    }
    assert_golden("speed.txt", "\n".join(f"{name}: {said_of(*speedups)}" for name, speedups in cases.items()))
    assert [case for case, speedups in cases.items() if "not faster" in said_of(*speedups)] == [
        "slower, or no faster as shown",
        "known for one size",
    ]
    assert "in batches of 1 (0.90 times)" in said_of(*cases["faster in larger batches only"])


def test_memory_and_size_are_shares_of_the_dense_networks() -> None:
    ranked = rank(make_trials(measured(2.0, 2.0, 2.0, peak_memory_bytes=25.0, size_bytes=10.0)))
    said = speed_sentence(ranked, [0], {"peak_memory_bytes": 100.0, "size_bytes": 80.0})
    assert said.endswith("and needs 25% of its peak memory on the test set and 12% of its size on disk.")


def test_what_the_dense_network_has_none_of_is_not_compared() -> None:
    ranked = rank(make_trials(measured(2.0, 2.0, 2.0, peak_memory_bytes=25.0, size_bytes=10.0)))
    said = speed_sentence(ranked, [0], {"peak_memory_bytes": 0.0, "size_bytes": 80.0})
    assert said.endswith("in batches of 1, 32 and 256, and needs 12% of its size on disk.")
    assert "needs" not in speed_sentence(ranked, [0], {"peak_memory_bytes": 0.0, "size_bytes": 0.0})


def test_memory_of_several_devices_has_no_dense_figure_of_its_own() -> None:
    memory = {"peak_memory_bytes": 25.0, "size_bytes": 10.0}
    ranked = rank(make_trials(measured(2.0, 2.0, 2.0, **memory), measured(2.0, 2.0, 2.0, on="NVIDIA H200", **memory)))
    said = speed_sentence(ranked, [0], {"peak_memory_bytes": 100.0, "size_bytes": 80.0})
    assert "memory" not in said
    assert "12% of its size" in said


def test_nothing_measured() -> None:
    assert speed_sentence(rank(make_trials({"accuracy": 0.9})), [0], {}) == NOT_MEASURED
    assert speed_sentence(rank(make_trials()), [], {}) == NOT_MEASURED


def test_another_than_the_best_is_said_to_be_another() -> None:
    ranked = rank(make_trials({"accuracy": 0.95}, measured(2.0, 2.0, 2.0), measured(3.0, 3.0, 3.0, control="one_shot")))
    said = speed_sentence(ranked, [0, 1], {})
    assert f"Measured on {CPU}: 1 exponential runs 2.00" in said
    assert said.endswith(" 0 exponential was not measured.")
    assert "2 one-shot (control)" in speed_sentence(ranked, [0, 2], {})


def test_a_network_that_was_only_tested() -> None:
    said = speed_sentence(rank(make_trials(measured(math.nan, math.nan, math.nan, test_accuracy=0.9))), [0], {})
    assert said.endswith("relative to the dense network are unknown.")

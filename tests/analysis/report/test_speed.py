import math
from typing import Any

import pytest
from experiments import make_trials

from analysis.rank.ranking import rank
from analysis.report.speed import NOTHING, speed_sentence

CPU = "AMD EPYC 7B13, 2 threads"


def measured(*speedups: float, on: str = CPU, **more: Any) -> dict[str, Any]:
    names = [f"batch{size}_speedup" for size in (1, 32, 256)]
    return {"accuracy": 0.9, "measured_on": on, **dict(zip(names, speedups, strict=True)), **more}


@pytest.mark.parametrize(
    ("speedups", "text"),
    [
        (
            (1.5, 2.0, 3.25),
            "is 1.50, 2.00 and 3.25 times as fast as the dense network in batches of 1, 32 and 256.",
        ),
        (
            (0.5, 0.9, 1.004),
            "is sparser but not faster: 0.50, 0.90 and 1.00 times as fast as the dense network in batches of 1, 32 and "
            "256.",
        ),
        (
            (0.9, 2.0, 3.0),
            "is 2.00 and 3.00 times as fast as the dense network in batches of 32 and 256, but sparser without being "
            "faster in batches of 1 (0.90 times).",
        ),
        (
            (math.nan, math.nan, 0.8),
            "is sparser but not faster: 0.80 times as fast as the dense network in batches of 256.",
        ),
    ],
)
def test_faster_or_not(speedups: Any, text: str) -> None:
    said = speed_sentence(rank(make_trials(measured(*speedups))), [0], {})
    assert said == f"On {CPU}, trial 0 (exponential) {text}"


def test_memory_and_size_are_shares_of_the_dense_networks() -> None:
    ranked = rank(make_trials(measured(2.0, 2.0, 2.0, peak_memory_bytes=25.0, size_bytes=10.0)))
    said = speed_sentence(ranked, [0], {"peak_memory_bytes": 100.0, "size_bytes": 80.0})
    assert said.endswith("and it takes 25 % of its peak memory on the test set and 12 % of its size on disk.")


def test_what_the_dense_network_has_none_of_is_not_compared() -> None:
    ranked = rank(make_trials(measured(2.0, 2.0, 2.0, peak_memory_bytes=25.0, size_bytes=10.0)))
    said = speed_sentence(ranked, [0], {"peak_memory_bytes": 0.0, "size_bytes": 80.0})
    assert said.endswith("in batches of 1, 32 and 256, and it takes 12 % of its size on disk.")
    assert "it takes" not in speed_sentence(ranked, [0], {"peak_memory_bytes": 0.0, "size_bytes": 0.0})


def test_memory_of_several_devices_has_no_dense_figure_of_its_own() -> None:
    memory = {"peak_memory_bytes": 25.0, "size_bytes": 10.0}
    ranked = rank(make_trials(measured(2.0, 2.0, 2.0, **memory), measured(2.0, 2.0, 2.0, on="NVIDIA H200", **memory)))
    said = speed_sentence(ranked, [0], {"peak_memory_bytes": 100.0, "size_bytes": 80.0})
    assert "memory" not in said
    assert "12 % of its size" in said


def test_nothing_measured() -> None:
    assert speed_sentence(rank(make_trials({"accuracy": 0.9})), [0], {}) == NOTHING
    assert speed_sentence(rank(make_trials()), [], {}) == NOTHING


def test_another_than_the_best_is_said_to_be_another() -> None:
    ranked = rank(make_trials({"accuracy": 0.95}, measured(2.0, 2.0, 2.0), measured(3.0, 3.0, 3.0, control="one_shot")))
    said = speed_sentence(ranked, [0, 1], {})
    assert f"On {CPU}, trial 1 (exponential) is 2.00" in said
    assert said.endswith(" Trial 0 was not measured.")
    assert "trial 2 (one-shot pruning)" in speed_sentence(ranked, [0, 2], {})


def test_a_network_that_was_only_tested() -> None:
    said = speed_sentence(rank(make_trials(measured(math.nan, math.nan, math.nan, test_accuracy=0.9))), [0], {})
    assert said.endswith("beside the dense network's are not known.")

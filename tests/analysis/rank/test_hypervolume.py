import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from analysis.rank.hypervolume import default_reference, hypervolume

# No network is cut whole: a sparsity is below 1.
fractions = st.integers(0, 12).flatmap(lambda n: arrays(np.float64, (n, 2), elements=st.floats(0, 1, exclude_max=True)))


def trials(*rows: tuple[float, float], dense_macs: float = 1000.0, **columns: Any) -> pd.DataFrame:
    """Complete trials of these accuracies and MAC sparsities."""
    frame = pd.DataFrame(rows, columns=["pruned_val_accuracy", "mac_sparsity"], dtype="float64")
    frame["macs"] = dense_macs * (1 - frame["mac_sparsity"])
    return frame.assign(state="complete", **columns).rename_axis("number")


def test_by_hand() -> None:
    # Rectangles from (0, 0): 0.9 x 0.5, and what 0.6 x 0.8 adds, 0.6 x 0.3; the third is dominated.
    frame = trials((0.9, 0.5), (0.6, 0.8), (0.5, 0.5), (math.nan, 0.9), (0.9, math.nan))
    assert hypervolume(frame) == pytest.approx(0.45 + 0.18)
    assert hypervolume(frame, ("pruned_val_accuracy", "macs")) == pytest.approx(630.0)
    assert hypervolume(frame, reference=(0.5, 0.5)) == pytest.approx(0.1 * 0.3)
    assert hypervolume(frame, ("pruned_val_accuracy",)) == 0.9


def dominated(costs: Any, reference: Any) -> float:
    """The volume of the cells, between all coordinates of points and reference, that some point dominates."""
    edges = [np.unique([*column[column < worst], worst]) for column, worst in zip(costs.T, reference, strict=True)]
    corners = np.stack(np.meshgrid(*(each[:-1] for each in edges), indexing="ij"), axis=-1)
    sizes = np.stack(np.meshgrid(*(np.diff(each) for each in edges), indexing="ij"), axis=-1).prod(axis=-1)
    return float(sizes[(costs <= corners[..., None, :]).all(axis=-1).any(axis=-1)].sum())


@given(fractions)
def test_it_is_the_volume_of_what_is_dominated(points: Any) -> None:
    frame = trials(*points)
    expected = dominated(-points, np.zeros(2))
    assert hypervolume(frame) == pytest.approx(expected)
    assert hypervolume(frame, ("pruned_val_accuracy", "macs")) == pytest.approx(1000 * expected, abs=1e-6)


@given(st.integers(1, 10).flatmap(lambda n: arrays(np.float64, (n, 3), elements=st.floats(0, 1))))
def test_it_is_that_of_three_objectives_too(points: Any) -> None:
    frame = trials(*points[:, :2], batch1_latency_ms=points[:, 2])
    found = hypervolume(frame, ("pruned_val_accuracy", "mac_sparsity", "batch1_latency_ms"), (0.0, 0.0, 1.5))
    assert found == pytest.approx(dominated(points * [-1, -1, 1], np.array([0, 0, 1.5])))


@given(fractions)
def test_it_is_the_mean_over_all_sparsities_of_the_best_accuracy(points: Any) -> None:
    edges = np.array(sorted({0.0, *points[:, 1], 1.0}))
    best = [max((accuracy for accuracy, sparsity in points if sparsity >= edge), default=0.0) for edge in edges[1:]]
    assert hypervolume(trials(*points)) == pytest.approx(sum(np.diff(edges) * best))


def test_only_complete_trials_count_and_repeats_by_their_mean() -> None:
    frame = trials((0.9, 0.5), (0.8, 0.5), (0.6, 0.5), (1.0, 1.0))
    frame["confirms"] = [math.nan, 0.0, 0.0, math.nan]
    frame["state"] = ["complete", "complete", "complete", "stopped"]
    assert hypervolume(frame) == pytest.approx(0.7 * 0.5)


def test_nothing_complete_is_0() -> None:
    assert hypervolume(trials()) == 0.0
    assert hypervolume(trials(), ("pruned_val_accuracy", "macs")) == 0.0


def test_the_reference_is_that_of_the_dense_network() -> None:
    frame = trials((0.9, 0.5), (0.6, 0.8)).assign(parameters=[20.0, 10.0], parameter_sparsity=[0.5, 0.75])
    frame = frame.assign(training_cost=[7.0, 5.0], epochs_done=[12, 12])
    found = default_reference(frame, ["pruned_val_accuracy", "mac_sparsity", "macs", "parameters", "training_cost"])
    assert found == pytest.approx([0.0, 0.0, 1000.0, 40.0, 12.0])
    # 0.9 x (12 - 7), and what 0.6 adds between 5 and 7.
    assert hypervolume(frame, ("pruned_val_accuracy", "training_cost")) == pytest.approx(0.9 * 5 + 0.6 * 2)


@pytest.mark.parametrize(
    ("objectives", "reference", "said"),
    [
        (("seconds",), None, "'seconds' has no known worst value; pass one as `reference`"),
        (("-macs",), None, "'-macs' has no known worst value"),
        (("pruned_val_accuracy", "macs"), (0.0,), "must hold a number for each of 2 objectives"),
        (("pruned_val_accuracy", "macs"), (0.0, math.nan), "must hold finite numbers"),
        (("nothing",), (0.0,), "there is no column 'nothing'"),
        (("state",), (0.0,), "an objective must be a number, but 'state' is not"),
        ((), None, "at least one objective must be given"),
    ],
)
def test_what_makes_no_sense_is_refused(objectives: Any, reference: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        hypervolume(trials((0.9, 0.5), seconds=1.0), objectives, reference)

import math
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import analysis
from analysis.ranking import direction, fronts, pareto, rank

# Few different values, so that points are often equal or equal in one objective.
few = st.sampled_from([0.0, 1.0, 2.0, 3.0, math.nan])
points = st.integers(1, 3).flatmap(
    lambda k: arrays(np.float64, st.tuples(st.integers(0, 12), st.just(k)), elements=few)
)


def dominates(a: Any, b: Any) -> bool:
    return bool((a <= b).all() and (a < b).any())


def peeled(costs: Any) -> list[float]:
    """Non-dominated sorting as it is defined: take the undominated away, again and again."""
    result = [math.nan] * len(costs)
    left = [index for index in range(len(costs)) if not np.isnan(costs[index]).any()]
    front = 0
    while left:
        best = [i for i in left if not any(dominates(costs[j], costs[i]) for j in left)]
        for index in best:
            result[index] = front
        left = [index for index in left if index not in best]
        front += 1
    return result


@settings(deadline=None)
@given(points)
def test_fronts_are_those_of_the_definition(costs: Any) -> None:
    np.testing.assert_array_equal(fronts(costs), peeled(costs))


@pytest.mark.parametrize("seed", range(5))
def test_the_first_front_is_optunas(seed: int) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    generator = np.random.default_rng(seed)
    accuracies, macs = generator.integers(0, 8, 60) / 8, generator.integers(1, 8, 60) * 1.0
    study = optuna.create_study(directions=["maximize", "minimize"])
    for values in zip(accuracies, macs, strict=True):
        study.add_trial(optuna.trial.create_trial(values=values))
    expected = {trial.number for trial in study.best_trials}
    assert set(np.flatnonzero(fronts(np.column_stack([-accuracies, macs])) == 0)) == expected


def trials(*rows: tuple[float, float], **columns: Any) -> pd.DataFrame:
    """Complete trials of these accuracies and MACs."""
    frame = pd.DataFrame(rows, columns=["pruned_val_accuracy", "macs"]).assign(state="complete", **columns)
    return frame.rename_axis("number")


def test_trials_rank_by_front_then_by_accuracy() -> None:
    frame = trials((0.7, 5.0), (0.9, 9.0), (0.8, 9.0), (0.8, 5.0), (math.nan, 1.0), (0.6, 9.0), (0.9, math.nan))
    ranked = rank(frame)
    # 1 and 3 are on the first front; 0 and 2 on the second; 5 behind; what is not known comes last.
    assert ranked.index.tolist() == [1, 3, 2, 0, 5, 6, 4]
    assert ranked["rank"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert ranked["on_front"].tolist() == [True, True, False, False, False, False, False]
    assert ranked.columns[:2].tolist() == ["rank", "on_front"]


def test_equal_trials_share_the_front_in_the_order_of_their_numbers() -> None:
    ranked = rank(trials((0.9, 5.0), (0.5, 9.0), (0.9, 5.0)))
    assert ranked.index.tolist() == [0, 2, 1]
    assert ranked["on_front"].tolist() == [True, True, False]


def test_only_complete_trials_rank() -> None:
    frame = trials((0.9, 1.0), (0.8, 2.0), (0.7, 3.0), (0.6, 4.0))
    frame["state"] = ["running", "complete", "failed", "stopped"]
    assert rank(frame).index.tolist() == [1]
    assert pareto(frame).index.tolist() == [1]


def test_the_frame_that_is_ranked_is_left_as_it_was() -> None:
    frame = trials((0.9, 1.0), (0.95, 2.0))
    before = frame.copy()
    rank(frame, by="macs", top=1)
    rank(frame, where="macs > 0")
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    ("by", "order"),
    [
        ("seconds", [2, 0, 1, 3]),
        (["-seconds"], [1, 0, 2, 3]),
        (["+pruned_val_accuracy"], [3, 2, 1, 0]),
        (["pruned_val_accuracy"], [0, 1, 2, 3]),
        (["family", "macs"], [3, 1, 2, 0]),
        (["-family", "-macs"], [0, 2, 1, 3]),
        (["-number"], [3, 2, 1, 0]),
        (["lr.peak", "seconds"], [2, 0, 1, 3]),
    ],
)
def test_columns_rank_one_after_another(by: Any, order: list[int]) -> None:
    frame = trials((0.9, 4.0), (0.8, 2.0), (0.7, 3.0), (0.6, 1.0))
    frame["seconds"] = [20.0, 30.0, 10.0, math.nan]
    frame["family"] = ["polynomial", "cosine", "exponential", "cosine"]
    frame["lr.peak"] = [0.1, 0.1, 0.1, math.nan]
    assert rank(frame, by).index.tolist() == order


def test_no_columns_are_the_default() -> None:
    frame = trials((0.5, 1.0), (0.9, 9.0), (0.4, 5.0))
    assert rank(frame, []).index.tolist() == rank(frame, None).index.tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("column", "low_first"),
    [
        *((name, False) for name in ("pruned_val_accuracy", "val_accuracy", "accuracy_at_cut", "mac_sparsity")),
        *((name, True) for name in ("macs", "parameters", "accuracy_drop", "seconds", "val_loss", "lr.peak")),
    ],
)
def test_known_columns_have_a_sensible_direction(column: str, low_first: bool) -> None:
    assert direction(column) == (column, low_first)
    assert direction(f"-{column}") == (column, False)
    assert direction(f"+{column}") == (column, True)


def test_the_front_is_that_of_the_trials_that_fit_and_not_of_the_top() -> None:
    frame = trials((0.9, 1.0), (0.8, 2.0), (0.7, 1.5), family=["cosine", "exponential", "exponential"])
    assert rank(frame)["on_front"].tolist() == [True, False, False]
    assert rank(frame, where='family == "exponential"')["on_front"].tolist() == [True, True]
    best = rank(frame, by="+pruned_val_accuracy", top=2)
    assert best.index.tolist() == [2, 1]
    assert best["on_front"].tolist() == [False, False]


def test_pareto_is_the_front_of_any_objectives() -> None:
    frame = trials((0.9, 9.0), (0.8, 5.0), (0.7, 7.0), (0.9, math.nan), seconds=[30.0, 20.0, 10.0, 1.0])
    assert pareto(frame).index.tolist() == [0, 1]
    assert pareto(frame, ["pruned_val_accuracy", "macs", "seconds"]).index.tolist() == [0, 1, 2]
    assert pareto(frame, ["seconds", "-macs"]).index.tolist() == [2, 0]
    assert pareto(frame, where="macs < 9").index.tolist() == [1]
    assert pareto(frame, ["-macs"]).index.tolist() == [0]


@pytest.mark.parametrize("top", [0, -1])
def test_top_must_be_positive(top: int) -> None:
    with pytest.raises(ValueError, match=rf"`top >= 1` must hold, but got top={top}"):
        rank(trials((0.9, 1.0)), top=top)


def test_unknown_columns_name_the_nearest() -> None:
    frame = trials((0.9, 1.0), **{"lr.peak": 0.1})
    with pytest.raises(ValueError, match=r"there is no column 'mac'; did you mean 'macs'\?"):
        rank(frame, by="mac")
    with pytest.raises(ValueError, match=r"there is no column 'peak'; did you mean 'lr.peak'\?"):
        rank(frame, by="-peak")
    with pytest.raises(ValueError, match="there is no column 'zzz'; there are: number, pruned_val_accuracy, macs"):
        pareto(frame, ["zzz"])
    with pytest.raises(ValueError, match="there is no column ''"):
        rank(frame, by="-")


def test_what_has_no_order_cannot_be_ranked_by() -> None:
    frame = trials((0.9, 1.0), (0.8, 2.0), state_text="x")
    frame["mixed"] = [1, "a"]
    with pytest.raises(ValueError, match="texts and numbers have no common order"):
        rank(frame, by="mixed")
    with pytest.raises(ValueError, match="an objective must be a number, but 'state_text' is none"):
        pareto(frame, ["state_text"])


def test_an_experiment_ranks_its_controls_beside_its_trials(builder: Any) -> None:
    builder.trial(0, control="one_shot", accuracies=(0.1, 0.2, 0.95))
    builder.trial(1)
    ranked = analysis.load(builder.path).rank()
    assert ranked.index.tolist() == [0, 1]
    assert ranked["on_front"].tolist() == [True, False]

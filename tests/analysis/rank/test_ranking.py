import math
import re
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from experiments import ExperimentBuilder
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import analysis
from analysis.columns import COLUMNS
from analysis.rank.ranking import best, crowding_distances, fronts, pareto, rank, sort_best_first, split_direction

OF_A_DEVICE = sorted(name for name, column in COLUMNS.items() if column.of_device)

# Few different values, so that points are often equal or equal in one objective.
few = st.sampled_from([0.0, 1.0, 2.0, math.nan, math.inf, -math.inf])
points = st.integers(1, 4).flatmap(
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


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_infinities_are_sorted_as_any_other_value(objectives: int) -> None:
    # moocore 0.3 itself crashes on these where there are three objectives.
    costs = np.random.default_rng(objectives).choice([0.0, 1.0, 2.0, math.inf, -math.inf], (60, objectives))
    np.testing.assert_array_equal(fronts(costs), peeled(costs))


def test_ten_thousand_points_are_sorted_as_their_sum_has_it() -> None:
    # On a grid of 100 x 100 the points whose coordinates add up to the same are a front.
    grid = np.stack(np.meshgrid(np.arange(100.0), np.arange(100.0)), axis=-1).reshape(-1, 2)
    np.testing.assert_array_equal(fronts(grid), grid.sum(axis=1))


def distances(costs: Any) -> list[float]:
    """Crowding distances on a front of points that differ in each objective, as they are defined."""
    result = [0.0] * len(costs)
    for values in costs.T:
        for index, value in enumerate(values):
            lower, higher = values[values < value], values[values > value]
            ends = not len(lower) or not len(higher)
            result[index] += math.inf if ends else (higher.min() - lower.max()) / (values.max() - values.min())
    return result


@given(st.integers(2, 3).flatmap(lambda k: arrays(np.float64, (9, k), elements=st.floats(-5, 5), unique=True)))
def test_crowding_is_that_of_the_definition(costs: Any) -> None:
    front = fronts(costs)
    found = crowding_distances(costs, front)
    for number in set(front):
        on_it = np.flatnonzero(front == number)
        np.testing.assert_allclose(found[on_it], distances(costs[on_it]))


def test_crowding_by_hand() -> None:
    # A front with an equal pair, which counts once; another point behind it; an unknown one.
    costs = np.array([[0.0, 10.0], [1.0, 6.0], [1.0, 6.0], [4.0, 4.0], [10.0, 0.0], [11.0, 11.0], [math.nan, 0.0]])
    found = crowding_distances(costs, fronts(costs))
    nine = 9 / 10 + 6 / 10
    np.testing.assert_allclose(found, [math.inf, 4 / 10 + 6 / 10, 1.0, nine, math.inf, math.inf, math.nan])


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
    assert ranked.columns[:4].tolist() == ["rank", "on_front", "front", "crowding"]
    np.testing.assert_array_equal(ranked["front"], [0, 0, 1, 1, 2, math.nan, math.nan])
    np.testing.assert_array_equal(ranked["crowding"], [math.inf] * 5 + [math.nan] * 2)


def test_fronts_and_crowding_rank_as_in_nsga_2() -> None:
    frame = trials((0.9, 9.0), (0.8, 8.0), (0.7, 4.0), (0.6, 1.0), (0.5, 5.0))
    assert rank(frame, by=["front", "crowding"]).index.tolist() == [0, 3, 2, 1, 4]


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
        *((name, False) for name in ("test_accuracy", "batch1_speedup", "batch256_speedup", "images_per_second")),
        *((name, True) for name in ("macs", "parameters", "accuracy_drop", "seconds", "val_loss", "lr.peak")),
        *((name, True) for name in ("batch1_latency_ms", "size_bytes", "test_seconds", "accuracy_std")),
    ],
)
def test_known_columns_have_a_sensible_direction(column: str, low_first: bool) -> None:
    assert split_direction(column) == (column, low_first)
    assert split_direction(f"-{column}") == (column, False)
    assert split_direction(f"+{column}") == (column, True)


def test_the_front_is_that_of_the_trials_that_fit_and_not_of_the_top() -> None:
    frame = trials((0.9, 1.0), (0.8, 2.0), (0.7, 1.5), family=["cosine", "exponential", "exponential"])
    assert rank(frame)["on_front"].tolist() == [True, False, False]
    assert rank(frame, where='family == "exponential"')["on_front"].tolist() == [True, True]
    best = rank(frame, by="+pruned_val_accuracy", top=2)
    assert best.index.tolist() == [2, 1]
    assert best["on_front"].tolist() == [False, False]


def test_the_best_is_the_most_accurate_then_the_one_of_fewest_macs_then_the_first() -> None:
    frame = trials((0.9, 5.0), (0.9, 4.0), (math.nan, 1.0), (0.8, 1.0), (0.9, 4.0), (0.9, math.nan))
    order = [1, 4, 0, 5, 3]
    assert sort_best_first(frame).index.tolist() == order
    assert sort_best_first(rank(frame, by="-number")).index.tolist() == order
    assert rank(frame, by=["pruned_val_accuracy", "macs"]).index.tolist() == [*order, 2]
    assert rank(frame).index[0] == best(frame).name == order[0]


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
    with pytest.raises(ValueError, match=r"there is no column 'zzz'; there are: number, seeds, .*pruned_val_accuracy"):
        pareto(frame, ["zzz"])
    with pytest.raises(ValueError, match="there is no column ''"):
        rank(frame, by="-")


def test_what_has_no_order_cannot_be_ranked_by() -> None:
    frame = trials((0.9, 1.0), (0.8, 2.0), state_text="x")
    frame["mixed"] = [1, "a"]
    with pytest.raises(ValueError, match="texts and numbers have no common order"):
        rank(frame, by="mixed")
    with pytest.raises(ValueError, match="an objective must be a number, but 'state_text' is not"):
        pareto(frame, ["state_text"])


def test_an_experiment_ranks_its_controls_beside_its_trials(builder: ExperimentBuilder) -> None:
    builder.add_trial(0, control="one_shot", accuracies=(0.1, 0.2, 0.95))
    builder.add_trial(1)
    ranked = analysis.load(builder.path).rank()
    assert ranked.index.tolist() == [0, 1]
    assert ranked["on_front"].tolist() == [True, False]


def test_weights_add_up_scaled_columns() -> None:
    frame = trials((0.9, 30.0), (0.5, 10.0), (0.8, 20.0), (0.7, math.nan))
    ranked = rank(frame, weights={"pruned_val_accuracy": 3.0, "macs": 1.0})
    # Accuracy from 0.5 to 0.9 and MACs from 30 to 10 become 0 to 1.
    scores = {0: 0.75, 2: 0.75 * 0.75 + 0.25 * 0.5, 1: 0.25, 3: math.nan}
    assert ranked.index.tolist() == [0, 2, 1, 3]
    np.testing.assert_allclose(ranked["score"], [scores[number] for number in ranked.index])
    assert ranked.columns[:5].tolist() == ["rank", "on_front", "front", "crowding", "score"]
    assert rank(frame, weights={"pruned_val_accuracy": 1e-9, "macs": 1.0}, top=2).index.tolist() == [1, 2]
    assert rank(frame, weights={"-macs": 1}).index.tolist() == [0, 2, 1, 3]


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(1, 100)), min_size=2, max_size=8),
    st.floats(0.01, 10),
    st.floats(0.01, 10),
    st.floats(0.1, 1000),
)
def test_scores_are_fractions_whatever_the_units_and_dominance_keeps_its_order(
    rows: list[tuple[float, float]], accuracy: float, macs: float, unit: float
) -> None:
    weights = {"pruned_val_accuracy": accuracy, "macs": macs}
    scores = rank(trials(*rows), weights=weights)["score"]
    assert scores.between(-1e-9, 1 + 1e-9).all()
    assert scores.is_monotonic_decreasing
    scaled = rank(trials(*((high, low * unit) for high, low in rows)), weights=weights)["score"]
    np.testing.assert_allclose(scaled.sort_index(), scores.sort_index(), atol=1e-6)
    for a, better in enumerate(rows):
        for b, worse in enumerate(rows):
            if better[0] >= worse[0] and better[1] <= worse[1]:
                assert scores[a] >= scores[b] - 1e-9


def test_a_column_in_which_all_are_equal_adds_nothing() -> None:
    ranked = rank(trials((0.9, 5.0), (0.8, 5.0)), weights={"pruned_val_accuracy": 0.5, "macs": 0.5})
    assert ranked["score"].tolist() == [0.5, 0.0]


@pytest.mark.parametrize("weight", [0, -1, math.nan, math.inf])
def test_weights_must_be_above_0(weight: float) -> None:
    with pytest.raises(ValueError, match=rf"`weight > 0` must hold, but 'macs' has {weight}; `-macs` ranks it high"):
        rank(trials((0.9, 1.0)), weights={"macs": weight})


def test_there_is_one_way_to_rank_at_a_time() -> None:
    with pytest.raises(ValueError, match="`by` and `weights` are alternatives; pass only one of them"):
        rank(trials((0.9, 1.0)), by="macs", weights={"macs": 1})
    with pytest.raises(ValueError, match="at least one objective must be given"):
        pareto(trials((0.9, 1.0)), [])
    with pytest.raises(ValueError, match="an objective must be a number, but 'state' is not"):
        rank(trials((0.9, 1.0)), weights={"state": 1})


def confirmed() -> pd.DataFrame:
    """0 was lucky: its repeats 2 and 3 are worse than 1."""
    frame = trials((0.9, 5.0), (0.8, 5.0), (0.6, 5.0), (0.7, 5.0))
    frame["confirms"] = [math.nan, math.nan, 0.0, 0.0]
    return frame


def test_a_trial_ranks_with_the_mean_of_its_repeats() -> None:
    ranked = rank(confirmed())
    assert ranked.index.tolist() == [1, 0]
    assert ranked["pruned_val_accuracy"].tolist() == pytest.approx([0.8, 0.65])
    assert ranked["seeds"].tolist() == [0, 2]
    assert pareto(confirmed()).index.tolist() == [1]
    assert best(confirmed()).name == 1


def test_conditions_are_asked_of_means_and_before_anything_is_ranked() -> None:
    assert rank(confirmed(), where="pruned_val_accuracy > 0.7").index.tolist() == [1]
    assert rank(confirmed(), where="seeds >= 1").index.tolist() == [0]
    assert rank(confirmed(), where="number < 1 and test_seeds == 0").index.tolist() == [0]
    for name in ("rank", "on_front", "front", "crowding", "score"):
        with pytest.raises(ValueError, match=f"there is no column '{name}'"):
            rank(confirmed(), where=f"{name} == 1")


def measured(*devices: Any) -> pd.DataFrame:
    frame = trials(*((0.9, 1.0 + number) for number in range(len(devices))))
    return frame.assign(measured_on=pd.Series(devices, dtype="str"), **dict.fromkeys(OF_A_DEVICE, 1.5))


@pytest.mark.parametrize("name", OF_A_DEVICE)
def test_figures_of_different_devices_are_not_ranked_against_each_other(name: str) -> None:
    frame = measured("NVIDIA H200", "AMD EPYC, 2 threads", None)
    said = (
        f"`{name}` was measured on different devices, whose figures do not compare: AMD EPYC, 2 threads, NVIDIA H200; "
        'choose one with the condition (`where`) measured_on == "AMD EPYC, 2 threads"'
    )
    for what in (
        lambda frame, where: rank(frame, by=["macs", f"-{name}"], where=where),
        lambda frame, where: rank(frame, weights={name: 1}, where=where),
        lambda frame, where: pareto(frame, ["macs", name], where=where),
    ):
        with pytest.raises(ValueError, match=re.escape(said)):
            what(frame, None)
        assert len(what(frame, said[said.index("measured_on ==") :])) == 1
        assert len(what(measured("a", "a", "a"), None)) > 0
        # What is not measured is compared with nothing.
        frame_of_one = frame.copy()
        frame_of_one.loc[0, name] = math.nan
        assert len(what(frame_of_one, None)) > 0


def test_what_is_the_same_on_all_devices_may_be_ranked() -> None:
    frame = measured("a", "b").assign(test_accuracy=[0.5, 0.6], size_bytes=[1, 2])
    assert rank(frame, by=["test_accuracy", "size_bytes"]).index.tolist() == [1, 0]


def test_the_best_is_the_first_of_the_ranking() -> None:
    frame = trials((0.9, 9.0), (0.8, 3.0), (0.95, math.nan), seconds=[1.0, 2.0, math.nan])
    assert best(frame).name == 0
    assert best(frame)["rank"] == 1
    assert best(frame, where="macs < 9").name == 1
    assert best(frame, by="-seconds").name == 1
    pd.testing.assert_series_equal(best(frame, "macs"), rank(frame, "macs").iloc[0])


def test_there_may_be_no_best() -> None:
    frame = trials((0.9, 9.0), seconds=math.nan)
    with pytest.raises(ValueError, match=r"^there is no complete trial that fits where='macs < 9'$"):
        best(frame, where="macs < 9")
    with pytest.raises(ValueError, match=r"^there is no complete trial$"):
        best(frame[:0])
    with pytest.raises(ValueError, match=r"^no complete trial that fits where='macs > 1' has a known `seconds`$"):
        best(frame, by="-seconds", where="macs > 1")
    with pytest.raises(ValueError, match=r"^no complete trial has a known `front`$"):
        best(trials((math.nan, 1.0)))

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from experiments import ExperimentBuilder, make_light_measurement, make_trials, write_measurement
from hypothesis import given
from hypothesis import strategies as st

from analysis.columns import PAIR_COLUMNS
from analysis.rank.pairs import TwinComparison, compare_with_twins, pair_columns
from analysis.rank.ranking import rank

FADED = {"accuracy": 0.95, "repeats": [0.90, 0.92, 0.91]}


def compared(*trials: dict[str, Any]) -> dict[tuple[int, str], TwinComparison]:
    return {(one.number, one.budget): one for one in compare_with_twins(make_trials(*trials))}


def test_repeats_meet_the_twins_of_their_seeds() -> None:
    found = compared({"accuracy": 0.8}, FADED | {"twins": {"compute": [0.91, 0.91, 0.91], "epochs": [0.88, 0.9, 0.89]}})
    assert list(found) == [(1, "compute"), (1, "epochs")]
    compute, epochs = found.values()
    assert (compute.pairs, compute.on) == (3, "validation")
    assert (compute.accuracy, compute.twin_accuracy, compute.difference) == pytest.approx((0.91, 0.91, 0))
    # Differences of -1, 1 and 0 points: s = 1 point, and Student's t is 4.303.
    assert compute.margin == pytest.approx(0.01 * 4.303 / math.sqrt(3), abs=1e-5)
    assert compute.outcome == "noise"
    assert epochs.difference == pytest.approx(0.02)
    assert math.isnan(epochs.margin)  # three equal differences say nothing of how far others would be apart
    assert epochs.outcome == "unknown"


def test_a_twin_of_both_budgets_counts_for_either() -> None:
    frame = make_trials(FADED | {"twins": {"epochs": [0.88, 0.9, 0.89]}})
    frame["twin"] = frame["twin"].replace("epochs", "both")
    compute, epochs = compare_with_twins(frame)
    assert (compute.budget, epochs.budget) == ("compute", "epochs")
    assert (compute.pairs, compute.difference, compute.margin) == (epochs.pairs, epochs.difference, epochs.margin)
    assert (epochs.pairs, epochs.difference) == (3, pytest.approx(0.02))


def test_one_pair_has_no_interval() -> None:
    [one] = compared(FADED | {"twins": {"compute": [0.89]}}).values()
    assert (one.pairs, one.outcome) == (1, "unknown")
    assert one.accuracy == 0.90  # of the repeat that has a twin
    assert math.isnan(one.margin)


def test_without_a_complete_pair_there_is_no_comparison() -> None:
    assert compared(FADED, {"accuracy": 0.9, "twins": {"compute": [0.9]}}) == {}
    frame = make_trials(FADED | {"twins": {"compute": [0.89]}})
    for change in ({"state": "running"}, {"pruned_val_accuracy": math.nan}, {"seed": 7.0}, {"seed": math.nan}):
        changed = frame.copy()
        changed.loc[changed["twin"].notna(), list(change)] = list(change.values())
        assert compare_with_twins(changed) == []
    for name in ("twin", "seed"):
        assert compare_with_twins(frame.drop(columns=name)) == []


def test_a_seed_that_is_there_twice_counts_once() -> None:
    frame = make_trials(FADED | {"twins": {"compute": [0.89, 0.9]}})
    doubled = pd.concat([frame, frame.tail(1)], ignore_index=True).rename_axis("number")
    assert [one.pairs for one in compare_with_twins(doubled)] == [2]


def test_test_images_decide_where_both_of_each_pair_have_been_tested(builder: ExperimentBuilder) -> None:
    trial = builder.add_searched(0.9)
    for seed, (test, twin_test) in enumerate(((0.88, 0.87), (0.89, 0.87)), start=1):
        write_measurement(builder.add_repeat(trial, seed, 0.9), make_light_measurement(test))
        write_measurement(builder.add_twin(trial, "compute", seed, 0.9), make_light_measurement(twin_test))
        builder.add_twin(trial, "epochs", seed, 0.8)
    compute, epochs = compare_with_twins(builder.load().trials)
    assert (compute.on, epochs.on) == ("test", "validation")
    assert compute.difference == pytest.approx(0.015)
    assert epochs.difference == pytest.approx(0.1)


def test_costs_are_means_and_unknown_for_older_records(builder: ExperimentBuilder) -> None:
    trial = builder.add_searched(0.9)
    builder.add_repeat(trial, 1, 0.9)
    builder.add_twin(trial, "compute", 1, 0.9)
    builder.add_twin(trial, "epochs", 1, 0.9)
    trials = builder.load().trials
    compute, epochs = compare_with_twins(trials)
    alpha_epochs = trials.loc[trial.number, "training_cost"] - 3 * 0.25  # each costs 1 instead of a quarter
    assert compute.cost == pytest.approx(3 * 0.25 + alpha_epochs)
    assert 0 <= compute.cost - compute.twin_cost < 0.25
    assert epochs.twin_cost == pytest.approx(3 * 0.25)
    trials.loc[trials["twin"] == "epochs", "training_cost"] = math.nan
    assert [math.isnan(one.twin_cost) for one in compare_with_twins(trials)] == [False, True]


def test_a_ranking_has_the_pairs_and_no_row_for_a_twin() -> None:
    frame = make_trials(
        FADED | {"twins": {"compute": [0.91, 0.91, 0.91], "epochs": [0.88]}}, {"control": "one_shot", "accuracy": 0.9}
    )
    ranked = rank(frame)
    assert sorted(ranked.index) == [0, 1]
    assert ranked.loc[0, "pairs"] == 3
    assert ranked.loc[0, list(PAIR_COLUMNS)[1:]].tolist() == pytest.approx(
        [0.02, math.nan, 0, 0.02484], abs=1e-5, nan_ok=True
    )
    assert ranked.loc[1, "pairs"] == 0
    assert ranked.loc[1, list(PAIR_COLUMNS)[1:]].isna().all()
    assert rank(frame, where="twin_epochs_difference > 0").index.tolist() == [0]
    assert rank(frame, by="-pairs").index.tolist() == [0, 1]
    assert pair_columns(make_trials(), pd.Index([], dtype="int64")).columns.tolist() == list(PAIR_COLUMNS)


accuracies = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=8)


@given(accuracies)
def test_it_is_a_paired_t_test(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = np.array(pairs).T
    [one] = compared({"accuracy": 0.5, "repeats": [*ours, 0.1], "twins": {"epochs": list(theirs)}}).values()
    assert one.difference == pytest.approx(np.mean(ours - theirs), abs=1e-12)
    assert one.difference == pytest.approx(one.accuracy - one.twin_accuracy, abs=1e-12)
    assert one.pairs == len(pairs)
    if len(pairs) == 1:
        assert math.isnan(one.margin)
    elif np.ptp(ours - theirs) > 1e-6:
        interval = scipy.stats.ttest_rel(ours, theirs).confidence_interval(0.95)
        assert one.difference - one.margin == pytest.approx(interval.low, abs=1e-9)
        assert one.difference + one.margin == pytest.approx(interval.high, abs=1e-9)
        assert (one.outcome == "noise") == (interval.low <= 0 <= interval.high)
    else:
        assert math.isnan(one.margin) or one.margin == pytest.approx(0, abs=1e-5)

"""The arithmetic of the estimate: written-down numbers, and rules that hold for all searches."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.estimate import (
    FIXED_SHARE,
    PROJECTION_COST,
    ExpectedTrial,
    Hardware,
    Pace,
    TrialsLeft,
    compute_epoch_cost,
    count_survivors,
    estimate_mac_sparsity,
    estimate_time,
    list_chances,
    list_epoch_costs,
)
from trainable.config import PruningConfig, TrialConfig
from trainable.schedules.alpha import Cosine, OneShot

CPU = Hardware("CPU", dense=2, trial=1, concurrency=2)
GPU = Hardware("GPU", dense=1, trial=0.25, concurrency=4)
COSTS = st.lists(st.floats(0.1, 100), max_size=20).map(tuple)
NUMBERS = st.integers(1, 64)


def test_an_alpha_epoch_costs_like_a_dense_one_and_a_retrain_epoch_less() -> None:
    assert compute_epoch_cost("alpha", 0.75) == 1 + PROJECTION_COST
    assert compute_epoch_cost("retrain", 0.0) == 1
    assert compute_epoch_cost("retrain", 0.75) == FIXED_SHARE + (1 - FIXED_SHARE) / 4
    # Speeds that were measured in batches of 256 (README): 2.09, 3.24 and 4.12 times as fast as dense.
    for cut, speed in ((0.751, 2.09), (0.9, 3.24), (0.933, 4.12)):
        assert 1 / compute_epoch_cost("retrain", cut) == pytest.approx(speed, rel=0.2)


def test_a_cut_of_channels_cuts_inputs_and_outputs() -> None:
    assert estimate_mac_sparsity(PruningConfig(amount=0.6)) == 0.6
    assert estimate_mac_sparsity(PruningConfig(amount=0.6, of="channels")) == pytest.approx(0.84)


def test_the_epochs_of_a_trial_are_counted_by_phase() -> None:
    config = TrialConfig(epochs=10, alpha=Cosine(), alpha_fraction=0.4, pruning=PruningConfig(amount=0.75))
    alpha, retrain = 1 + PROJECTION_COST, compute_epoch_cost("retrain", 0.75)
    assert list_epoch_costs(config) == (alpha,) * 4 + (retrain,) * 6
    assert list_epoch_costs(replace(config, alpha=OneShot())) == (retrain,) * 10
    short = replace(config, alpha_fraction=0.15, epochs_per_alpha=0.5)
    assert list_epoch_costs(short) == pytest.approx((alpha, (alpha + retrain) / 2) + (retrain,) * 8)
    assert list_epoch_costs(replace(config, begun=(0.9, 0.6))) == (0, 0) + (alpha,) * 2 + (retrain,) * 6


def test_the_first_to_reach_a_rung_survives() -> None:
    assert count_survivors(1, 3) == 1
    assert count_survivors(3, 3) == pytest.approx(1 + 1 / 2 + 1 / 3)
    assert count_survivors(2.5, 3) == pytest.approx(1 + 1 / 2 + 0.5 / 3)
    assert count_survivors(10_000, 1.5) == pytest.approx(10_000 / 1.5, rel=0.01)


@given(st.integers(0, 300), st.floats(1.01, 10))
def test_survivors_are_at_least_the_quota_and_at_most_all(trials: int, reduction: float) -> None:
    survivors = count_survivors(trials, reduction)
    assert trials / reduction - 1e-9 <= survivors <= trials + 1e-9
    assert survivors <= count_survivors(trials + 1, reduction)


@given(st.integers(1, 60), st.integers(0, 200), st.sets(st.integers(1, 59)), st.floats(1.01, 5))
def test_the_chances_of_epochs_fall_at_rungs_only(epochs: int, trials: int, rungs: set[int], reduction: float) -> None:
    chances = list_chances(epochs, trials, rungs, reduction)
    assert len(chances) == epochs
    assert chances[0] == 1
    for epoch in range(1, epochs):
        assert 0 < chances[epoch] <= chances[epoch - 1]
        assert epoch in rungs or chances[epoch] == chances[epoch - 1]


def test_what_is_left_of_a_trial_is_given_that_it_still_runs() -> None:
    trial = ExpectedTrial((2.0, 2.0, 1.0, 1.0), (1.0, 1.0, 0.5, 0.5))
    assert [trial.count_cost(done) for done in range(5)] == [5.0, 3.0, 2.0, 1.0, 0.0]
    assert trial.count_cost(9) == 0.0


def test_the_mean_of_several_configurations_is_expected() -> None:
    config = TrialConfig(epochs=4, alpha=OneShot())
    one, other = (replace(config, pruning=PruningConfig(amount=amount)) for amount in (0.5, 0.9))
    mean = (compute_epoch_cost("retrain", 0.5) + compute_epoch_cost("retrain", 0.9)) / 2
    assert ExpectedTrial.of([one, other]).costs == pytest.approx((mean,) * 4)


def test_trials_share_the_devices_of_the_dense_network() -> None:
    assert GPU.slowdown == 4
    assert 1.8 < CPU.slowdown < 2
    assert replace(CPU, trial=2).slowdown == 1


@given(COSTS, COSTS, NUMBERS)
def test_the_longest_chain_is_between_the_ideal_and_one_after_another(
    running: tuple[float, ...], waiting: tuple[float, ...], concurrency: int
) -> None:
    running = running[:concurrency]
    left = TrialsLeft(running, waiting)
    span = left.count_span(concurrency)
    assert span >= max((*running, *waiting), default=0) - 1e-9
    assert span >= (left.total / concurrency if waiting else 0) - 1e-9
    assert span <= left.total + max(waiting, default=0) / 2 + 1e-9
    assert TrialsLeft(running, waiting[1:]).count_span(1) <= left.count_span(1)


@given(st.floats(0.1, 100), st.floats(0.1, 100), NUMBERS)
def test_the_pace_moves_from_what_was_expected_to_what_is_measured(
    expected: float, measured: float, concurrency: int
) -> None:
    pace = Pace(expected, concurrency)
    assert pace.seconds_per_cost == pytest.approx(expected)
    for epoch in range(1, 200 * concurrency + 1):
        pace.count_epoch(1.0, epoch * measured / concurrency)
        assert pace.seconds_per_cost is not None
        low, high = sorted((expected, measured))
        # Trials that are in the middle of an epoch make it a little less than measured, the less the more are done.
        assert low / 2 - 1e-9 <= pace.seconds_per_cost <= high + 1e-9
    assert pace.seconds_per_cost == pytest.approx(measured, rel=0.02 + 0.01 * expected / measured)


def test_without_an_expectation_the_pace_is_what_is_measured() -> None:
    pace = Pace(None, 1)
    assert pace.seconds_per_cost is None
    pace.count_epoch(2.0, 10.0)
    assert pace.seconds_per_cost == 5.0


def test_hours_and_device_hours() -> None:
    left = TrialsLeft(waiting=(10.0,) * 8)
    estimate = estimate_time(GPU, left, dense_epochs=20, epoch_seconds=90)
    assert estimate.dense_seconds == 1800
    # Two rounds of four trials, a trial taking 10 * 4 * 90 seconds; and a bit for the end.
    assert estimate.trial_seconds == pytest.approx((80 + 15) / 4 * 360)
    assert estimate.device_seconds == pytest.approx(1800 + 80 * 360 * 0.25)
    assert str(estimate) == "about 2.9 h (dense network 30 min, trials 2.4 h), 2.5 GPU-hours"
    later = estimate_time(GPU, left, dense_epochs=0, epoch_seconds=90, seconds_per_cost=180)
    assert later.trial_seconds == pytest.approx(estimate.trial_seconds / 2)
    assert str(later) == "about 71 min, 1.0 GPU-hours"

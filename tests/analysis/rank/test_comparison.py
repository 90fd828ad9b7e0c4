import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from experiments import DATA, make_trials
from hypothesis import given
from hypothesis import strategies as st

from analysis.rank.comparison import (
    Comparison,
    Contender,
    compare_with_controls,
    compared_trials,
    cut_levels,
    cut_tolerance,
    difference_margin,
    to_confirm,
)
from analysis.rank.ranking import rank
from records.experiment import DataRecord

IMAGES = replace(DATA, validation_images=400)


def compared(trials: pd.DataFrame, data: DataRecord = IMAGES) -> list[Comparison]:
    return compare_with_controls(trials, rank(trials), data)


def contender(accuracy: float, std: float = math.nan, seeds: int = 0) -> Contender:
    return Contender(0, "0 cosine", accuracy, std, seeds, 0.75)


def test_single_runs_differ_by_the_noise_of_their_images() -> None:
    [one] = compared(make_trials({"accuracy": 0.9}, {"accuracy": 0.8, "control": "one_shot"}))
    assert (one.alpha.label, one.control.label) == ("0 exponential", "1 one-shot (control)")
    assert (one.on, one.basis, one.images) == ("validation", "images", 400)
    assert one.margin == pytest.approx(1.96 * math.sqrt((0.9 * 0.1 + 0.8 * 0.2) / 400))
    assert one.difference == pytest.approx(0.1)
    assert one.outcome == "better"


def test_repeated_trials_differ_by_the_noise_of_their_seeds() -> None:
    ours, theirs = [0.93, 0.94, 0.95], [0.90, 0.92, 0.91, 0.93]
    [one] = compared(
        make_trials({"accuracy": 0.99, "repeats": ours}, {"accuracy": 0.1, "repeats": theirs, "control": "one_shot"})
    )
    interval = scipy.stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.95)
    assert one.basis == "seeds"
    assert one.difference == pytest.approx(np.mean(ours) - np.mean(theirs))
    assert one.margin == pytest.approx((interval.high - interval.low) / 2)


def test_on_the_test_set_only_the_repeats_that_were_tested_count() -> None:
    ours, theirs = [0.6, 0.8], [0.3, 0.32, 0.31]
    [one] = compared(
        make_trials(
            {"accuracy": 0.9, "repeats": [0.9, 0.9, 0.9], "test_repeats": [*ours, math.nan]},
            {"accuracy": 0.5, "control": "one_shot", "repeats": [0.5, 0.5, 0.5], "test_repeats": theirs},
        )
    )
    assert (one.on, one.basis, one.alpha.seeds, one.control.seeds) == ("test", "seeds", 2, 3)
    interval = scipy.stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.95)
    assert one.margin == pytest.approx((interval.high - interval.low) / 2)


def test_repeats_that_are_all_alike_say_nothing_of_the_spread() -> None:
    """A few of 300 images may be classified alike by chance; and 1e-17 is what rounding leaves of 0."""
    for std in (0, 1e-17):
        width, basis = difference_margin(contender(0.9, std, 3), contender(0.8, std, 3), None)
        assert math.isnan(width)
        assert basis == "unknown"
        assert difference_margin(contender(0.9, std, 3), contender(0.8, std, 3), 300)[1] == "images"


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 10**6))
def test_the_margin_of_images_shrinks_with_their_number(a: float, b: float, images: int) -> None:
    few, basis = difference_margin(contender(a), contender(b), images)
    many, _ = difference_margin(contender(a), contender(b), 4 * images)
    assert basis == "images"
    assert many == pytest.approx(few / 2)


@pytest.mark.parametrize(
    ("ours", "theirs", "images", "basis"),
    [
        (contender(0.9, 0.01, 3), contender(0.8, 0.01, 3), None, "seeds"),
        (contender(0.9, 0.01, 3), contender(0.8, 0.0, 2), None, "seeds"),
        (contender(0.9, 0.01, 3), contender(0.8), 100, "images"),
        (contender(0.9, math.nan, 1), contender(0.8, 0.01, 3), 100, "images"),
        # No spread at all would make any difference certain.
        (contender(0.9, 0.0, 3), contender(0.8, 0.0, 3), 100, "images"),
        (contender(0.9), contender(0.8), None, "unknown"),
        (contender(0.9, 0.01, 3), contender(0.8), None, "unknown"),
    ],
)
def test_what_the_margin_is_from(ours: Contender, theirs: Contender, images: int | None, basis: str) -> None:
    width, of = difference_margin(ours, theirs, images)
    assert of == basis
    assert math.isnan(width) == (basis == "unknown")


@pytest.mark.parametrize(
    ("alpha", "control", "width", "outcome"),
    [
        (0.9, 0.8, 0.05, "better"),
        (0.8, 0.9, 0.05, "worse"),
        (0.9, 0.8, 0.2, "noise"),
        (0.8, 0.9, 0.2, "noise"),
        (0.8, 0.8, 0.0, "noise"),
        (0.8, 0.8, math.nan, "noise"),
        (0.9, 0.8, math.nan, "unknown"),
    ],
)
def test_outcomes(alpha: float, control: float, width: float, outcome: str) -> None:
    one = Comparison(0.75, contender(alpha), contender(control), "test", None, width, "images")
    assert one.outcome == outcome


def test_the_best_of_both_meet_at_each_cut() -> None:
    trials = make_trials(
        {"accuracy": 0.85, "cut": 0.755, "control": "one_shot"},
        {"accuracy": 0.86, "cut": 0.76, "control": "random_channels"},
        {"accuracy": 0.6, "cut": 0.9, "control": "one_shot"},
        {"accuracy": 0.8, "cut": 0.75},
        {"accuracy": 0.84, "cut": 0.77},
        {"accuracy": 0.7, "cut": 0.91},
        {"accuracy": 0.99, "cut": 0.5},
    )
    found = [(one.cut, one.alpha.number, one.control.number) for one in compared(trials)]
    assert found == [(0.755, 4, 1), (0.9, 5, 2)]


def test_what_cuts_more_may_win_but_does_not_lose() -> None:
    control = {"accuracy": 0.8, "cut": 0.75, "control": "one_shot"}
    [won] = compared(make_trials(control, {"accuracy": 0.95, "cut": 0.9}))
    assert (won.outcome, won.alpha.cut, won.control.cut) == ("better", 0.9, 0.75)
    assert compared(make_trials(control, {"accuracy": 0.5, "cut": 0.9})) == []
    # A trial that cuts as little is worse: then the one that cuts more is the better of two that lose.
    [lost] = compared(make_trials(control, {"accuracy": 0.5, "cut": 0.9}, {"accuracy": 0.4, "cut": 0.75}))
    assert (lost.outcome, lost.alpha.number) == ("worse", 1)


def test_a_control_that_cuts_more_counts_against_what_cuts_less() -> None:
    trials = make_trials(
        {"accuracy": 0.7, "cut": 0.75, "control": "one_shot"},
        {"accuracy": 0.9, "cut": 0.9, "control": "one_shot"},
        {"accuracy": 0.8, "cut": 0.75},
    )
    [one] = compared(trials)
    assert (one.cut, one.control.number, one.outcome) == (0.75, 1, "worse")


def test_confirmed_trials_come_before_lucky_ones() -> None:
    lucky = {"accuracy": 0.99}
    confirmed = {"accuracy": 0.95, "repeats": [0.91, 0.92]}
    control = {"accuracy": 0.9, "control": "one_shot", "repeats": [0.9, 0.89]}
    [one] = compared(make_trials(lucky, confirmed, control))
    assert (one.alpha.number, one.alpha.seeds, one.basis) == (1, 2, "seeds")
    [one] = compared(make_trials(lucky, confirmed, control | {"repeats": []}))
    assert one.alpha.number == 0


def test_a_confirmed_trial_that_cuts_more_does_not_stand_for_all() -> None:
    control = {"accuracy": 0.9, "control": "one_shot", "repeats": [0.9, 0.89]}
    [one] = compared(make_trials(control, {"accuracy": 0.8, "cut": 0.9, "repeats": [0.8, 0.81]}, {"accuracy": 0.97}))
    assert (one.alpha.number, one.outcome, one.basis) == (2, "better", "images")


def test_the_test_set_is_used_where_both_have_it_and_chooses_nobody() -> None:
    chosen = {"accuracy": 0.9, "test_accuracy": 0.8}
    other = {"accuracy": 0.85, "test_accuracy": 0.95}
    control = {"accuracy": 0.8, "control": "one_shot", "test_accuracy": 0.82}
    [one] = compared(make_trials(chosen, other, control))
    assert (one.on, one.images, one.alpha.number, one.alpha.accuracy) == ("test", 10000, 0, 0.8)
    [one] = compared(make_trials(chosen, other, control | {"test_accuracy": math.nan}))
    assert (one.on, one.images, one.alpha.accuracy) == ("validation", 400, 0.9)


def test_without_images_the_noise_is_unknown() -> None:
    trials = make_trials({"accuracy": 0.9}, {"accuracy": 0.8, "control": "one_shot"})
    [one] = compared(trials, replace(DATA, validation_images=0))
    assert (one.basis, one.outcome, one.images) == ("unknown", "unknown", None)


def test_of_several_the_best_on_its_own_images_is_only_ahead() -> None:
    control, won, other = ({"accuracy": a, "test_accuracy": a} for a in (0.7, 0.9, 0.8))
    control |= {"control": "one_shot"}
    stopped = other | {"state": "stopped"}
    untested, repeated = {"test_accuracy": math.nan}, {"repeats": [0.9, 0.91]}

    def tentative(*trials: dict[str, Any]) -> bool:
        [one] = compared(make_trials(*trials))
        return one.tentative

    assert tentative(control | untested, won, other)
    assert tentative(control | untested, won, stopped)
    assert tentative(control | untested, won | repeated, other)
    assert not tentative(control | untested, won)
    assert not tentative(control, won, other)
    assert not tentative(control | untested | repeated, won | repeated, other)
    assert tentative(control | untested | {"accuracy": 0.99}, won, other)


@pytest.mark.parametrize(
    ("control", "alpha", "same"),
    [(0.5, 0.485, True), (0.5, 0.475, False), (0.9, 0.892, True), (0.9, 0.881, False), (0.98, 0.977, False)],
)
def test_what_keeps_a_tenth_more_does_not_cut_as_much(control: float, alpha: float, same: bool) -> None:
    trials = make_trials({"accuracy": 0.8, "cut": control, "control": "one_shot"}, {"accuracy": 0.9, "cut": alpha})
    assert len(compared(trials)) == same
    # Nor is what loses to a control that cuts less compared with it.
    trials = make_trials({"accuracy": 0.8, "cut": alpha, "control": "one_shot"}, {"accuracy": 0.7, "cut": control})
    assert len(compared(trials)) == same


def test_what_is_compared_is_known_by_number() -> None:
    trials = make_trials(
        {"accuracy": 0.8, "control": "one_shot"},
        {"accuracy": 0.7, "control": "random_channels"},
        {"accuracy": 0.6, "cut": 0.9, "control": "one_shot"},
        {"accuracy": 0.7, "repeats": [0.7]},
        {"accuracy": 0.65},
        {"accuracy": 0.5, "cut": 0.9},
        {"accuracy": 0.99, "cut": 0.2},
    )
    assert compared_trials(trials, IMAGES) == [0, 2, 3, 5]
    assert compared_trials(make_trials({"accuracy": 0.9}), IMAGES) == []


def test_each_amount_of_the_controls_gets_its_best_then_its_second() -> None:
    trials = make_trials(
        {"accuracy": 0.8, "cut": 0.5, "control": "one_shot"},
        {"accuracy": 0.7, "cut": 0.75, "control": "one_shot"},
        {"accuracy": 0.6, "cut": 0.9, "control": "one_shot"},
        *({"accuracy": 0.9 - index / 100, "cut": 0.5} for index in range(4)),  # 3 to 6
        {"accuracy": 0.71, "cut": 0.76},
        {"accuracy": 0.72, "cut": 0.75},
        {"accuracy": 0.61, "cut": 0.9},
        {"accuracy": 0.62, "cut": 0.95},
        {"accuracy": 0.99, "cut": 0.95, "parent": 3.0},
        {"accuracy": 0.99, "cut": 0.1},
    )
    assert to_confirm(trials, 3) == [3, 8, 10]
    assert to_confirm(trials, 6) == [3, 8, 10, 4, 7, 9]
    assert to_confirm(trials, 2) == [3, 8]
    assert to_confirm(trials) == [3, 8, 10]
    assert sorted(to_confirm(trials, 100)) == [*range(3, 11), 12]


def test_one_that_is_the_best_at_several_amounts_is_taken_once() -> None:
    controls = [{"accuracy": 0.5, "cut": cut, "control": "one_shot"} for cut in (0.3, 0.5, 0.75, 0.9)]
    trials = make_trials(
        *controls, *({"accuracy": 0.9 - cut / 2, "cut": 0.95 - cut} for cut in (0.0, 0.01, 0.02, 0.6, 0.03))
    )
    assert to_confirm(trials) == [4, 5, 6, 8]
    assert to_confirm(trials, 5) == [4, 5, 6, 8, 7]


def test_without_controls_the_best_are_those_of_the_ranking() -> None:
    trials = make_trials(*({"accuracy": a, "cut": cut} for a, cut in ((0.9, 0.5), (0.8, 0.5), (0.7, 0.9), (0.6, 0.9))))
    assert to_confirm(trials) == rank(trials).index[:3].tolist() == [0, 2, 1]
    assert to_confirm(make_trials(), 3) == []


def test_what_cuts_more_is_told_from_what_cuts_as_much() -> None:
    control = {"accuracy": 0.8, "cut": 0.75, "control": "one_shot"}
    for cut, more in ((0.75, False), (0.76, False), (0.9, True)):
        [one] = compared(make_trials(control, {"accuracy": 0.95, "cut": cut}))
        assert one.cuts_more is more


def test_what_is_not_known_is_not_compared() -> None:
    known = {"accuracy": 0.9}
    assert compared(make_trials(known, {"control": "one_shot"})) == []
    assert compared(make_trials({}, {"accuracy": 0.9, "control": "one_shot"})) == []
    assert compared(make_trials(known, {"accuracy": 0.9, "cut": math.nan, "control": "one_shot"})) == []
    assert compared(make_trials()) == []


@given(st.lists(st.floats(0, 1)))
def test_levels_are_apart_and_near_to_every_cut(cuts: list[float]) -> None:
    found = cut_levels(cuts)
    assert set(found) <= set(cuts)
    assert all(b > a + cut_tolerance(a) for a, b in pairwise(found))
    assert all(any(level <= cut <= level + cut_tolerance(level) for level in found) for cut in cuts)

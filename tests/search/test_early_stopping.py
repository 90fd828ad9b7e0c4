"""Successive halving by hand, and its promises on random trials."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.early_stopping import SuccessiveHalving
from search.settings import EarlyStopping


@pytest.mark.parametrize(
    ("first", "reduction", "epochs", "rungs"),
    [
        (1 / 3, 2, 18, [6, 12]),
        (0.34, 1.5, 18, [7, 10, 14]),
        (0.34, 1.5, 6, [3, 4, 5]),
        (0.01, 2, 4, [1, 2, 3]),
        (0.5, 3, 2, [1]),
        (0.9, 2, 1, []),
    ],
)
def test_rungs(first: float, reduction: float, epochs: int, rungs: list[int]) -> None:
    assert list(SuccessiveHalving(EarlyStopping(first=first, reduction=reduction), epochs=epochs).rungs) == rungs


def test_the_best_half_of_those_seen_so_far_goes_on() -> None:
    halving = SuccessiveHalving(EarlyStopping(first=0.5, reduction=2), epochs=10)
    values = [0.5, 0.4, 0.6, 0.55, 0.1, 0.6]
    assert [halving.goes_on(number, 5, value) for number, value in enumerate(values)] == [
        True,  # the first
        False,  # second of 2
        True,  # first of 3
        True,  # second of 4
        False,  # last of 5
        True,  # as good as the best of 6
    ]


def test_between_rungs_and_when_off_all_go_on() -> None:
    halving = SuccessiveHalving(EarlyStopping(first=0.5, reduction=2), epochs=10)
    assert all(halving.goes_on(number, 4, -number) for number in range(20))
    off = SuccessiveHalving(EarlyStopping(enabled=False), epochs=10)
    assert all(off.goes_on(number, epoch, -number) for number in range(20) for epoch in range(1, 11))


def test_a_trial_that_comes_to_a_rung_again_counts_once() -> None:
    halving = SuccessiveHalving(EarlyStopping(first=0.5, reduction=2), epochs=10)
    for _ in range(5):
        assert halving.goes_on(0, 5, 0.3)
    assert not halving.goes_on(1, 5, 0.2)


@given(st.integers(2, 200), st.sampled_from([1.5, 2.0, 3.0, 4.0]), st.integers(0, 2**32))
def test_the_best_trial_always_reaches_the_end(trials: int, reduction: float, seed: int) -> None:
    draw = random.Random(seed)
    halving = SuccessiveHalving(EarlyStopping(first=0.25, reduction=reduction), epochs=16)
    quality = [draw.random() for _ in range(trials)]
    ended = [
        number
        for number, value in enumerate(quality)
        if all(halving.goes_on(number, epoch, value) for epoch in range(1, 17))
    ]
    assert quality.index(max(quality)) in ended
    assert ended[0] == 0  # nobody waits: the first has nobody to lose against


def test_many_trials_cost_what_the_rungs_say() -> None:
    draw = random.Random(1)
    halving = SuccessiveHalving(EarlyStopping(first=0.25, reduction=2), epochs=16)
    spent = 0
    for number in range(2000):
        value = draw.random()
        for epoch in range(1, 17):
            spent += 1
            if not halving.goes_on(number, epoch, value):
                break
    # All run 4 epochs, half of them 4 more, a quarter 8 more.
    assert spent / (2000 * 16) == pytest.approx((4 + 4 / 2 + 8 / 4) / 16, abs=0.01)

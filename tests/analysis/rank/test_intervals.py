import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from analysis.rank.intervals import judge_difference, mean_margin, student_quantile


@given(st.floats(1, 1e6))
def test_the_quantile_is_students(freedom: float) -> None:
    assert student_quantile(freedom) == pytest.approx(scipy.stats.t.ppf(0.975, freedom))


def test_a_margin_by_hand() -> None:
    # Of 1, 2, 3: s = 1, and Student's t for two degrees of freedom is 4.303.
    assert mean_margin([1, 2, 3]) == pytest.approx(4.303 / math.sqrt(3), abs=1e-3)
    assert math.isnan(mean_margin([0.1, 0.1, 0.1]))
    assert math.isnan(mean_margin([0.3 - 0.1, 0.2]))  # 0.19999999999999998
    assert math.isnan(mean_margin([0.1]))
    assert math.isnan(mean_margin([]))


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=9))
def test_the_margin_is_that_of_a_one_sample_t_test(values: list[float]) -> None:
    low, high = np.mean(values) - mean_margin(values), np.mean(values) + mean_margin(values)
    if np.ptp(values) > 1e-6:
        interval = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert (low, high) == pytest.approx(tuple(interval), abs=1e-9)


@pytest.mark.parametrize(
    ("difference", "margin", "outcome"),
    [
        (0.02, 0.01, "better"),
        (-0.02, 0.01, "worse"),
        (0.01, 0.01, "noise"),
        (-0.01, 0.02, "noise"),
        (0.01, 0.001, "better"),
        (1e-17, math.nan, "noise"),
        (0.0, math.nan, "noise"),
        (0.01, math.nan, "unknown"),
    ],
)
def test_an_interval_that_holds_0_is_noise(difference: float, margin: float, outcome: str) -> None:
    assert judge_difference(difference, margin) == outcome

"""Schedules are arithmetic: written numbers, and what must hold for any of them.

The numbers are the formulas of the method evaluated with 40 digits, independently of this code.
"""

import math
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trainable.schedules.alpha import (
    Cosine,
    Exponential,
    Multiplicative,
    OneShot,
    Piecewise,
    Polynomial,
    Schedule,
    Segment,
    TimeBased,
)

MANY = 10_000


def rates(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high) | st.sampled_from([low, high])


STRETCHED = st.one_of(
    st.builds(Exponential, rates(1, 8)),
    st.builds(TimeBased, rates(1, 50)),
    st.builds(Polynomial, rates(1, 4)),
    st.just(Cosine()),
)
MULTIPLICATIVE = st.builds(Multiplicative, rates(0.5, 0.95), rates(1e-3, 5e-2))


@st.composite
def piecewise(draw: st.DrawFn) -> Piecewise:
    """Segments of any family and rate, of up to about MANY stages in all."""
    ends = draw(st.lists(st.floats(1e-3, 0.99), min_size=1, max_size=4, unique_by=lambda end: round(end, 4)))
    pieces = st.one_of(
        st.tuples(st.just("exponential"), st.floats(1e-3, 8)),
        st.tuples(st.just("multiplicative"), st.floats(0.01, 0.999)),
        st.tuples(st.just("time_based"), st.floats(0.1, 50)),
    )
    return Piecewise(tuple(Segment(*draw(pieces), end) for end in sorted(ends, reverse=True)))


@pytest.mark.parametrize(
    ("schedule", "alphas"),
    [
        (Exponential(1), [0.713236273697623, 0.478453992106630, 0.286230517890269, 0.128851248085842]),
        (Exponential(3), [0.525171307518423, 0.264579795933221, 0.121564142107931, 0.0430754871450165]),
        (Exponential(8), [0.201628694258389, 0.0404403075623117, 0.00789693354719763, 0.00132653964974834]),
        (TimeBased(1), [0.666666666666667, 0.428571428571429, 0.25, 0.111111111111111]),
        (TimeBased(10), [0.266666666666667, 0.12, 0.0571428571428571, 0.0222222222222222]),
        (TimeBased(50), [0.0727272727272727, 0.0285714285714286, 0.0129032258064516, 0.0048780487804878]),
        (Polynomial(1), [0.8, 0.6, 0.4, 0.2]),
        (Polynomial(2.5), [0.572433402239946, 0.278854800926934, 0.101192885125388, 0.0178885438199983]),
        (Polynomial(3), [0.512, 0.216, 0.064, 0.008]),
        (Polynomial(4), [0.4096, 0.1296, 0.0256, 0.0016]),
        (Cosine(), [0.933012701892219, 0.75, 0.5, 0.25, 0.0669872981077807]),
        (Multiplicative(0.7, 0.01), [0.7, 0.49, 0.343, 0.2401]),
        (OneShot(), []),
    ],
)
def test_the_stages_are_these_numbers(schedule: Schedule, alphas: list[float]) -> None:
    assert schedule.stage_alphas(len(alphas) or 4) == pytest.approx(alphas, rel=1e-13)


def test_multiplicative_ends_early_and_exponential_stretches() -> None:
    assert Multiplicative(0.5, 0.05).stage_alphas(10) == (0.5, 0.25, 0.125, 0.0625)
    assert Multiplicative(0.5, 0.03125).stage_alphas(10)[-1] == 0.03125
    longest = Multiplicative(0.95, 1e-3).stage_alphas(MANY)
    assert (len(longest), longest[-1]) == (134, pytest.approx(0.00103505423990588, rel=1e-12))
    assert len(Exponential(3).stage_alphas(MANY)) == MANY


# The weekly report's schedule, by hand: 18 stages above 0.4, then 0.4 itself; 6 above 0.018, then 0.018 itself.
REPORT = [
    *(0.951229424500714, 0.904837418035960, 0.860707976425058, 0.818730753077982, 0.778800783071405),
    *(0.740818220681718, 0.704688089718713, 0.670320046035639, 0.637628151621773, 0.606530659712633),
    *(0.576949810380487, 0.548811636094026, 0.522045776761016, 0.496585303791410, 0.472366552741015),
    *(0.449328964117222, 0.427414931948727, 0.406569659740599, 0.4),
    *(0.242612263885053, 0.147151776468577, 0.0892520640593719, 0.0541341132946451, 0.0328339994495595),
    *(0.0199148273471456, 0.018),
]


def test_piecewise_replays_the_weekly_report() -> None:
    report = Piecewise((Segment("exponential", 0.05, 0.4), Segment("exponential", 0.5, 0.018)))
    assert report == Piecewise()
    assert report.stage_alphas(MANY) == pytest.approx(REPORT, rel=1e-13)
    assert report.stage_alphas(20) == pytest.approx(REPORT[:20], rel=1e-13)


@pytest.mark.parametrize(
    ("segment", "alphas"),
    [
        (Segment("time_based", 2, 0.1), [1 / 3, 1 / 5, 1 / 7, 1 / 9, 0.1]),
        (Segment("multiplicative", 0.5, 0.2), [0.5, 0.25, 0.2]),
        # 0.1 ** 3 is a little more than 0.001: still the last stage, not the last but one.
        (Segment("multiplicative", 0.1, 0.001), [0.1, 0.01, 0.001]),
        (Segment("multiplicative", 0.2, 0.008), [0.2, 0.04, 0.008]),
        (Segment("exponential", 100, 0.3), [0.3]),
    ],
)
def test_a_segment_ends_at_its_end_once(segment: Segment, alphas: list[float]) -> None:
    assert Piecewise((segment,)).stage_alphas(MANY) == pytest.approx(alphas, rel=1e-12)


def test_a_long_slow_tail_does_not_overflow() -> None:
    alphas = Piecewise((Segment("time_based", 50, 2e-6),)).stage_alphas(MANY)
    assert (len(alphas), alphas[-1]) == (MANY, 2e-6)
    assert alphas[4999] == pytest.approx(1 / 250_001)


def test_later_segments_fall_from_where_the_previous_one_ended() -> None:
    schedule = Piecewise((Segment("multiplicative", 0.5, 0.3), Segment("time_based", 1, 0.1)))
    assert schedule.stage_alphas(MANY) == pytest.approx([0.5, 0.3, 0.15, 0.1])


@given(STRETCHED, st.integers(1, MANY) | st.sampled_from([1, 2, MANY]))
def test_a_stretched_family_falls_from_1_to_0_in_all_its_stages(schedule: Schedule, count: int) -> None:
    alphas = schedule.stage_alphas(count)
    assert len(alphas) == count
    assert all(later < earlier for earlier, later in pairwise((1.0, *alphas, 0.0)))


@given(MULTIPLICATIVE, st.integers(1, MANY))
def test_multiplicative_falls_by_its_rate_and_not_below_its_least(schedule: Multiplicative, count: int) -> None:
    alphas = schedule.stage_alphas(count)
    assert 1 <= len(alphas) <= count
    assert all(later / earlier == pytest.approx(schedule.rate) for earlier, later in pairwise((1.0, *alphas)))
    assert alphas[-1] >= schedule.alpha_min
    assert len(alphas) == count or alphas[-1] * schedule.rate < schedule.alpha_min * (1 + 1e-12)


@given(piecewise(), st.integers(1, 200))
@example(Piecewise((Segment("multiplicative", 0.1, 0.001),)), 10)
def test_piecewise_falls_through_the_end_of_each_segment(schedule: Piecewise, count: int) -> None:
    alphas = schedule.stage_alphas(MANY)
    assert len(alphas) <= MANY
    assert all(0 < later < earlier * (1 - 1e-9) for earlier, later in pairwise((1.0, *alphas)))
    ends = [segment.ends_at for segment in schedule.segments]
    if len(alphas) < MANY:
        assert set(ends) <= set(alphas)
        assert alphas[-1] == ends[-1]
    assert schedule.stage_alphas(count) == alphas[:count]


@given(
    STRETCHED | MULTIPLICATIVE | piecewise(),
    st.floats(0, 1) | st.sampled_from([1e-300, 1e-16, 1 - 2**-53]),
    st.floats(0, 1),
)
def test_the_curve_starts_at_1_never_rises_and_ends_at_0(schedule: Schedule, u: float, v: float) -> None:
    assert schedule.alpha_at(0.0) == 1
    assert schedule.alpha_at(1.0) == 0
    sooner, later = schedule.alpha_at(min(u, v)), schedule.alpha_at(max(u, v))
    # Neighbouring floats may differ in the last digit either way.
    assert 0 <= later <= sooner * (1 + 1e-14) <= 1 + 1e-14


@given(st.floats(1, 8), st.floats(1, 50), st.floats(0, 1))
def test_the_curves_are_the_formulas_as_the_method_writes_them(k: float, d: float, u: float) -> None:
    exact_u, exact_k, exact_d = Decimal(u), Decimal(k), Decimal(d)
    exponential = ((-exact_k * exact_u).exp() - (-exact_k).exp()) / (1 - (-exact_k).exp())
    time_based = (1 / (1 + exact_d * exact_u) - 1 / (1 + exact_d)) / (1 - 1 / (1 + exact_d))
    assert Exponential(k).alpha_at(u) == pytest.approx(float(exponential), rel=1e-12, abs=1e-25)
    assert TimeBased(d).alpha_at(u) == pytest.approx(float(time_based), rel=1e-12, abs=1e-25)


@pytest.mark.parametrize("rate", [0.7, 0.72, 0.75, 0.9])
def test_the_stages_of_piecewise_lie_on_its_curve(rate: float) -> None:
    schedule = Piecewise((Segment("multiplicative", rate, 0.001),))
    alphas = schedule.stage_alphas(MANY)
    assert tuple(schedule.alpha_at(stage / (len(alphas) + 1)) for stage in range(1, len(alphas) + 1)) == alphas


def test_one_shot_is_0_from_the_start() -> None:
    assert (OneShot().alpha_at(0.0), OneShot().alpha_at(1e-9), OneShot().alpha_at(1.0)) == (1, 0, 0)
    assert OneShot().stage_alphas(MANY) == ()


@pytest.mark.parametrize(("family", "stages"), [("time_based", 109), ("exponential", 8)])
def test_unscaled_time_based_has_the_fatter_tail(family: str, stages: int) -> None:
    """The whole steps before alpha passes 0.018 at rate 0.5: at t = 109.1 and t = 8.03."""
    alphas = Piecewise((Segment(family, 0.5, 1e-3),)).stage_alphas(200)
    assert sum(alpha > 0.018 for alpha in alphas) == stages


@given(st.floats(0.01, 8))
def test_unscaled_an_exponential_is_multiplicative(k: float) -> None:
    exponential = Piecewise((Segment("exponential", k, 1e-3),))
    multiplicative = Piecewise((Segment("multiplicative", math.exp(-k), 1e-3),))
    assert exponential.stage_alphas(100) == pytest.approx(multiplicative.stage_alphas(100), rel=1e-11)


def test_scaled_an_exponential_is_not_multiplicative() -> None:
    alphas = Exponential(3).stage_alphas(10)
    ratios = [later / earlier for earlier, later in pairwise(alphas)]
    assert all(later < earlier for earlier, later in pairwise(ratios))
    assert ratios[-1] < 0.7 * ratios[0]


@pytest.mark.parametrize(
    ("family", "arguments"),
    [
        (Exponential, (0.99,)),
        (Exponential, (8.01,)),
        (Exponential, (math.nan,)),
        (Multiplicative, (0.49,)),
        (Multiplicative, (0.96,)),
        (Multiplicative, (0.7, 0.06)),
        (Multiplicative, (0.7, 0.0009)),
        (TimeBased, (0.9,)),
        (TimeBased, (51,)),
        (Polynomial, (0.9,)),
        (Polynomial, (4.1,)),
        (Segment, ("exponential", 0, 0.5)),
        (Segment, ("exponential", math.inf, 0.5)),
        (Segment, ("exponential", 1e-300, 0.5)),  # so slow that alpha would stay at 1
        (Segment, ("multiplicative", 1, 0.5)),
        (Segment, ("cosine", 1, 0.5)),
        (Segment, ("time_based", 1, 0)),
        (Segment, ("time_based", 1, 1)),
        (Piecewise, ((),)),
        (Piecewise, ((Segment("exponential", 1, 0.4), Segment("exponential", 1, 0.4)),)),
        (Piecewise, ((Segment("exponential", 1, 0.3), Segment("exponential", 1, 0.4)),)),
    ],
)
def test_rates_outside_their_range_are_refused(family: type, arguments: tuple[object, ...]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        family(*arguments)

"""Successive halving by hand, against a naive version, and its promises on random trials and whole searches."""

import heapq
import math
import random
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from examples import make_row
from hypothesis import given
from hypothesis import strategies as st

from analysis.rank.ranking import fronts
from records.epoch import EpochRow
from search.sampling.early_stopping import SuccessiveHalving
from search.settings import EarlyStoppingSettings

ACCURACY = ("pruned_val_accuracy",)
BOTH = ("pruned_val_accuracy", "macs")
ALL = ("pruned_val_accuracy", "macs", "parameters")
OBJECTIVES = st.sampled_from([ACCURACY, BOTH, ALL])
REDUCTIONS = st.sampled_from([1.1, 1.5, 2.0, 3.0, 4.0])
RUNG = 5  # of `halving`'s only one

Values = tuple[float, float, float]  # pruned_val_accuracy, mac_sparsity, parameter_sparsity


def halving(objectives: Sequence[str] = BOTH, reduction: float = 2) -> SuccessiveHalving:
    settings = EarlyStoppingSettings(enabled=True, first=0.5, reduction=reduction)
    return SuccessiveHalving(settings, objectives=objectives, epochs=10)


def row(accuracy: float, mac_sparsity: float = 0.5, parameter_sparsity: float = 0.5, epoch: int = RUNG) -> EpochRow:
    return make_row(
        epoch, pruned_val_accuracy=accuracy, mac_sparsity=mac_sparsity, parameter_sparsity=parameter_sparsity
    )


def going_on(points: Sequence[Values], objectives: Sequence[str], reduction: float) -> list[bool]:
    """Which of the trials at a rung would continue, now that it has seen them all."""
    stopping = halving(objectives, reduction)
    for number, values in enumerate(points):
        stopping.remember_rows(number, [row(*values)])
    return [stopping.should_continue(number, row(*values)) for number, values in enumerate(points)]


def rungs_of(size: int = 25, values: int = 6) -> st.SearchStrategy[list[Values]]:
    """Trials at a rung: whole numbers, so that there are ties and that scaling is exact."""
    value = st.integers(0, values).map(float)
    return st.lists(st.tuples(value, value, value), min_size=1, max_size=size)


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
    settings = EarlyStoppingSettings(enabled=True, first=first, reduction=reduction)
    assert list(SuccessiveHalving(settings, objectives=BOTH, epochs=epochs).rungs) == rungs


def test_all_objectives_are_minimised() -> None:
    stopping = halving(("parameters", "pruned_val_accuracy", "macs"))
    stopping.remember_rows(7, [row(0.9, 0.7, 0.8)])
    assert stopping.rungs == {RUNG: {7: (-0.8, -0.9, -0.7)}}


def test_a_training_cost_is_what_has_been_spent_up_to_the_rung() -> None:
    def rows(*costs: float | None) -> list[EpochRow]:
        return [make_row(epoch, training_cost=cost) for epoch, cost in enumerate(costs, start=1)]

    stopping = halving(("training_cost",))
    spent = rows(1, 1, 0.5, 0.25, 0.25, 0.25, 0.25)
    stopping.remember_rows(7, spent)
    assert stopping.rungs[RUNG] == {7: (3.0,)}
    # After a crash epochs 4 to 6 are reported again.
    for again in spent[3:6]:
        assert stopping.should_continue(7, again)
    assert stopping.rungs[RUNG] == {7: (3.0,)}
    stopping.remember_rows(8, rows(1, 0.5, 0.5, 0.5, 0.25))
    assert stopping.should_continue(8, rows(1, 0.5, 0.5, 0.5, 0.25)[-1])
    assert not stopping.should_continue(7, spent[4])
    stopping.remember_rows(9, rows(1, None, 0.5, 0.5, 0.25))  # of older records
    assert math.isnan(stopping.rungs[RUNG][9][0])


def test_the_best_half_of_those_seen_so_far_continues() -> None:
    stopping = halving(ACCURACY)
    values = [0.5, 0.4, 0.6, 0.55, 0.1, 0.6]
    assert [stopping.should_continue(number, row(value)) for number, value in enumerate(values)] == [
        True,  # the first
        False,  # second of 2
        True,  # first of 3
        True,  # second of 4
        False,  # last of 5
        True,  # as good as the best of 6
    ]


def test_fronts_come_first_and_within_a_front_the_epsilon_net() -> None:
    # Accuracy and sparsity, each with a range of 1 at the rung, in the order in which they are kept:
    order = [
        (1.0, 0.0),  # front 0: the best in accuracy
        (0.0, 1.0),  # its other end, at a distance of 1.41
        (0.6, 0.7),  # 0.67 from the nearer of those; the next two are 0.56 and 0.62
        (0.75, 0.5),  # 0.25 from the nearest of those; the next is 0.19
        (0.72, 0.55),
        (0.5, 0.5),  # front 1, though nearer to the middle than any
        (0.4, 0.4),  # front 2
    ]
    for reduction, goes_on in [(7, 1), (3.5, 2), (2.4, 3), (1.75, 4), (1.4, 5), (1.17, 6), (1.01, 7)]:
        expected = [place < goes_on for place in range(7)]
        points = [(*values, 0.0) for values in order]
        assert going_on(points, BOTH, reduction) == expected
        assert going_on(points[::-1], BOTH, reduction) == expected[::-1]


def test_distances_are_scaled_by_the_range_at_the_rung_not_on_the_front() -> None:
    # Without the last, which makes the accuracies' range twice that of the front, the fourth would be farther from
    # the ends (0.64 against 0.50) than the third; with it, it is nearer (0.47 against 0.50).
    points = [(1.0, 0.0, 0.0), (0.5, 1.0, 0.0), (0.98, 0.5, 0.0), (0.75, 0.6, 0.0), (0.0, 0.0, 0.0)]
    assert going_on(points, BOTH, 1.7) == [True, True, True, False, False]
    assert going_on(points[:4], BOTH, 1.4) == [True, True, False, True]


def test_between_rungs_and_when_disabled_all_continue() -> None:
    stopping = halving()
    assert all(stopping.should_continue(number, row(-number, epoch=4)) for number in range(20))
    off = SuccessiveHalving(EarlyStoppingSettings(enabled=False), objectives=BOTH, epochs=10)
    assert all(off.should_continue(number, row(-number, epoch=epoch)) for number in range(20) for epoch in range(1, 11))
    assert off.rungs == {}


def test_a_trial_that_reaches_a_rung_again_counts_once_with_its_latest_value() -> None:
    stopping = halving(ACCURACY)
    for _ in range(5):
        assert stopping.should_continue(0, row(0.3))
    assert not stopping.should_continue(1, row(0.2))
    assert not stopping.should_continue(0, row(0.1))
    assert stopping.should_continue(1, row(0.2))
    assert len(stopping.rungs[RUNG]) == 2


@pytest.mark.parametrize("broken", [(math.nan, 0.9), (0.9, math.nan), (math.nan, math.nan), (math.inf, 0.9)])
def test_values_that_are_not_finite_come_last(broken: tuple[float, float]) -> None:
    stopping = halving(BOTH, 1.5)
    assert stopping.should_continue(0, row(*broken))  # the first, whatever it is
    assert stopping.should_continue(1, row(0.1, 0.1))
    assert not stopping.should_continue(2, row(*broken))  # ceil(3 / 1.5) = 2 continue
    assert stopping.should_continue(3, row(0.0, 0.0))  # dominated, but the second of 4
    assert not stopping.should_continue(0, row(*broken))


@given(st.lists(st.integers(0, 30).map(float), min_size=1, max_size=60), REDUCTIONS)
def test_one_objective_is_plain_asha(values: list[float], reduction: float) -> None:
    stopping = halving(ACCURACY, reduction)
    for number, value in enumerate(values):
        seen = values[: number + 1]
        expected = sum(other > value for other in seen) < math.ceil(len(seen) / reduction)
        assert stopping.should_continue(number, row(value)) == expected


def naive_places(costs: np.ndarray) -> list[int]:
    """The place of each trial by the rule as it is stated, step by step."""
    front = fronts(costs)
    span = np.ptp(costs, axis=0)
    scaled = costs / np.where(span == 0, 1, span)
    order: list[int] = []
    for level in sorted(set(front)):
        # The best in the first objective that tells them apart comes first, wherever trials are equal otherwise.
        left = sorted(np.flatnonzero(front == level), key=lambda index: tuple(costs[index]))
        net = [left.pop(0)]
        while left:
            net.append(max(left, key=lambda index: min(((scaled[index] - scaled[net]) ** 2).sum(axis=1))))
            left.remove(net[-1])
        order += map(int, net)
    first: dict[tuple[float, ...], int] = {}
    for place, index in enumerate(order):
        first.setdefault(tuple(costs[index]), place)
    return [first[tuple(cost)] for cost in costs]


# Every range is 8: scaled exactly, so that equal distances are equal in the naive rule as well.
@given(rungs_of(), st.sampled_from([BOTH, ALL]), REDUCTIONS)
def test_several_objectives_are_mo_asha(points: list[Values], objectives: tuple[str, ...], reduction: float) -> None:
    points = [*points, (-2.0, -2.0, -2.0), (6.0, -1.0, -1.0), (-1.0, 6.0, -1.0), (-1.0, -1.0, 6.0)]
    places = naive_places(-np.array(points)[:, : len(objectives)])
    quota = math.ceil(len(points) / reduction)
    assert going_on(points, objectives, reduction) == [place < quota for place in places]


@given(rungs_of(), OBJECTIVES, REDUCTIONS)
def test_trials_on_a_front_that_fits_always_continue(
    points: list[Values], objectives: tuple[str, ...], reduction: float
) -> None:
    on_front = fronts(-np.array(points)[:, : len(objectives)]) == 0
    if on_front.sum() <= math.ceil(len(points) / reduction):
        goes_on = going_on(points, objectives, reduction)
        assert all(goes_on[number] for number in np.flatnonzero(on_front))


@given(rungs_of(), REDUCTIONS, st.floats(0, 1))
def test_gentler_cuts_never_displace_the_best_of_the_hardest(
    points: list[Values], reduction: float, accuracy: float
) -> None:
    hardest = (accuracy, 7.0, 0.0)  # sparser than any of `points`, whatever their accuracies
    if math.ceil((len(points) + 1) / reduction) >= 2:
        assert going_on([*points, hardest], BOTH, reduction)[-1]
        best = max(points)
        assert going_on([*points, hardest], BOTH, reduction)[points.index(best)]


@given(rungs_of(), OBJECTIVES, REDUCTIONS)
def test_it_never_stops_everything(points: list[Values], objectives: tuple[str, ...], reduction: float) -> None:
    # Of those that have arrived, the best ceil(n / reduction) would continue now; equal ones share a place, so maybe
    # more. (How many did continue depends on the order in which they arrived: all of them or, if each was worse than
    # the one before, few. But never none.)
    quota = math.ceil(len(points) / reduction)
    goes_on = going_on(points, objectives, reduction)
    assert sum(goes_on) >= quota
    if len({values[: len(objectives)] for values in points}) == len(points):
        assert sum(goes_on) == quota
    live = halving(objectives, reduction)
    assert live.should_continue(0, row(*points[0]))


@given(
    rungs_of(),
    OBJECTIVES,
    REDUCTIONS,
    st.tuples(*[st.tuples(st.sampled_from([0.25, 1.0, 3.0, 1000.0]), st.integers(-100, 100))] * 3),
)
def test_the_units_of_an_objective_do_not_matter(
    points: list[Values], objectives: tuple[str, ...], reduction: float, units: Sequence[tuple[float, int]]
) -> None:
    in_units: list[Any] = [tuple(v * scale + shift for v, (scale, shift) in zip(p, units, strict=True)) for p in points]
    assert going_on(in_units, objectives, reduction) == going_on(points, objectives, reduction)


@given(st.integers(1, 20), OBJECTIVES, st.integers(0, 2**32))
def test_decisions_are_the_same_when_rebuilt_from_the_records(
    trials: int, objectives: tuple[str, ...], seed: int
) -> None:
    draw = random.Random(seed)

    def any_row(epoch: int) -> EpochRow:
        return row(draw.randint(0, 6), draw.randint(0, 6), draw.randint(0, 6), epoch)

    def stopping() -> SuccessiveHalving:
        settings = EarlyStoppingSettings(enabled=True, first=0.25, reduction=1.5)
        return SuccessiveHalving(settings, objectives=objectives, epochs=10)

    live, rebuilt, renumbered = stopping(), stopping(), stopping()
    assert list(live.rungs) == [3, 4, 6, 9]
    rows = [[any_row(epoch) for epoch in range(1, draw.randint(2, 10))] for _ in range(trials)]
    for number, of_trial in enumerate(rows):
        for each in of_trial:
            live.should_continue(number, each)
    for place, number in enumerate(draw.sample(range(trials), trials)):
        rebuilt.remember_rows(number, rows[number])
        renumbered.remember_rows(1000 - place, iter(rows[number]))
    assert rebuilt.rungs == live.rungs
    for number in range(trials, trials + 5):
        new = any_row(draw.choice([3, 4, 6, 9]))
        decision = live.should_continue(number, new)
        assert rebuilt.should_continue(number, new) == decision
        assert renumbered.should_continue(number, new) == decision


@given(st.integers(2, 60), st.sampled_from([1.5, 2.0, 3.0, 4.0]), OBJECTIVES, st.integers(0, 2**32))
def test_the_best_trial_always_reaches_the_end(
    trials: int, reduction: float, objectives: tuple[str, ...], seed: int
) -> None:
    draw = random.Random(seed)
    settings = EarlyStoppingSettings(enabled=True, first=0.25, reduction=reduction)
    stopping = SuccessiveHalving(settings, objectives=objectives, epochs=16)
    quality = [(draw.random(), draw.random(), draw.random()) for _ in range(trials)]
    ended = [
        number
        for number, values in enumerate(quality)
        if all(stopping.should_continue(number, row(*values, epoch=epoch)) for epoch in range(1, 17))
    ]
    assert quality.index(max(quality)) in ended
    assert ended[0] == 0  # nobody waits: the first has no rival yet


# Fronts take longer to settle than a single order: until then a few more continue.
@pytest.mark.parametrize(("objectives", "trials", "within"), [(ACCURACY, 1500, 0.01), (BOTH, 500, 0.05)])
def test_the_cost_of_many_trials_follows_from_the_rungs(
    objectives: tuple[str, ...], trials: int, within: float
) -> None:
    draw = random.Random(1)
    settings = EarlyStoppingSettings(enabled=True, first=0.25, reduction=2)
    stopping = SuccessiveHalving(settings, objectives=objectives, epochs=16)
    spent = 0
    for number in range(trials):
        values = draw.random(), draw.random()
        for epoch in range(1, 17):
            spent += 1
            if not stopping.should_continue(number, row(*values, epoch=epoch)):
                break
    # All run 4 epochs, half of them 4 more, and a quarter another 8.
    assert spent / (trials * 16) == pytest.approx((4 + 4 / 2 + 8 / 4) / 16, abs=within)


EPOCHS = 24
REACHABLE = {0.58: 0.93, 0.66: 0.92, 0.78: 0.90, 0.9: 0.86}  # the accuracy that each amount could reach
Decide = Callable[[int, EpochRow], bool]


class Curve:
    """A made-up trial: its amount, the accuracy that it ends at, and how slowly it gets there.

    Built so that accuracy predicts as little as was measured: within an amount, Kendall's tau with the end is about
    0.4 after a third of the epochs and 0.7 after five sixths.
    """

    def __init__(self, seed: int, number: int) -> None:
        draw = random.Random(f"{seed}/{number}")
        self.amount = draw.choice(list(REACHABLE))
        self._mac_sparsity = self.amount + draw.choice([0, 0.001, 0.002, 0.005])  # widths are whole numbers
        self._final = REACHABLE[self.amount] - 0.06 * (draw.random() + draw.random())
        self._slow = draw.uniform(0, 0.2) + 0.2 * (self.amount - 0.5)
        self._noise = [draw.gauss(0, 0.005) for _ in range(EPOCHS - 1)] + [0]

    def row(self, epoch: int) -> EpochRow:
        accuracy = self._final - self._slow * (1 - epoch / EPOCHS) + self._noise[epoch - 1]
        return row(accuracy, self._mac_sparsity, epoch=epoch)


def finished(seed: int, goes_on: Decide, *, budget: int, workers: int = 8) -> tuple[list[Curve], list[Curve]]:
    """The trials that a search over `budget` epochs starts, and those that end; `workers` of varying speed at once."""
    draw = random.Random(seed)
    started, ended = [Curve(seed, number) for number in range(workers)], []
    events = [(draw.random(), number, 1) for number in range(workers)]
    heapq.heapify(events)
    for _ in range(budget):
        now, number, epoch = heapq.heappop(events)
        stays = goes_on(number, started[number].row(epoch))
        if epoch == EPOCHS:
            ended.append(started[number])
        if epoch == EPOCHS or not stays:
            number, epoch = len(started), 0
            started.append(Curve(seed, number))
        heapq.heappush(events, (now + draw.uniform(0.8, 1.2), number, epoch + 1))
    return started, ended


def deciding(objectives: Sequence[str], reduction: float = 1.5) -> Decide:
    settings = EarlyStoppingSettings(enabled=True, reduction=reduction)
    return SuccessiveHalving(settings, objectives=objectives, epochs=EPOCHS).should_continue


def tossing(seed: int, reduction: float = 1.5) -> Decide:
    """Stops as many as successive halving, but at random."""
    draw = random.Random(-seed - 1)
    settings = EarlyStoppingSettings(enabled=True, reduction=reduction)
    rungs = SuccessiveHalving(settings, objectives=BOTH, epochs=EPOCHS).rungs
    return lambda number, row: row.epoch not in rungs or draw.random() < 1 / reduction


def hypervolume(trials: Sequence[Curve], accuracy: float = 0.75, sparsity: float = 0.5) -> float:
    """What the ends of `trials` dominate of all that is better than `accuracy` and `sparsity`."""
    ends = [trial.row(EPOCHS) for trial in trials]
    volume = 0.0
    for end in sorted(ends, key=lambda end: -end.mac_sparsity):
        gain = max(0.0, end.pruned_val_accuracy - accuracy)
        volume += gain * (end.mac_sparsity - sparsity)
        accuracy += gain
    return volume


def test_trials_of_each_amount_survive_and_plain_asha_kills_the_hard_cuts() -> None:
    def survival(objectives: Sequence[str]) -> list[float]:
        started, ended = finished(0, deciding(objectives), budget=5000)
        begun, done = Counter(trial.amount for trial in started), Counter(trial.amount for trial in ended)
        return [done[amount] / begun[amount] for amount in REACHABLE]

    assert min(survival(BOTH)) > 0.25
    assert max(survival(BOTH)) < 0.5
    gentlest, *_, hardest = survival(ACCURACY)
    assert gentlest > 0.6
    assert hardest < 0.05


def test_the_front_is_better_than_chance_for_the_same_epochs() -> None:
    gains = []
    for seed in range(20):
        _, by_rule = finished(seed, deciding(BOTH), budget=1200)
        _, by_chance = finished(seed, tossing(seed), budget=1200)
        gains.append(hypervolume(by_rule) - hypervolume(by_chance))
    assert statistics.mean(gains) > 3 * statistics.stdev(gains) / math.sqrt(len(gains))
    assert sum(gain > 0 for gain in gains) >= 15

"""Early stopping: MO-ASHA (Schmucker et al. 2021), in the variant that stops trials and never pauses them.

Asynchronous successive halving for several objectives; with one objective it is plain ASHA (Li et al. 2020).
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from math import ceil, isfinite, nan

import moocore
import numpy as np

from analysis.objectives import OBJECTIVES, Objective
from records.epoch import EpochRow
from search.settings import EarlyStoppingSettings

Point = tuple[float, ...]  # one value per objective, all to be minimised


class SuccessiveHalving:
    """Decides at each rung whether a trial should continue, whoever runs the trials.

    At a rung, a trial continues if it is among the best ceil(n / reduction) of the n trials seen there so far,
    including itself. So the first to arrive always continues, and no trial waits for others. They are ordered

    1. by front: front 0 is what no trial at the rung dominates, front 1 what no trial dominates once front 0 is left
       out, and so on;
    2. within a front, by its epsilon-net: first the best in the first objective, then always the one farthest from
       all those before it (Euclidean, each objective scaled by its range at the rung); of equally distant ones, the
       better in the first objective that differs. With two objectives, the second is thus the other end of the front.

    Trials with equal values share the first place among them: none is stopped for arriving later than its equals. A
    trial with a non-finite value comes last. A decision depends only on the values at the rung, not on the order or
    the numbers of the trials.

    Attributes:
        rungs: epoch -> trial number -> the trial's values there, one per objective, all to be minimised. Of a training
            cost, what has been spent up to there.
    """

    def __init__(self, settings: EarlyStoppingSettings, *, objectives: Sequence[str], epochs: int) -> None:
        """Places rungs at first * epochs, first * epochs * reduction, first * epochs * reduction^2 ..., rounded up.

        Args:
            settings: enabled, first and reduction.
            objectives: of the search, as in SearchSettings.
            epochs: of a trial; every rung is below it.
        """
        self._reduction = settings.reduction
        self._objectives = [OBJECTIVES[objective] for objective in objectives]
        # Of what adds up: trial number and objective -> its value in each epoch so far.
        self._parts: dict[tuple[int, str], list[float]] = {}
        self.rungs: dict[int, dict[int, Point]] = {}
        epoch = settings.first * epochs
        while settings.enabled and ceil(epoch) < epochs:
            self.rungs[ceil(epoch)] = {}
            epoch = max(epoch * settings.reduction, epoch + 1)

    def should_continue(self, number: int, row: EpochRow) -> bool:
        """Whether trial `number`, whose newest row is `row`, should continue.

        A trial that reaches a rung again counts once, with its latest values.
        """
        self.remember_rows(number, [row])
        rung = self.rungs.get(row.epoch)
        return rung is None or _is_among_best(rung.values(), rung[number], ceil(len(rung) / self._reduction))

    def remember_rows(self, number: int, rows: Iterable[EpochRow]) -> None:
        """Notes the rungs that trial `number` reached according to `rows`, without deciding anything.

        Later decisions are the same as if the trials had been seen live, in any order.
        """
        adding_up = [objective for objective in self._objectives if objective.adds_up]
        for row in rows:
            for objective in adding_up:
                value = getattr(row, objective.epoch_column)
                # A trial that continues from a checkpoint reports the epochs after it again.
                parts = self._parts.setdefault((number, objective.name), [])
                parts[row.epoch - 1 :] = [nan if value is None else value]
            if row.epoch in self.rungs:
                self.rungs[row.epoch][number] = tuple(
                    self._reached_value(number, row, objective) for objective in self._objectives
                )

    def _reached_value(self, number: int, row: EpochRow, objective: Objective) -> float:
        """What the trial has reached by `row`, its newest, to be minimised; NaN where its rows do not say."""
        if objective.adds_up:
            return sum(self._parts[number, objective.name])
        return -float(getattr(row, objective.epoch_column))


def _is_among_best(points: Collection[Point], own: Point, quota: int) -> bool:
    """Whether fewer than `quota` of `points` come before `own`, which is one of them."""
    finite = [point for point in points if all(map(isfinite, point))]
    if not all(map(isfinite, own)):
        return len(points) <= quota  # it comes last
    if len(own) == 1:
        return sum(point < own for point in finite) < quota  # as below, but faster
    trials = Counter(finite)
    known = sorted(trials)
    ranks = moocore.pareto_rank(np.array(known))
    for rank in range(int(ranks.max()) + 1):
        front = [point for point, its in zip(known, ranks, strict=True) if its == rank]
        if own in front:
            return len(front) <= quota or own in islice(_order_by_epsilon_net(front, known), quota)
        quota -= sum(trials[point] for point in front)
        if quota <= 0:
            break
    return False


def _order_by_epsilon_net(front: Sequence[Point], points: Sequence[Point]) -> Iterator[Point]:
    """`front` in the order of its epsilon-net: its first point, then always the farthest from all before it.

    Distances are Euclidean, squared, each objective scaled by its range over `points`.
    """
    low, high = np.min(points, axis=0), np.max(points, axis=0)
    scaled = ((np.array(front) - low) / np.where(high > low, high - low, 1)).T  # objectives x points
    distances = np.full(len(front), np.inf)
    for _ in front:
        newest = int(distances.argmax())  # the first of equally distant ones, which is better in the first objective
        yield front[newest]
        distances = np.minimum(distances, ((scaled - scaled[:, newest, None]) ** 2).sum(axis=0))
        distances[newest] = -1  # taken

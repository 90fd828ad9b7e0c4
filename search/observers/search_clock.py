"""How long a running search still takes, from what it has done so far."""

import time
from collections.abc import Callable

from records.dense import DenseEpochRow
from records.epoch import EpochRow
from search.estimate import Pace, TimeEstimate, TrialsLeft, Workload, compute_epoch_cost, estimate_time
from search.snapshot import Snapshot


class SearchClock:
    """Is told about every epoch, and estimates the time that is left."""

    def __init__(
        self,
        workload: Workload,
        snapshot: Snapshot,
        *,
        planned: int,
        dense_epochs: int,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            workload: of the search.
            snapshot: of the records at its start.
            planned: total number of trials.
            dense_epochs: of the whole training of the dense network, 0 if it has been trained.
            now: the clock, in seconds.
        """
        self._workload, self._now = workload, now
        self._dense_epochs = self._dense_left = dense_epochs
        self._dense_seconds: list[float] = []
        self._done: dict[int, int] = {}  # epochs of the trials that have begun and not ended
        self._ended: set[int] = set()
        for trial in snapshot.trials:
            if trial.record.state == "running":
                self._done[trial.number] = len(trial.rows)
            else:
                self._ended.add(trial.number)
        self._unread = len(snapshot.numbers) - len(snapshot.trials)
        self._planned = planned
        self._began = 0.0  # when the first epoch of a trial did
        self._pace: Pace | None = None

    def dense_epoch_done(self, row: DenseEpochRow) -> None:
        """An epoch of the dense network is done."""
        self._dense_seconds.append(row.epoch_seconds)
        self._dense_left = self._dense_epochs - row.epoch

    def epoch_done(self, number: int, row: EpochRow) -> None:
        """An epoch of a trial is done."""
        cost = compute_epoch_cost(row.phase, row.mac_sparsity)
        if self._pace is None:
            # Before it, processes were started and modules imported, which may take longer than many an epoch.
            self._began = self._now() - (row.epoch_seconds or 0.0)
            self._pace = Pace(self._expect_pace(cost, row.epoch_seconds), self._workload.hardware.concurrency)
        self._done[number] = row.epoch
        self._pace.count_epoch(cost, self._now() - self._began)

    def _expect_pace(self, cost: float, seconds: float | None) -> float | None:
        """Seconds for a cost of 1: by the dense network or, if its time is unknown, by a trial's first epoch."""
        if self.epoch_seconds is not None:
            return self.epoch_seconds * self._workload.hardware.slowdown
        return None if seconds is None else seconds / cost

    def trial_ended(self, number: int) -> None:
        """A trial ended, whether or not it has run all its epochs."""
        self._done.pop(number, None)
        self._ended.add(number)

    @property
    def epoch_seconds(self) -> float | None:
        """Of an epoch of the dense network: as measured, or from an earlier experiment; None if nothing is known."""
        if not self._dense_seconds:
            return self._workload.epoch_seconds
        # The first quartile: the first epoch takes longer on a GPU, and where other programs run, the threads of the
        # dense network wait for each other, which those of a trial need not.
        return sorted(self._dense_seconds)[(len(self._dense_seconds) - 1) // 4]

    def estimate(self) -> TimeEstimate | None:
        """The time that was left when the last epoch was done; None if nothing is known yet."""
        seconds, pace = self.epoch_seconds, self._pace.seconds_per_cost if self._pace else None
        if seconds is None and pace is None:
            return None
        left, hardware = self._count_left(), self._workload.hardware
        return estimate_time(hardware, left, self._dense_left, seconds or 0.0, pace)

    def _count_left(self) -> TrialsLeft:
        workload = self._workload
        # The farthest first: of trials recorded as running, as many run as fit. The others were interrupted, or are
        # repeats and twins whose turn has not come.
        recorded = sorted(self._done.items(), key=lambda each: -each[1])
        costs = [workload.find_trial(number).count_cost(done) for number, done in recorded]
        running, interrupted = costs[: workload.hardware.concurrency], costs[workload.hardware.concurrency :]
        begun = self._ended.union(self._done)
        controls = [each.count_cost() for number, each in enumerate(workload.controls) if number not in begun]
        others = max(0, self._planned - len(begun) - len(controls) - self._unread)
        waiting = (*interrupted, *controls, *[workload.searched.count_cost()] * others)
        return TrialsLeft(tuple(running), waiting)

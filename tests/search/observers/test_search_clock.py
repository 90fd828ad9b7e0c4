"""The time left of a running search, on a clock that the test sets."""

from pathlib import Path

import pytest
from examples import make_row

from records.dense import DenseEpochRow
from records.trial import TrialFolder, TrialRecord
from search.estimate import ExpectedTrial, Hardware, Workload
from search.observers.search_clock import SearchClock
from search.snapshot import Snapshot, TrialSnapshot
from trainable.config import TrialConfig, as_json

# A control of four retrain epochs at half the cost, and trials with two alpha epochs before two such epochs.
CONTROL, SEARCHED = ExpectedTrial((0.5,) * 4, (1.0,) * 4), ExpectedTrial((1.0, 1.0, 0.5, 0.5), (1.0,) * 4)
ALONE = Workload((CONTROL,), SEARCHED, Hardware("GPU", 1, 1, 1))


class Clock:
    """A clock of which the test says what it shows."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def dense_row(epoch: int, seconds: float) -> DenseEpochRow:
    return DenseEpochRow(
        epoch=epoch, lr=0.1, train_loss=1, train_accuracy=0.5, val_loss=1, val_accuracy=0.5, epoch_seconds=seconds
    )


def create_clock(now: Clock, workload: Workload = ALONE, dense_epochs: int = 3, planned: int = 3) -> SearchClock:
    return SearchClock(workload, Snapshot((), frozenset()), planned=planned, dense_epochs=dense_epochs, now=now)


def test_the_first_epoch_of_the_dense_network_tells_the_time_of_all() -> None:
    clock = create_clock(Clock())
    assert clock.estimate() is None
    clock.dense_epoch_done(dense_row(1, 10))
    estimate = clock.estimate()
    assert estimate is not None
    assert (estimate.dense_seconds, estimate.trial_seconds) == (20, 10 * (2 + 3 + 3))
    assert estimate.device_seconds == 100
    for epoch in (2, 3):
        clock.dense_epoch_done(dense_row(epoch, 10))
    estimate = clock.estimate()
    assert estimate is not None
    assert (estimate.dense_seconds, estimate.trial_seconds) == (0, 80)


def test_epochs_that_something_else_slowed_down_count_little() -> None:
    clock = create_clock(Clock(), dense_epochs=8)
    for epoch, seconds in enumerate((40, 10, 11, 90, 10), start=1):
        clock.dense_epoch_done(dense_row(epoch, seconds))
    assert clock.epoch_seconds == 10


def test_it_counts_what_is_left_trial_by_trial() -> None:
    now = Clock()
    clock = create_clock(now, dense_epochs=1)
    clock.dense_epoch_done(dense_row(1, 10))
    left = []
    for epoch in range(1, 5):
        now.seconds += 5  # as expected
        clock.epoch_done(0, make_row(epoch, phase="retrain", mac_sparsity=2 / 3, epoch_seconds=5))
        estimate = clock.estimate()
        assert estimate is not None
        left.append(estimate.trial_seconds)
    assert left == pytest.approx([75, 70, 65, 60])
    clock.trial_ended(0)
    clock.epoch_done(1, make_row(1, phase="alpha", mac_sparsity=2 / 3))
    clock.trial_ended(1)  # stopped early: what it would have run is no longer left
    estimate = clock.estimate()
    assert estimate is not None
    assert estimate.trial_seconds < 31


def test_a_trial_that_is_slower_than_expected_makes_the_rest_take_longer() -> None:
    now = Clock()
    clock = create_clock(now, dense_epochs=0, planned=50)
    assert clock.estimate() is None  # from another device: nothing is known
    for epoch in range(1, 5):
        now.seconds += 20
        clock.epoch_done(0, make_row(epoch, phase="retrain", mac_sparsity=2 / 3, epoch_seconds=20))
    clock.trial_ended(0)
    estimate = clock.estimate()
    assert estimate is not None
    assert estimate.trial_seconds == pytest.approx(49 * 3 * 40)


@pytest.mark.parametrize("dense_epochs", [0, 1])
def test_the_start_of_the_first_trial_is_not_taken_for_its_epoch(dense_epochs: int) -> None:
    now = Clock()
    clock = create_clock(now, dense_epochs=dense_epochs, planned=50)
    if dense_epochs:
        clock.dense_epoch_done(dense_row(1, 10))
    now.seconds += 60
    clock.epoch_done(0, make_row(1, phase="retrain", mac_sparsity=2 / 3, epoch_seconds=5))
    estimate = clock.estimate()
    assert estimate is not None
    assert estimate.trial_seconds == pytest.approx(3 * 5 + 49 * 3 * 10)


def test_trials_that_wait_for_their_turn_do_not_run_at_once(tmp_path: Path) -> None:
    """As repeats and twins do: their records are written before the first of them starts."""
    folders = [TrialFolder(tmp_path / f"{number:05}") for number in range(8)]
    for number, folder in enumerate(folders):
        folder.create(TrialRecord(number, as_json(TrialConfig(epochs=4))))
    snapshot = Snapshot(tuple(map(TrialSnapshot.read, folders)), frozenset(range(8)))
    two_at_once = Workload((), SEARCHED, Hardware("CPU", 1, 1, 2), epoch_seconds=10)
    estimate = SearchClock(two_at_once, snapshot, planned=8, dense_epochs=0, now=Clock()).estimate()
    assert estimate is not None
    assert estimate.device_seconds == 8 * 30
    assert estimate.device_seconds / 2 <= estimate.seconds <= estimate.device_seconds / 2 + 30

"""What the user sees of a running search: plain lines, and a live display on a terminal."""

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from examples import make_cut, make_row
from rich.console import Console

from records.dense import DenseEpochRow
from records.experiment import ExperimentFolder
from records.trial import Parent, State, TrialRecord
from search.estimate import ExpectedTrial, Hardware, Workload
from search.observers.observer import SearchStart
from search.observers.progress import ProgressDisplay
from search.settings import resolve_settings
from search.snapshot import Snapshot, TrialSnapshot
from trainable.config import TrialConfig, as_json
from trainable.schedules.alpha import Exponential, OneShot

# Trials of nine epochs, one after another; an epoch of the dense network takes a minute.
WORKLOAD = Workload((), ExpectedTrial((1.0,) * 9, (1.0,) * 9), Hardware("CPU", 1, 1, 1), epoch_seconds=60.0)
SETTINGS = resolve_settings({"trial": {"epochs": 9}})


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    return ExperimentFolder(tmp_path / "search")


@pytest.fixture
def progress() -> ProgressDisplay:
    return ProgressDisplay(SETTINGS, Console(file=io.StringIO()))


def start(progress: ProgressDisplay, snapshot: Snapshot, *, planned: int = 9, dense_epochs: int = 0) -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    workload = None if dense_epochs else WORKLOAD
    progress.search_started(SearchStart(study, snapshot, planned, dense_epochs, ExperimentFolder(Path()), workload))


def add(
    folder: ExperimentFolder, number: int, epochs: int, state: State = "complete", *, accuracy: float = 0.5, **its: Any
) -> TrialSnapshot:
    """A trial with `epochs` epochs, as it is recorded."""
    config = its.pop("config", TrialConfig(epochs=9, alpha=Exponential(rate=2.5)))
    trial = folder.trial_folder(number)
    trial.create(TrialRecord(number, as_json(config), state=state, cut=make_cut(), **its))
    for epoch in range(1, epochs + 1):
        trial.append_row(make_row(epoch, pruned_val_accuracy=accuracy, mac_sparsity=0.746))
    return TrialSnapshot.read(trial)


def test_a_change_of_room_is_reported_once(progress: ProgressDisplay, logged: Callable[[], list[str]]) -> None:
    def told(trials: int, waiting: int) -> list[str]:
        progress.room_changed(trials, waiting)
        return logged()

    assert told(2, 0) == []
    assert told(2, 0) == []
    lost = "the cluster now has room for 1 trial (was 2); 1 interrupted trial is waiting for resources"
    assert told(1, 1) == [lost]
    assert told(1, 1) == []
    none = "the cluster now has room for 0 trials (was 1); 2 interrupted trials are waiting for resources"
    assert told(0, 2) == [none]
    assert told(2, 0) == ["the cluster now has room for 2 trials (was 0)"]
    assert told(2, 0) == []


def test_each_end_is_reported_with_the_progress(
    progress: ProgressDisplay, folder: ExperimentFolder, logged: Callable[[], list[str]]
) -> None:
    start(progress, Snapshot((), frozenset()), planned=4)
    for epoch in range(1, 10):
        progress.epoch_done(0, make_row(epoch))
    one_shot = TrialConfig(epochs=9, alpha=OneShot())
    progress.trial_ended(0, add(folder, 0, 9, accuracy=0.81, control="one_shot", config=one_shot), None)
    for epoch in range(1, 5):
        progress.epoch_done(1, make_row(epoch))
    progress.trial_ended(1, add(folder, 1, 4, "stopped", accuracy=0.9), None)
    progress.epoch_done(2, make_row(1))
    progress.trial_ended(2, add(folder, 2, 1, "failed", error="epoch 2: the training loss is nan"), None)
    for epoch in range(1, 10):
        progress.epoch_done(3, make_row(epoch))
    progress.trial_ended(3, add(folder, 3, 9, accuracy=0.8765), None)
    control, stopped, failed, complete = logged()
    assert control.startswith(
        "trial 0 complete: one-shot (control), cosine, accuracy 0.8100 at 75% fewer MACs "
        "(1 of 4 trials, 9 of 36 epochs, best 0.8100 (trial 0), about "
    )
    # The epochs that a trial no longer runs count as done, too.
    assert stopped.startswith(
        "trial 1 stopped: exponential 2.5, cosine, accuracy 0.9000 at 75% fewer MACs after epoch 4 "
        "(2 of 4 trials, 18 of 36 epochs, best 0.8100 (trial 0), about "
    )
    assert failed.startswith(
        "trial 2 failed: exponential 2.5, cosine: epoch 2: the training loss is nan (3 of 4 trials, 27 of 36 epochs"
    )
    assert complete == (
        "trial 3 complete: exponential 2.5, cosine, accuracy 0.8765 at 75% fewer MACs "
        "(4 of 4 trials, 36 of 36 epochs, best 0.8765 (trial 3))"
    )


def test_a_resumed_search_counts_from_its_records(
    progress: ProgressDisplay, folder: ExperimentFolder, logged: Callable[[], list[str]]
) -> None:
    add(folder, 0, 9, accuracy=0.7)
    add(folder, 1, 3, "running")
    begun = TrialConfig(epochs=12, begun=(0.7, 0.5, 0.3, 0.1))
    add(folder, 2, 0, "running", parent=Parent(number=0, epoch=4), config=begun)  # it has 8 epochs of its own
    folder.trial_folder(3).create(TrialRecord(3, {"epochs": "many"}))  # damaged, but still one of the planned trials
    start(progress, Snapshot.read(folder), planned=5)
    trial = add(folder, 4, 9, accuracy=0.6)
    for epoch in range(1, 10):
        progress.epoch_done(4, make_row(epoch))
    progress.trial_ended(4, trial, None)
    (line,) = logged()
    assert "(2 of 5 trials, 21 of 44 epochs, best 0.7000 (trial 0), about " in line


def test_epochs_that_are_computed_again_count_once(
    progress: ProgressDisplay, folder: ExperimentFolder, logged: Callable[[], list[str]]
) -> None:
    """A trial that had five epochs continues from its checkpoint at 3, loses its process at 7 and continues from 4."""
    start(progress, Snapshot((add(folder, 0, 5, "running"),), frozenset({0})), planned=2)
    for epoch in (*range(4, 8), *range(5, 10)):
        progress.epoch_done(0, make_row(epoch))
    progress.trial_ended(0, add(folder, 1, 9), None)
    assert "(1 of 2 trials, 9 of 18 epochs" in logged()[-1]


def test_a_trial_that_was_given_a_gpu_and_trains_on_the_cpu_is_reported_once(
    progress: ProgressDisplay, folder: ExperimentFolder, logged: Callable[[], list[str]]
) -> None:
    trials = [add(folder, number, 0, "running", device="cpu", host="n1:7", attempt=1) for number in range(2)]
    study = optuna.create_study(directions=["maximize", "minimize"])
    workload = replace(WORKLOAD, hardware=Hardware("GPU", 1, 0.25, 4))
    progress.search_started(SearchStart(study, Snapshot((), frozenset()), 2, 0, folder, workload))
    for trial in trials:
        for epoch in (1, 2):
            progress.epoch_done(trial.number, make_row(epoch))
    warnings = [line for line in logged() if "was given a GPU" in line]
    assert warnings == ["trial 0 was given a GPU, but trains on the CPU: torch finds no GPU that it can use on n1:7"]


def test_a_trial_with_a_damaged_record_is_not_reported(
    progress: ProgressDisplay, logged: Callable[[], list[str]]
) -> None:
    """The reader has reported it already."""
    start(progress, Snapshot((), frozenset()))
    progress.trial_ended(3, None, None)
    assert logged() == []


def test_the_dense_network_is_reported_five_times(progress: ProgressDisplay, logged: Callable[[], list[str]]) -> None:
    start(progress, Snapshot((), frozenset()), dense_epochs=12)
    for epoch in range(1, 13):
        progress.dense_epoch_done(dense_row(epoch))
    told = logged()
    assert told[0] == "dense network: epoch 2 of 12, validation accuracy 0.0200"
    assert [int(line.split()[3]) for line in told] == [2, 4, 6, 8, 10, 12]


def dense_row(epoch: int) -> DenseEpochRow:
    return DenseEpochRow(
        epoch=epoch,
        lr=0.1,
        train_loss=0.5,
        train_accuracy=0.5,
        val_loss=0.5,
        val_accuracy=epoch / 100,
        epoch_seconds=1.0,
    )


def test_on_a_terminal_the_display_is_redrawn_and_log_lines_stay(
    folder: ExperimentFolder, logged: Callable[[], list[str]]
) -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=120)
    progress = ProgressDisplay(SETTINGS, console)
    start(progress, Snapshot((), frozenset()), planned=2, dense_epochs=3)
    try:
        progress.dense_epoch_done(dense_row(1))
        for epoch in range(1, 10):
            progress.epoch_done(0, make_row(epoch))
        progress.trial_ended(0, add(folder, 0, 9, accuracy=0.81), None)
        assert progress._bar is not None
        progress._bar.refresh()
        shown = output.getvalue()
    finally:
        progress.search_ended()
    assert "1 of 2 trials, 9 of 18 epochs" in shown
    # The display has the counts, so the line only tells the end, and the dense network's epochs get no lines.
    assert logged() == ["trial 0 complete: exponential 2.5, cosine, accuracy 0.8100 at 75% fewer MACs"]
    assert not progress._bar.live.is_started
    progress.search_ended()  # even if it has ended already


def test_the_display_may_end_before_it_has_started(progress: ProgressDisplay) -> None:
    """What comes before it may fail."""
    progress.search_ended()


@pytest.fixture
def screen() -> Iterator[Callable[..., list[str]]]:
    """Shows a search of two trials after a few epochs on a terminal of `width` columns; the lines of its last state."""
    started = []

    def show(width: int, folder: ExperimentFolder, *, dense: bool = False, planned: int = 212) -> list[str]:
        output = io.StringIO()
        progress = ProgressDisplay(SETTINGS, Console(file=output, force_terminal=True, width=width))
        started.append(progress)
        study = optuna.create_study(directions=["maximize", "minimize"])
        done = add(folder, 0, 9, accuracy=0.81)
        start = SearchStart(study, Snapshot.read(folder), planned, 70 if dense else 0, folder, WORKLOAD)
        progress.search_started(start)
        assert progress._bar is not None
        if dense:
            progress.dense_epoch_done(dense_row(12))
        else:
            assert done.record.state == "complete"
            for number in (1, 2):
                add(folder, number, 0, "running")
                for epoch in range(1, 5):
                    row = make_row(epoch, alpha=0.25, pruned_val_accuracy=0.5, epoch_seconds=7.5)
                    progress.epoch_done(number, row)
        progress._bar.refresh()
        last = re.split(r"\x1b\[2K", output.getvalue())[-1]
        return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", last).split("\n")]

    yield show
    for progress in started:
        progress.search_ended()


def test_at_80_columns_bar_counts_best_and_time_left_fit(
    folder: ExperimentFolder, screen: Callable[..., list[str]]
) -> None:
    *above, line = screen(80, folder)
    assert above == []
    assert re.fullmatch(
        r"1 of 212 trials, 17 of 1908 epochs [╸╺━]{6,} best 0\.8100 \(trial 0\) [\d.]+ (s|min|h) left", line.strip("\r")
    )
    assert len(line.strip("\r")) <= 80


def test_the_dense_phase_has_a_time_left_too(folder: ExperimentFolder, screen: Callable[..., list[str]]) -> None:
    *_, line = screen(80, folder, dense=True)
    assert re.search(r"^dense network [╸╺━]+ epoch 12 of 70, accuracy 0\.1200 58 s left, [\d.]+ min in all$", line)
    assert len(line) <= 80


def test_without_room_for_both_the_trials_are_counted(
    folder: ExperimentFolder, screen: Callable[..., list[str]]
) -> None:
    *_, line = screen(72, folder, planned=123_456)
    assert re.search(r"^1 of 123456 trials [╸╺━]{6,} best 0\.8100 \(trial 0\) [\d.]+ days left$", line)


def test_a_wide_terminal_shows_the_running_trials(folder: ExperimentFolder, screen: Callable[..., list[str]]) -> None:
    lines = screen(120, folder)
    assert lines[0].split() == [
        *["running", "epoch", "phase", "alpha"],
        *["accuracy", "if", "cut,", "%"],
        *["epochs", "a", "minute"],
    ]
    assert [line.split() for line in lines[2:4]] == [
        [str(number), "exponential", "2.5", "4", "of", "9", "retrain", "0.25", "50.00", "8"] for number in (1, 2)
    ]
    assert lines[-1].startswith("1 of 212 trials")

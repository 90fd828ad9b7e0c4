"""A recorded trial continues from wherever it was left, with the rows of one that nothing happened to."""

import errno
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from examples import make_row
from networks import same_weights
from torch import nn

from records.epoch import EpochRow
from records.files import is_full_disk
from records.trial import FencedError, TrialFolder, TrialRecord
from trainable import recorded_trial
from trainable.checkpoints import CheckpointWriter
from trainable.config import OptimizerConfig, PruningConfig, TrialConfig, as_json
from trainable.data.dataset import Data
from trainable.dense import DenseNetwork
from trainable.errors import DivergedError, TrialError
from trainable.network.weights import load_network
from trainable.recorded_trial import RecordedTrial, kept_epochs, stop_trial
from trainable.schedules.lr_policies import Plateau
from trainable.trial import Trial

ROOT = Path(__file__).parents[2]
Timeless = Callable[[Sequence[EpochRow]], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def few(make_data: Callable[..., Data]) -> Data:
    """Few images: what is tested is what happens around the epochs."""
    return make_data(16, 8)


@pytest.fixture(scope="module")
def config(small: Callable[..., TrialConfig]) -> TrialConfig:
    """Two epochs of alpha, three of retraining by a policy that has a state."""
    return small(lr=Plateau(peak=0.1, patience=0, warmup_epochs=1), optimizer=OptimizerConfig(batch_size=8))


@pytest.fixture(scope="module")
def undisturbed(config: TrialConfig, few: Data, dense: DenseNetwork) -> Trial:
    trial = Trial(config, few, dense)
    while not trial.is_finished:
        trial.run_epoch()
    return trial


@pytest.fixture
def create(tmp_path: Path, config: TrialConfig) -> Callable[..., TrialFolder]:
    """Asks for a trial, as a study does."""

    def new(config: TrialConfig = config) -> TrialFolder:
        folder = TrialFolder(tmp_path / "trials" / "00003")
        folder.create(TrialRecord(3, as_json(config), params={"rate": 0.5}))
        return folder

    return new


@pytest.fixture
def folder(create: Callable[..., TrialFolder]) -> TrialFolder:
    return create()


@pytest.fixture(scope="module")
def start(few: Data, dense: DenseNetwork) -> Callable[..., RecordedTrial]:
    """Starts the trial, and runs `epochs` epochs of it."""

    def started(folder: TrialFolder, epochs: int = 0, **settings: Any) -> RecordedTrial:
        trial = RecordedTrial(folder, few, dense, **settings)
        for _ in range(epochs):
            trial.run_epoch()
        return trial

    return started


@pytest.fixture(scope="module")
def left_behind(
    config: TrialConfig, start: Callable[..., RecordedTrial], tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """What a first start has written after 0, 1, 2, 3 and 4 epochs."""
    place = tmp_path_factory.mktemp("after")
    folder = TrialFolder(place / "00003")
    folder.create(TrialRecord(3, as_json(config)))
    trial, copies = start(folder), []
    for epoch in range(5):
        copies.append(Path(shutil.copytree(folder.path, place / str(epoch) / "00003")))
        trial.run_epoch()
    return copies


@pytest.fixture
def after(left_behind: list[Path], tmp_path: Path) -> Callable[[int], TrialFolder]:
    """The folder of a trial whose process died after that many epochs."""
    return lambda epochs: TrialFolder(Path(shutil.copytree(left_behind[epochs], tmp_path / "after" / "00003")))


@pytest.fixture
def ends_the_same(
    start: Callable[..., RecordedTrial], undisturbed: Trial, timeless: Timeless
) -> Callable[[TrialFolder], None]:
    """Starts the trial again, runs it to its end, and compares all that it leaves."""

    def check(folder: TrialFolder) -> None:
        trial = start(folder)
        while not trial.is_finished:
            trial.run_epoch()
        assert timeless(folder.read_rows()) == timeless(undisturbed.rows)
        assert folder.read_rows() == trial.trial.rows
        record = folder.read_record()
        assert (record.state, record.error, record.cut) == ("complete", None, undisturbed.cut)
        assert same_weights(load_network(folder.model_path), undisturbed.network)
        assert folder.list_checkpoints() == []

    return check


@pytest.mark.parametrize("epochs", range(1, 5))
def test_a_checkpoint_is_written_when_the_newest_one_is_old(
    epochs: int,
    folder: TrialFolder,
    start: Callable[..., RecordedTrial],
    ends_the_same: Callable[[TrialFolder], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An epoch takes ten seconds here, and what follows the checkpoint is computed again."""
    seconds = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: seconds)
    trial = start(folder, checkpoint_seconds=20)
    for _ in range(epochs):
        seconds += 10
        trial.run_epoch()
    monkeypatch.undo()
    assert sorted(names(folder)) == [f"checkpoint-{each:05}.pt" for each in (2, 4) if each <= epochs]
    assert len(folder.read_rows()) == epochs
    ends_the_same(folder)


def test_without_a_checkpoint_a_trial_starts_again(
    folder: TrialFolder, start: Callable[..., RecordedTrial], ends_the_same: Callable[[TrialFolder], None]
) -> None:
    start(folder, 4, checkpoint_seconds=1e9)
    assert names(folder) == []
    ends_the_same(folder)


def names(folder: TrialFolder) -> list[str]:
    return [path.name for path in folder.list_checkpoints()]


def test_a_first_start_keeps_rows_record_and_the_newest_two_checkpoints(
    folder: TrialFolder, start: Callable[..., RecordedTrial], undisturbed: Trial
) -> None:
    trial = start(folder)
    record = folder.read_record()
    assert (record.state, record.attempt, record.device, record.cut) == ("running", 1, "cpu", None)
    assert record.host is not None
    assert record.host.endswith(f":{os.getpid()}")
    assert record.started is not None
    assert record.finished is None
    assert record.params == {"rate": 0.5}
    for epoch, checkpoints in enumerate([[1], [2, 1], [3, 2], [4, 3], []], start=1):
        row = trial.run_epoch()
        assert folder.read_rows()[-1] == row
        assert len(folder.read_rows()) == epoch
        assert names(folder) == [f"checkpoint-{each:05}.pt" for each in checkpoints]
        record = folder.read_record()
        assert record.cut == (undisturbed.cut if epoch > 2 else None)
        assert record.state == ("complete" if epoch == 5 else "running")
    assert trial.is_finished
    assert record.finished is not None
    assert record.finished >= record.started


def test_the_finished_trials_model_gives_the_same_outputs(
    folder: TrialFolder, start: Callable[..., RecordedTrial], few: Data
) -> None:
    trial = start(folder, 5).trial
    images, _ = next(trial.validation_images.plain_batches())
    with torch.no_grad():
        expected, got = trial.network.eval()(images), load_network(folder.model_path)(images)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    arch = json.loads((folder.model_path / "arch.json").read_text())
    assert (arch["mean"], arch["std"]) == (list(few.mean), list(few.std))


@pytest.mark.parametrize("epochs", [0, 1, 2, 3, 4])
def test_it_continues_from_its_newest_checkpoint(
    epochs: int, after: Callable[[int], TrialFolder], ends_the_same: Callable[[TrialFolder], None]
) -> None:
    folder = after(epochs)
    first, rows = folder.read_record(), folder.read_rows()
    assert len(rows) == epochs
    ends_the_same(folder)
    assert folder.read_rows()[:epochs] == rows  # these were not run again: even their times are the same
    record = folder.read_record()
    assert record.attempt == 2
    assert (record.created, record.started) == (first.created, first.started)


def test_every_start_is_an_attempt(
    folder: TrialFolder, start: Callable[..., RecordedTrial], ends_the_same: Callable[[TrialFolder], None]
) -> None:
    for attempt in (1, 2, 3):
        start(folder, 1)
        assert folder.read_record().attempt == attempt
        assert len(folder.read_rows()) == attempt
    ends_the_same(folder)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "few bytes": lambda content: content[:20],
    "half": lambda content: content[: len(content) // 2],
    "last byte": lambda content: content[:-1],
    "garbage": lambda content: b"garbage" * 1000,
    "a bit turned": lambda content: content[:-99] + bytes([content[-99] ^ 1]) + content[-98:],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    damage: Callable[[bytes], bytes],
    after: Callable[[int], TrialFolder],
    start: Callable[..., RecordedTrial],
    timeless: Timeless,
    undisturbed: Trial,
) -> None:
    folder = after(3)
    newest = folder.list_checkpoints()[0]
    newest.write_bytes(damage(newest.read_bytes()))
    trial = start(folder)
    assert trial.trial.epoch == len(folder.read_rows()) == 2
    assert newest.name in folder.read_record().problems[0]
    trial.run_epoch()
    assert timeless(folder.read_rows()) == timeless(undisturbed.rows[:3])


def test_without_an_intact_checkpoint_it_starts_over_and_loses_no_more_than_that(
    after: Callable[[int], TrialFolder],
    start: Callable[..., RecordedTrial],
    ends_the_same: Callable[[TrialFolder], None],
) -> None:
    folder = after(4)
    for checkpoint in folder.list_checkpoints():
        checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    trial = start(folder)
    assert (trial.trial.epoch, folder.read_rows()) == (0, [])
    trial.run_epoch()
    trial.run_epoch()
    # The damaged ones, newer by their names, do not push out the new ones.
    assert start(folder).trial.epoch == 2
    ends_the_same(folder)


def test_what_a_crash_wrote_after_the_checkpoint_is_cut_back(
    after: Callable[[int], TrialFolder],
    start: Callable[..., RecordedTrial],
    ends_the_same: Callable[[TrialFolder], None],
) -> None:
    """The row of epoch 3 was written, its checkpoint was not; of another row there is half a line."""
    folder = after(3)
    folder.list_checkpoints()[0].unlink()
    with folder.rows_path.open("ab") as file:
        file.write(b'{"epoch": 4, "pha')
    aside = folder.path / ".checkpoint-00003.pt.0badcafe"
    aside.write_bytes(b"what a killed writer left")
    assert start(folder).trial.epoch == 2
    assert [row.epoch for row in folder.read_rows()] == [1, 2]
    assert folder.rows_path.read_bytes().endswith(b"}\n")
    assert not aside.exists()
    ends_the_same(folder)


@pytest.mark.parametrize("epoch", [3, 5])
@pytest.mark.parametrize("written", [0, 1, 2])
def test_a_death_at_any_write_of_an_epoch_loses_that_epoch_at_most(
    epoch: int,
    written: int,
    after: Callable[[int], TrialFolder],
    start: Callable[..., RecordedTrial],
    ends_the_same: Callable[[TrialFolder], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Epoch 3 makes the cut and writes record, row and checkpoint; 5, the last, row, weights, arch and record."""
    folder = after(epoch - 1)
    trial = start(folder)
    flush, left = os.fsync, written

    def die(descriptor: int) -> None:
        nonlocal left
        # Replacing a file flushes its folder, too; that is not a write of its own.
        if not Path(f"/proc/self/fd/{descriptor}").is_dir():
            if not left:
                raise KeyboardInterrupt
            left -= 1
        flush(descriptor)

    monkeypatch.setattr("os.fsync", die)
    with pytest.raises(KeyboardInterrupt):
        trial.run_epoch()
    monkeypatch.undo()
    assert folder.read_record().state == "running"
    ends_the_same(folder)
    assert folder.read_record().attempt == 3


def test_a_trial_that_has_ended_is_not_continued(
    after: Callable[[int], TrialFolder], start: Callable[..., RecordedTrial]
) -> None:
    folder = after(4)
    start(folder, 1)
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    with pytest.raises(FencedError, match="complete"):
        start(folder)
    assert {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()} == before


def test_a_worker_that_outlived_its_driver_writes_nothing(
    after: Callable[[int], TrialFolder],
    start: Callable[..., RecordedTrial],
    ends_the_same: Callable[[TrialFolder], None],
) -> None:
    folder = after(2)
    old = start(folder)
    new = start(folder, 1)
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    with pytest.raises(FencedError, match="attempt 3"):
        old.run_epoch()
    assert {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()} == before
    new.run_epoch()
    ends_the_same(folder)


def test_what_cannot_be_cut_is_recorded_as_failed(
    create: Callable[..., TrialFolder], start: Callable[..., RecordedTrial], small: Callable[..., TrialConfig]
) -> None:
    folder = create(small(pruning=PruningConfig(amount=0.99)))
    with pytest.raises(ValueError, match=r"pruning\.amount must be at most"):
        start(folder)
    record = folder.read_record()
    assert record.state == "failed"
    assert record.error is not None
    assert "pruning.amount must be at most" in record.error
    assert record.finished is not None


def test_an_invalid_config_is_recorded_as_failed(
    create: Callable[..., TrialFolder], start: Callable[..., RecordedTrial], tmp_path: Path
) -> None:
    folder = TrialFolder(tmp_path / "trials" / "00001")
    folder.create(TrialRecord(1, {"epochs": "many"}))
    with pytest.raises(ValueError, match="epochs"):
        start(folder)
    assert folder.read_record().state == "failed"


def test_a_loss_that_is_not_finite_is_recorded_as_failed(
    folder: TrialFolder, start: Callable[..., RecordedTrial]
) -> None:
    trial = start(folder, 1)
    nn.init.constant_(trial.trial._inner_network.classifier.weight, float("nan"))
    with pytest.raises(DivergedError):
        trial.run_epoch()
    record = folder.read_record()
    assert (record.state, record.error) == ("failed", "epoch 2: the training loss is nan at learning rate 0.01")
    assert len(folder.read_rows()) == 1


def test_any_other_error_is_noted_and_the_trial_may_be_tried_again(
    after: Callable[[int], TrialFolder],
    start: Callable[..., RecordedTrial],
    ends_the_same: Callable[[TrialFolder], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = after(4)
    trial = start(folder)

    def fail(trial: Trial) -> None:
        raise OSError("the disk is on fire")

    monkeypatch.setattr(Trial, "run_epoch", fail)
    with pytest.raises(OSError, match="on fire"):
        trial.run_epoch()
    monkeypatch.undo()
    record = folder.read_record()
    assert (record.state, record.error) == ("running", "OSError: the disk is on fire")
    ends_the_same(folder)


@pytest.mark.parametrize("kind", [KeyError, ValueError])
def test_an_error_at_the_start_is_noted_too(
    kind: type[Exception],
    after: Callable[[int], TrialFolder],
    start: Callable[..., RecordedTrial],
    ends_the_same: Callable[[TrialFolder], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only what lies in its settings makes a trial fail."""
    folder = after(4)

    def fail(*arguments: object, **keywords: object) -> None:
        raise kind("a defect")

    monkeypatch.setattr(TrialFolder, "replace_rows", fail)
    with pytest.raises(kind, match="a defect"):
        start(folder)
    monkeypatch.undo()
    record = folder.read_record()
    assert record.state == "running"
    assert (record.error or "").startswith(f"{kind.__name__}: ")
    ends_the_same(folder)


@pytest.mark.parametrize("times", [1, 2])
def test_a_start_out_of_memory_is_tried_once_more(
    times: int,
    after: Callable[[int], TrialFolder],
    start: Callable[..., RecordedTrial],
    ends_the_same: Callable[[TrialFolder], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Scoring channels by their gradients takes as much memory as an epoch."""
    folder = after(2)
    load, left = Trial.load_state_dict, times

    def short(trial: Trial, state: dict[str, Any]) -> None:
        nonlocal left
        if left:
            left -= 1
            raise torch.OutOfMemoryError("no more")
        load(trial, state)

    monkeypatch.setattr(Trial, "load_state_dict", short)
    if times == 1:
        start(folder)
        ends_the_same(folder)
    else:
        with pytest.raises(TrialError, match=r"at its start: out of GPU memory: no more.*gpus-per-trial.*batch_size"):
            start(folder)
        assert folder.read_record().state == "failed"


@pytest.mark.parametrize("times", [1, 2])
def test_an_epoch_out_of_memory_is_tried_once_more(
    times: int,
    after: Callable[[int], TrialFolder],
    start: Callable[..., RecordedTrial],
    ends_the_same: Callable[[TrialFolder], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = after(2)
    trial = start(folder)
    run_epoch, left = Trial.run_epoch, times

    def short(trial: Trial) -> EpochRow:
        nonlocal left
        if left:
            left -= 1
            raise torch.OutOfMemoryError("no more")
        return run_epoch(trial)

    monkeypatch.setattr(Trial, "run_epoch", short)
    if times == 1:
        assert trial.run_epoch().epoch == 3
        ends_the_same(folder)
    else:
        with pytest.raises(TrialError, match=r"epoch 3: out of GPU memory: no more.*batch_size"):
            trial.run_epoch()
        assert folder.read_record().state == "failed"


def test_checkpoints_that_are_asked_for_outlive_the_trial(
    folder: TrialFolder, start: Callable[..., RecordedTrial]
) -> None:
    """Alpha is 0.33 and 0.09 before it is 0."""
    start(folder, 5, keep_at_alpha=(0.5, 0.1))
    assert names(folder) == ["checkpoint-00002.pt", "checkpoint-00001.pt"]


def test_a_stopped_trial_keeps_what_was_asked_for_and_nothing_else(
    folder: TrialFolder, start: Callable[..., RecordedTrial]
) -> None:
    start(folder, 4, keep_at_alpha=(0.5,))
    stop_trial(folder, (0.5,))
    assert folder.read_record().state == "stopped"
    assert names(folder) == ["checkpoint-00001.pt"]


def test_the_epochs_kept_are_the_first_at_or_below_each_alpha() -> None:
    rows = [make_row(n, alpha=alpha) for n, alpha in enumerate([0.7, 0.5, 0.2, 0.0, 0.0], start=1)]
    assert kept_epochs(rows, (0.5, 0.3, 0)) == {2, 3, 4}
    assert kept_epochs(rows[:2], (0.3,)) == set()


@pytest.fixture
def may_write(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Checkpoints are written beside the training, as on CUDA; clearing the event makes the disk hang."""
    event = threading.Event()
    event.set()
    encode = recorded_trial.encode_state

    def encode_when_possible(state: dict[str, Any]) -> Any:
        assert event.wait(60)
        return encode(state)

    monkeypatch.setattr(
        recorded_trial, "CheckpointWriter", lambda beside_training: CheckpointWriter(beside_training=True)
    )
    monkeypatch.setattr(recorded_trial, "encode_state", encode_when_possible)
    yield event
    event.set()


@pytest.mark.usefixtures("may_write")
@pytest.mark.parametrize("epochs", range(6))
def test_checkpoints_beside_the_training_are_those_of_a_trial_that_waits(
    epochs: int,
    folder: TrialFolder,
    start: Callable[..., RecordedTrial],
    ends_the_same: Callable[[TrialFolder], None],
    undisturbed: Trial,
    timeless: Timeless,
) -> None:
    trial = start(folder, epochs)
    if epochs == 5:
        assert folder.read_record().state == "complete"
        assert names(folder) == []
        assert timeless(folder.read_rows()) == timeless(undisturbed.rows)
        assert same_weights(load_network(folder.model_path), undisturbed.network)
        return
    trial._writer.wait()
    assert names(folder) == [f"checkpoint-{epoch:05}.pt" for epoch in (epochs, epochs - 1) if epoch > 0]
    ends_the_same(folder)


def test_training_continues_while_a_checkpoint_is_written(
    folder: TrialFolder,
    start: Callable[..., RecordedTrial],
    ends_the_same: Callable[[TrialFolder], None],
    may_write: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It holds what was trained when it began, and the one before it stays until it is complete."""
    seconds = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: seconds)
    trial = start(folder, checkpoint_seconds=20)
    seconds += 20
    trial.run_epoch()
    trial._writer.wait()
    may_write.clear()
    seconds += 20
    trial.run_epoch()
    trial.run_epoch()
    assert names(folder) == ["checkpoint-00001.pt"]
    assert len(folder.read_rows()) == 3
    may_write.set()
    trial._writer.wait()
    monkeypatch.undo()
    assert names(folder) == ["checkpoint-00002.pt", "checkpoint-00001.pt"]
    assert start(folder).trial.epoch == 2
    ends_the_same(folder)


@pytest.mark.usefixtures("may_write")
def test_an_error_of_the_thread_is_raised_by_the_next_epoch(
    folder: TrialFolder,
    start: Callable[..., RecordedTrial],
    ends_the_same: Callable[[TrialFolder], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fill(path: Path, content: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(recorded_trial, "write_content", fill)
        trial = start(folder, 1)
        wait_for_thread(trial)
    with pytest.raises(OSError, match="No space left") as raised:
        trial.run_epoch()
    assert is_full_disk(raised.value)
    assert len(folder.read_rows()) == 1
    assert names(folder) == []
    ends_the_same(folder)


def wait_for_thread(trial: RecordedTrial) -> None:
    """Until the checkpoint is written or has failed; the error is left for the trial to raise."""
    running = trial._writer._running
    assert running is not None
    running.exception(60)


def test_a_thread_that_outlived_its_attempt_writes_nothing(
    folder: TrialFolder,
    start: Callable[..., RecordedTrial],
    ends_the_same: Callable[[TrialFolder], None],
    may_write: threading.Event,
) -> None:
    may_write.clear()
    old = start(folder, 1)
    new = start(folder)
    assert new.trial.epoch == 0
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    may_write.set()
    wait_for_thread(old)
    assert {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()} == before
    with pytest.raises(FencedError, match="attempt 2"):
        old.run_epoch()
    new.run_epoch()
    new._writer.wait()
    ends_the_same(folder)


def test_a_stopped_trials_thread_leaves_no_checkpoint(
    folder: TrialFolder, start: Callable[..., RecordedTrial], may_write: threading.Event
) -> None:
    """Whether it comes before the driver's stop or after it; the one to be kept was complete with its epoch."""
    trial = start(folder, 1, keep_at_alpha=(0.5,))
    assert names(folder) == ["checkpoint-00001.pt"]
    may_write.clear()
    trial.run_epoch()
    stop_trial(folder, (0.5,))
    may_write.set()
    wait_for_thread(trial)
    assert names(folder) == ["checkpoint-00001.pt"]


@pytest.mark.usefixtures("may_write")
def test_kept_checkpoints_beside_the_training(folder: TrialFolder, start: Callable[..., RecordedTrial]) -> None:
    trial = start(folder, keep_at_alpha=(0.5, 0.1, 0))
    for epoch in range(1, 6):
        trial.run_epoch()
        if epoch <= 3:
            assert names(folder)[0] == f"checkpoint-{epoch:05}.pt"
    assert names(folder) == ["checkpoint-00003.pt", "checkpoint-00002.pt", "checkpoint-00001.pt"]


def test_an_epoch_out_of_memory_waits_for_the_checkpoint(
    folder: TrialFolder,
    start: Callable[..., RecordedTrial],
    ends_the_same: Callable[[TrialFolder], None],
    may_write: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    may_write.clear()
    trial = start(folder, 1)
    run_epoch, left = Trial.run_epoch, 1

    def short(trial: Trial) -> EpochRow:
        nonlocal left
        if left:
            left -= 1
            threading.Timer(0.2, may_write.set).start()
            raise torch.OutOfMemoryError("no more")
        return run_epoch(trial)

    monkeypatch.setattr(Trial, "run_epoch", short)
    assert trial.run_epoch().epoch == 2
    trial._writer.wait()
    ends_the_same(folder)


# Kills itself in the middle of writing the checkpoint of its third epoch, while it trains the fourth.
WRITER = """
import os, pickle, signal, sys, threading
from functools import partial
from pathlib import Path
from records.files import replace_file
from records.trial import TrialFolder
from trainable import recorded_trial, trial
from trainable.dense import load_dense
from trainable.recorded_trial import RecordedTrial

training = threading.Event()

def train(step, learning_rate, draws):
    def say():
        for number, draw in enumerate(draws):
            if number == 1 and recorded.trial.epoch == 3:
                training.set()
                threading.Event().wait(60)
            yield draw
    return train_batches(step, learning_rate, say())

def write_half(file, content):
    whole = b"".join(content)
    file.write(whole[:len(whole) // 2])
    file.flush()
    assert training.wait(60)
    os.kill(os.getpid(), signal.SIGKILL)

def write(path, content):
    if path.name == "checkpoint-00003.pt":
        replace_file(path, lambda file: write_half(file, content))
    write_content(path, content)

train_batches, trial.train_batches = trial.train_batches, train
write_content, recorded_trial.write_content = recorded_trial.write_content, write
writer = recorded_trial.CheckpointWriter
recorded_trial.CheckpointWriter = lambda beside_training: writer(beside_training=True)
folder, data, dense = map(Path, sys.argv[1:])
recorded = RecordedTrial(TrialFolder(folder), pickle.loads(data.read_bytes()), load_dense(dense))
while not recorded.is_finished:
    recorded.run_epoch()
"""


def run_until_killed(script: str, folder: TrialFolder, data: Data, dense_folder: Path, tmp_path: Path) -> None:
    """Runs the trial of `folder` in a process of its own by `script`, which kills itself."""
    (tmp_path / "data").write_bytes(pickle.dumps(data))
    command = [sys.executable, "-c", script, str(folder.path), str(tmp_path / "data"), str(dense_folder)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}, check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_a_process_killed_while_it_writes_beside_the_training_is_followed_by_one_that_ends_the_same(
    folder: TrialFolder,
    few: Data,
    dense_folder: Path,
    ends_the_same: Callable[[TrialFolder], None],
    tmp_path: Path,
) -> None:
    run_until_killed(WRITER, folder, few, dense_folder, tmp_path)
    assert (folder.read_record().state, len(folder.read_rows())) == ("running", 3)
    assert names(folder) == ["checkpoint-00002.pt", "checkpoint-00001.pt"]
    (torn,) = folder.path.glob(".checkpoint-00003.pt.*")
    assert torn.stat().st_size > 1000
    ends_the_same(folder)
    assert not torn.exists()


# Kills itself in the middle of its third epoch, at the second batch of retraining.
WORKER = """
import os, pickle, signal, sys
from pathlib import Path
from trainable import trial
from trainable.dense import load_dense
from trainable.recorded_trial import RecordedTrial
from records.trial import TrialFolder

def deadly(step, learning_rate, draws):
    def until_death():
        for number, draw in enumerate(draws):
            if number == 1 and recorded.trial.epoch == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            yield draw
    return train_batches(step, learning_rate, until_death())

train_batches, trial.train_batches = trial.train_batches, deadly
folder, data, dense = map(Path, sys.argv[1:])
recorded = RecordedTrial(TrialFolder(folder), pickle.loads(data.read_bytes()), load_dense(dense))
while not recorded.is_finished:
    recorded.run_epoch()
"""


@pytest.mark.slow
def test_a_killed_process_is_followed_by_one_that_ends_the_same(
    folder: TrialFolder,
    few: Data,
    dense_folder: Path,
    ends_the_same: Callable[[TrialFolder], None],
    tmp_path: Path,
) -> None:
    run_until_killed(WORKER, folder, few, dense_folder, tmp_path)
    assert (folder.read_record().state, folder.read_record().attempt, len(folder.read_rows())) == ("running", 1, 2)
    ends_the_same(folder)
    assert folder.read_record().attempt == 2

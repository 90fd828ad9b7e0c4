"""Checkpoints are whole or not there; what a thread writes is the state at the time, and its errors are not lost."""

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from trainable.checkpoints import CheckpointWriter, copy_to_host, encode_state, read_checkpoint, write_checkpoint
from trainable.config import TrialConfig
from trainable.data.dataset import Data
from trainable.dense import DenseNetwork
from trainable.trial import Trial

CPU = torch.device("cpu")
SECONDS = 30  # for what should take none


@pytest.fixture
def writer() -> CheckpointWriter:
    return CheckpointWriter(beside_training=True)


@pytest.fixture
def may_write() -> Iterator[threading.Event]:
    """What a test's writing waits for; at the end of the test it may, whatever has happened."""
    event = threading.Event()
    yield event
    event.set()


def test_a_checkpoint_is_a_digest_and_what_torch_saves(tmp_path: Path) -> None:
    state = {"epoch": 3, "weight": torch.arange(6.0).view(2, 3), "names": ["a"], "nested": {"lr": 0.1}}
    write_checkpoint(tmp_path / "checkpoint", state)
    saved = io.BytesIO()
    torch.save(state, saved)
    assert (tmp_path / "checkpoint").read_bytes()[32:] == saved.getvalue()
    assert b"".join(encode_state(state)) == (tmp_path / "checkpoint").read_bytes()
    assert str(read_checkpoint(tmp_path / "checkpoint", CPU)) == str(state)


def test_a_copy_keeps_what_training_changes(data: Data, dense: DenseNetwork, small: Any) -> None:
    """The whole state of a trial: the copy holds what the original held, in the same layout."""
    config: TrialConfig = small()
    trial = Trial(config, data, dense)
    trial.run_epoch()
    before = torch.load(io.BytesIO(saved(trial.state_dict())), weights_only=True)
    copied = copy_to_host(trial.state_dict())
    while not trial.is_finished:
        trial.run_epoch()
    assert str(copied) == str(before)
    weight = before["network"]["features.3.weight"]
    assert copied["network"]["features.3.weight"].stride() == weight.stride()
    assert weight.is_contiguous(memory_format=torch.channels_last)
    again = Trial(config, data, dense)
    again.load_state_dict(torch.load(io.BytesIO(saved(copied)), weights_only=True))
    assert again.epoch == 1


def saved(state: Any) -> bytes:
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def test_a_thread_writes_the_state_as_it_was(writer: CheckpointWriter, may_write: threading.Event) -> None:
    weight, written = torch.zeros(3), []

    def write(state: dict[str, Any]) -> None:
        assert may_write.wait(SECONDS)
        written.append((state["weight"].tolist(), threading.current_thread() is threading.main_thread()))

    writer.write({"weight": weight}, write)
    weight.fill_(1)
    assert written == []
    may_write.set()
    writer.wait()
    assert written == [([0, 0, 0], False)]


def test_without_a_thread_nothing_is_copied() -> None:
    written: list[Any] = []
    state = {"weight": torch.zeros(3)}
    CheckpointWriter(beside_training=False).write(state, written.append)
    assert written[0] is state


def test_one_is_written_at_a_time(writer: CheckpointWriter, may_write: threading.Event) -> None:
    running, most, written = 0, 0, []

    def write(state: dict[str, Any]) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        assert may_write.wait(SECONDS)
        written.append(state["epoch"])
        running -= 1

    writer.write({"epoch": 1}, write)
    threading.Timer(0.2, may_write.set).start()
    writer.write({"epoch": 2}, write)  # waits for the first
    assert written[0] == 1
    writer.write({"epoch": 3}, write)
    writer.wait()
    assert (written, most) == ([1, 2, 3], 1)


@pytest.mark.parametrize("later", ["raise_error", "wait", "write"])
def test_an_error_is_raised_by_the_next_call_and_once(writer: CheckpointWriter, later: str) -> None:
    done = threading.Event()

    def fail(state: dict[str, Any]) -> None:
        raise OSError("no space")

    writer.write({}, fail)
    writer._thread.submit(done.set)  # type: ignore[union-attr]
    assert done.wait(SECONDS)
    written: list[Any] = []
    with pytest.raises(OSError, match="no space"):
        writer.write({}, written.append) if later == "write" else getattr(writer, later)()
    assert written == []
    writer.raise_error()
    writer.wait()


def test_asking_for_errors_does_not_wait(writer: CheckpointWriter, may_write: threading.Event) -> None:
    writer.write({}, lambda state: may_write.wait(SECONDS) and None)
    writer.raise_error()
    assert not may_write.is_set()

"""The dense network is trained once, found again by what it is made of, and copied as a whole."""

import json
import math
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from networks import count_macs, count_parameters, list_widths, scale_widths

from records.dense import DenseEpochRow, read_dense_rows
from records.files import read_json_lines
from trainable import dense as dense_module
from trainable.checkpoints import CheckpointWriter
from trainable.config import DenseConfig, OptimizerConfig
from trainable.data.batches import DeviceSplit
from trainable.data.dataset import Data
from trainable.dense import DenseNetwork, copy_dense, dense_hash, find_dense, load_dense, train_dense
from trainable.errors import DivergedError, TrialError
from trainable.training import evaluate

FILES = {"epochs.jsonl", "layout.json", "arch.json", "model.safetensors", "dense.json"}
ROW = {"epoch", "lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "epoch_seconds"}


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def test_what_is_written_is_what_the_network_is(dense_folder: Path, dense_config: DenseConfig, data: Data) -> None:
    assert set(files(dense_folder)) == FILES
    assert all(set(row) == ROW for row in read_json_lines(dense_folder / "epochs.jsonl"))
    dense, rows = load_dense(dense_folder), read_dense_rows(dense_folder)
    assert [row.epoch for row in rows] == list(range(1, 7))
    widths, record = scale_widths(1 / 16), dense.record
    assert list_widths(dense.network) == dense.layout.widths == widths == record.widths
    assert record.groups == tuple(group.name for group in dense.layout.groups)
    assert record.whole == ()
    assert (record.channels, record.parameters, record.macs) == (
        sum(widths),
        count_parameters(dense.network),
        count_macs(dense.network),
    )
    assert record.hash == dense_hash(dense_config, data.fingerprint)
    assert record.epochs == 6
    assert record.seconds == pytest.approx(sum(row.epoch_seconds for row in rows))
    last = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
    assert {name: getattr(record, name) for name in last} == {name: getattr(rows[-1], name) for name in last}
    evaluated = evaluate(dense.network, DeviceSplit(data.validation, data, torch.device("cpu")))
    assert evaluated.accuracy == record.val_accuracy > 0.5
    assert evaluated.loss == pytest.approx(record.val_loss, rel=1e-5)


def test_training_is_one_cycle(dense_folder: Path, dense_config: DenseConfig) -> None:
    """Means of an epoch's three batches, 18 in all; up to the peak in the first three tenths, then down to 0."""

    def cosine(start: float, end: float, t: float) -> float:
        return end + (start - end) * (1 + math.cos(math.pi * t)) / 2

    peak = dense_config.peak
    rates = [cosine(peak / 25, peak, batch / 4.4) for batch in range(5)]
    rates += [cosine(peak, peak / 25e4, (batch - 4.4) / 12.6) for batch in range(5, 18)]
    means = [sum(rates[start : start + 3]) / 3 for start in range(0, 18, 3)]
    assert [row.lr for row in read_dense_rows(dense_folder)] == pytest.approx(means)


def test_the_same_recipe_gives_the_same_network(
    dense_folder: Path, dense_config: DenseConfig, data: Data, tmp_path: Path
) -> None:
    seen: list[DenseEpochRow] = []
    train_dense(dense_config, data, tmp_path, threads=1, on_epoch=seen.append)
    assert (tmp_path / "model.safetensors").read_bytes() == (dense_folder / "model.safetensors").read_bytes()
    assert seen == read_dense_rows(tmp_path)


@pytest.mark.parametrize("beside_training", [False, True])
def test_an_interrupted_training_continues_to_the_same_network(
    beside_training: bool,
    dense_folder: Path,
    dense_config: DenseConfig,
    data: Data,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Interrupted after its second epoch, and again after its last; with checkpoints as on the CPU and as on CUDA."""

    def create_writer(**settings: bool) -> CheckpointWriter:
        return CheckpointWriter(beside_training=beside_training)

    monkeypatch.setattr(dense_module, "CheckpointWriter", create_writer)

    def interrupt(row: DenseEpochRow) -> None:
        if row.epoch in (2, 6):
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train_dense(dense_config, data, tmp_path, threads=1, on_epoch=interrupt)
        assert not (tmp_path / "dense.json").exists()
        assert (tmp_path / "checkpoint.pt").exists()
    seen: list[DenseEpochRow] = []
    train_dense(dense_config, data, tmp_path, threads=1, on_epoch=seen.append)
    assert seen == []
    assert set(files(tmp_path)) == FILES
    assert (tmp_path / "model.safetensors").read_bytes() == (dense_folder / "model.safetensors").read_bytes()
    rows, whole = read_dense_rows(tmp_path), read_dense_rows(dense_folder)
    assert [replace(row, epoch_seconds=0) for row in rows] == [replace(row, epoch_seconds=0) for row in whole]


@pytest.mark.parametrize("left", ["torn", "of another recipe"])
def test_a_useless_checkpoint_is_not_continued_from(
    left: str, dense_folder: Path, dense_config: DenseConfig, data: Data, tmp_path: Path
) -> None:
    def keep(row: DenseEpochRow) -> None:
        if row.epoch == 1:
            shutil.copy(tmp_path / "checkpoint.pt", tmp_path / "kept")

    other = replace(dense_config, seed=1, epochs=1) if left == "of another recipe" else dense_config
    train_dense(other, data, tmp_path, threads=1, on_epoch=keep)
    content = (tmp_path / "kept").read_bytes()
    (tmp_path / "kept").unlink()
    (tmp_path / "dense.json").unlink()
    (tmp_path / "checkpoint.pt").write_bytes(content[: len(content) // 2] if left == "torn" else content)
    train_dense(dense_config, data, tmp_path, threads=1)
    assert (tmp_path / "model.safetensors").read_bytes() == (dense_folder / "model.safetensors").read_bytes()
    assert set(files(tmp_path)) == FILES


def test_whoever_comes_second_waits_and_has_nothing_left_to_do(
    dense_folder: Path, dense_config: DenseConfig, data: Data, tmp_path: Path
) -> None:
    """A worker that outlived its driver still trains when the next driver begins; flock keeps threads apart, too."""
    seen: list[DenseEpochRow] = []
    second = Thread(target=train_dense, args=(dense_config, data, tmp_path), kwargs={"threads": 1}, daemon=True)

    def epoch(row: DenseEpochRow) -> None:
        if row.epoch == 1:
            second.start()
            time.sleep(0.5)
        seen.append(row)

    train_dense(dense_config, data, tmp_path, threads=1, on_epoch=epoch)
    second.join(timeout=100)
    assert not second.is_alive()
    assert read_dense_rows(tmp_path) == seen  # down to their times: nothing was computed again
    assert set(files(tmp_path)) == FILES
    assert (tmp_path / "model.safetensors").read_bytes() == (dense_folder / "model.safetensors").read_bytes()


def test_the_hash_is_of_data_network_and_recipe() -> None:
    config = DenseConfig()
    changed = [
        replace(config, width=0.5),
        replace(config, epochs=61),
        replace(config, peak=0.2),
        replace(config, seed=1),
        replace(config, optimizer=OptimizerConfig(weight_decay=1e-3)),
    ]
    hashes = [dense_hash(each, "data") for each in (config, *changed)] + [dense_hash(config, "other data")]
    assert len(set(hashes)) == 7
    assert hashes[0] == dense_hash(DenseConfig(), "data")
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in hashes)


@pytest.fixture
def storage(dense_folder: Path, tmp_path: Path) -> Path:
    for name in ("first", "second"):
        shutil.copytree(dense_folder, tmp_path / name / "dense")
    return tmp_path


def test_a_dense_network_is_found_in_any_experiment(storage: Path, dense: DenseNetwork) -> None:
    wanted = dense.record.hash
    assert find_dense(storage, wanted) == storage / "first" / "dense"
    assert find_dense(storage, "0" * 16) is None
    assert find_dense(storage / "nowhere", wanted) is None


DAMAGES: dict[str, Callable[[Path], object]] = {
    "torn metrics": lambda folder: (folder / "dense.json").write_text('{"hash": '),
    "no metrics": lambda folder: (folder / "dense.json").unlink(),
    "torn weights": lambda folder: (folder / "model.safetensors").write_bytes(b"\x10" * 100),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "torn arch": lambda folder: (folder / "arch.json").write_text("{"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_one_is_skipped_and_not_loaded(
    damage: Callable[[Path], object], storage: Path, dense: DenseNetwork
) -> None:
    damage(storage / "first" / "dense")
    assert find_dense(storage, dense.record.hash) == storage / "second" / "dense"
    with pytest.raises(ValueError, match=re.escape(str(storage / "first" / "dense"))):
        load_dense(storage / "first" / "dense")
    damage(storage / "second" / "dense")
    assert find_dense(storage, dense.record.hash) is None


def test_a_copy_is_the_same(dense_folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "dense"
    copy_dense(dense_folder, target)
    assert files(target) == files(dense_folder)
    (target / "dense.json").write_text(json.dumps({"hash": "of another one"}))
    copy_dense(dense_folder, target)
    assert files(target) == files(dense_folder)


def test_a_gpu_without_memory_for_it_is_no_defect(
    dense_config: DenseConfig, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out(*arguments: Any, **keywords: Any) -> None:
        raise torch.OutOfMemoryError("tried to allocate 9 GiB")

    monkeypatch.setattr(dense_module, "train_batches", run_out)
    message = r"the dense network: out of GPU memory: tried to allocate 9 GiB; a lower dense\.optimizer\.batch_size"
    with pytest.raises(TrialError, match=message):
        train_dense(dense_config, data, tmp_path, threads=1)
    assert not (tmp_path / "dense.json").exists()


def test_a_dense_network_that_diverges_says_where(dense_config: DenseConfig, data: Data, tmp_path: Path) -> None:
    broken = replace(data, mean=(float("nan"),) * 3)
    message = r"the dense network, epoch 1: the training loss is nan at learning rate 0\.0\d+; lower dense\.peak"
    with pytest.raises(DivergedError, match=message):
        train_dense(dense_config, broken, tmp_path, threads=1)
    assert not (tmp_path / "dense.json").exists()

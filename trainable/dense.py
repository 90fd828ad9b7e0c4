"""The dense network: trained once, saved, and found again by a hash of the data, the network and the recipe."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from records.dense import (
    CHECKPOINT_NAME,
    FILE_NAME,
    ROWS_NAME,
    DenseEpochRow,
    DenseRecord,
    read_dense_record,
    write_dense_record,
)
from records.files import append_json_line, hold_lock, open_file, remove_file, replace_file, replace_json_lines
from records.network import FILE_NAME as ARCH_NAME
from records.network import WEIGHTS_NAME, read_network_record
from trainable.checkpoints import CheckpointWriter, read_checkpoint, write_checkpoint
from trainable.config import DenseConfig, NetworkConfig, as_json
from trainable.data.batches import DeviceSplit
from trainable.data.dataset import Data
from trainable.device import default_device, device_name, prepare_device, seed_layers
from trainable.errors import DivergedError, TrialError
from trainable.function_import import hash_module
from trainable.graphed_step import create_step
from trainable.measurement.machine_lock import training_allowed
from trainable.network.architecture import NETWORKS, Architecture
from trainable.network.given_weights import hash_weights, load_given_weights
from trainable.network.grouping import find_layout
from trainable.network.layout import FILE_NAME as LAYOUT_NAME
from trainable.network.layout import Layout, read_layout, write_layout
from trainable.network.placement import place_on
from trainable.network.weights import load_network, read_architecture, save_network
from trainable.schedules.lr_policies import OneCycle
from trainable.schedules.lr_schedulers import LRDriver
from trainable.training import EvaluationResult, create_sgd, evaluate, train_batches

VGG16 = NetworkConfig()


@dataclass(frozen=True)
class DenseNetwork:
    """The dense network on the CPU, what builds it, its groups, and its record."""

    network: nn.Module
    architecture: Architecture
    layout: Layout
    record: DenseRecord


def dense_hash(config: DenseConfig, fingerprint: str, network: NetworkConfig = VGG16) -> str:
    """The hash by which a dense network is found again: 16 hex digits of data, network and recipe.

    Raises:
        ValueError: if its weights are given, and their file cannot be read, or if its module cannot be imported.
    """
    values = as_json(config)
    given = values.pop("weights")
    recipe = [{"width": config.width, "weights": hash_weights(given)} if given else values, fingerprint]
    if network != VGG16:  # so that those of earlier versions, which had only one, are still found
        recipe.append(as_json(network))
    if network.name not in NETWORKS:
        recipe.append(hash_module("network", network.name))  # whose code may be edited
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]


def train_dense(
    config: DenseConfig,
    data: Data,
    folder: Path,
    *,
    threads: int,
    network: NetworkConfig = VGG16,
    on_epoch: Callable[[DenseEpochRow], None] = lambda row: None,
) -> None:
    """Trains the dense network with one-cycle SGD, or takes given weights, and writes it to `folder`, dense.json last.

    Continues from the folder's checkpoint, if there is an intact one, to the same network (bit for bit on the CPU). If
    another process is already training it in the folder, waits for that; then nothing is left to do.

    Args:
        config: width and recipe.
        data: trained on its training split, evaluated on its validation split after each epoch.
        folder: gets epochs.jsonl, layout.json, arch.json, model.safetensors and dense.json; during training also
            checkpoint.pt.
        threads: CPU threads.
        network: what is trained.
        on_epoch: called with each row once it is written.

    Raises:
        DivergedError: if the loss is no longer finite, with the epoch, the loss and the learning rate.
        TrialError: if the GPU has too little memory.
        ValueError: if given weights are not the network's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    architecture = Architecture.of(network, width=config.width, classes=data.classes, image_size=data.image_size)
    task = _DenseTask(config, architecture, dense_hash(config, data.fingerprint, network), data, folder, threads)
    with hold_lock(folder):
        if _read_hash(folder) != task.hash:
            try:
                task.write(task.take_weights() if config.weights else task.train(on_epoch))
            except torch.OutOfMemoryError as error:
                raise TrialError(
                    f"the dense network: out of GPU memory: {error}; "
                    "a lower dense.optimizer.batch_size or dense.width needs less"
                ) from error
        remove_file(folder / CHECKPOINT_NAME)


class _Result(NamedTuple):
    """A dense network on whatever device, and what its record says of it."""

    network: nn.Module
    epochs: int
    seconds: float
    trained: EvaluationResult
    validated: EvaluationResult


@dataclass(frozen=True)
class _DenseTask:
    """A dense network to be made: what it is, its hash, and the folder that it is written to."""

    config: DenseConfig
    architecture: Architecture
    hash: str
    data: Data
    folder: Path
    threads: int

    def train(self, on_epoch: Callable[[DenseEpochRow], None]) -> _Result:
        """Trains it, from the folder's checkpoint if there is an intact one."""
        # Nothing is written any more when the lock is released.
        with CheckpointWriter(beside_training=default_device().type == "cuda") as writer:
            return self._train_epochs(writer, on_epoch)

    def _train_epochs(self, writer: CheckpointWriter, on_epoch: Callable[[DenseEpochRow], None]) -> _Result:
        config, data, folder = self.config, self.data, self.folder
        device = default_device()
        prepare_device(device, self.threads)
        train, validation = DeviceSplit(data.train, data, device), DeviceSplit(data.validation, data, device)
        network = place_on(self.architecture.create(config.seed), device)
        optimizer = create_sgd(network, config.optimizer, config.peak)
        steps = train.count_steps(config.optimizer.batch_size)
        learning_rate = LRDriver(optimizer, OneCycle(peak=config.peak), total=config.epochs * steps, steps=steps)
        checkpoint = folder / CHECKPOINT_NAME
        rows: list[DenseEpochRow] = []
        with suppress(ValueError):  # none, or a damaged one: starting over gives the same network
            state = read_checkpoint(checkpoint, device)
            if state["hash"] == self.hash:
                network.load_state_dict(state["network"])
                optimizer.load_state_dict(state["optimizer"])
                learning_rate.load_state_dict(state["learning_rate"])
                rows = [DenseEpochRow(**row) for row in state["rows"]]
        replace_json_lines(folder / ROWS_NAME, [asdict(row) for row in rows])
        step = create_step(network, optimizer, train, label_smoothing=config.optimizer.label_smoothing)
        for epoch in range(len(rows) + 1, config.epochs + 1):
            with training_allowed(), seed_layers(device, seed=config.seed, epoch=epoch):
                began = time.perf_counter()
                draws = train.draw_batches(config.optimizer.batch_size, seed=config.seed, epoch=epoch)
                try:
                    trained = train_batches(step, learning_rate, draws).average()
                    validated = evaluate(network, validation, lr=trained.lr)
                except DivergedError as error:
                    raise DivergedError(f"the dense network, epoch {epoch}: {error}; lower dense.peak") from error
                seconds = time.perf_counter() - began
            row = DenseEpochRow(
                epoch=epoch,
                lr=trained.lr,
                train_loss=trained.loss,
                train_accuracy=trained.accuracy,
                val_loss=validated.loss,
                val_accuracy=validated.accuracy,
                epoch_seconds=seconds,
            )
            rows.append(row)
            append_json_line(folder / ROWS_NAME, asdict(row))
            state = {
                "hash": self.hash,
                "rows": [asdict(row) for row in rows],
                "network": network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "learning_rate": learning_rate.state_dict(),
            }
            writer.write(state, partial(write_checkpoint, checkpoint))
            on_epoch(row)
        writer.wait()
        last, seconds = rows[-1], sum(row.epoch_seconds for row in rows)
        at_end = EvaluationResult(last.train_loss, last.train_accuracy)
        return _Result(network, len(rows), seconds, at_end, EvaluationResult(last.val_loss, last.val_accuracy))

    def take_weights(self) -> _Result:
        """Gives it the weights of the file that the config names, and evaluates it."""
        data, device = self.data, default_device()
        prepare_device(device, self.threads)
        assert self.config.weights is not None
        network = place_on(load_given_weights(self.architecture, self.config.weights), device)
        trained, validated = (
            evaluate(network, DeviceSplit(split, data, device)) for split in (data.train, data.validation)
        )
        replace_json_lines(self.folder / ROWS_NAME, [])
        return _Result(network, 0, 0.0, trained, validated)

    def write(self, result: _Result) -> None:
        """Writes its layout, its weights and, last, its record."""
        layout = find_layout(self.architecture)
        widths = layout.widths
        write_layout(self.folder, layout)
        save_network(result.network, self.folder, self.architecture, widths, mean=self.data.mean, std=self.data.std)
        record = DenseRecord(
            hash=self.hash,
            epochs=result.epochs,
            train_loss=result.trained.loss,
            train_accuracy=result.trained.accuracy,
            val_loss=result.validated.loss,
            val_accuracy=result.validated.accuracy,
            groups=tuple(group.name for group in layout.groups),
            widths=widths,
            whole=layout.whole,
            channels=layout.count("channels", widths),
            parameters=layout.count("parameters", widths),
            macs=layout.count("macs", widths),
            seconds=result.seconds,
            device=device_name(default_device()),
            threads=self.threads,
        )
        write_dense_record(self.folder, record)


def find_dense(storage: Path, wanted: str) -> Path | None:
    """The folder of a complete dense network with the hash `wanted` in any experiment of `storage`."""
    for path in sorted(storage.glob(f"*/dense/{FILE_NAME}")):
        try:
            if read_dense_record(path.parent).hash == wanted:
                load_network(path.parent)
                return path.parent
        except ValueError:
            continue  # another experiment's, and damaged: it will be trained again
    return None


def _read_hash(folder: Path) -> str | None:
    """The hash in a dense.json; None if there is no such file. Raises ValueError if it is damaged."""
    return read_dense_record(folder).hash if (folder / FILE_NAME).exists() else None


def copy_dense(source: Path, target: Path) -> None:
    """Copies another experiment's dense network, dense.json last: if it exists, the network is complete."""
    target.mkdir(parents=True, exist_ok=True)
    # The network is whole without the story of its training, and earlier versions kept no layout.
    for name in (ROWS_NAME, LAYOUT_NAME):
        with suppress(OSError):
            _copy_file(source / name, target / name)
    for name in (ARCH_NAME, WEIGHTS_NAME, FILE_NAME):
        _copy_file(source / name, target / name)


def _copy_file(source: Path, target: Path) -> None:
    with os.fdopen(open_file(source), "rb") as file:
        replace_file(target, partial(shutil.copyfileobj, file))


def load_dense(folder: Path) -> DenseNetwork:
    """The dense network in `folder`; raises ValueError, naming the file, if it is not intact."""
    architecture = read_architecture(read_network_record(folder))
    is_kept = os.path.lexists(folder / LAYOUT_NAME)  # not by earlier versions
    network, record = load_network(folder), read_dense_record(folder)
    # Nor did they say in arch.json how wide the network is.
    layout = read_layout(folder) if is_kept else find_layout(architecture).resize(record.widths)
    return DenseNetwork(network, architecture, layout, record)

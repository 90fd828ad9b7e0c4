"""An experiment from its settings to its ranking: checked whole before anything starts, then run."""

import os
import platform
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import optuna
import torch

from search import cluster
from search.early_stopping import SuccessiveHalving
from search.local import run_local
from search.progress import SearchProgress
from search.settings import Settings, as_settings_json
from search.study import Search, control_configs
from spaces.loading import load_space
from trainable.config import DenseConfig, TrialConfig
from trainable.data import Data, load_data
from trainable.dense import copy_dense, dense_hash, find_dense, train_dense
from trainable.masks import choose
from trainable.network import dense_widths
from trainable.records import ExperimentFolder, now, write_json

VERSIONS = ("alphaprune", "torch", "torchvision", "ray", "optuna", "numpy")


@dataclass(frozen=True)
class Where:
    """Where an experiment runs: in this process (`local`), or on the Ray cluster at `address` (None starts one)."""

    local: bool = False
    address: str | None = None


def new_folder(storage: Path, preset: str, name: str | None) -> ExperimentFolder:
    """The folder of a new experiment, not yet made: `name`, or the preset's name with the next free number.

    Raises:
        ValueError: if there is an experiment of that name, or nothing can be written there.
    """
    stem = name or Path(preset).stem
    if not stem or Path(stem).name != stem or stem.startswith("."):
        raise ValueError(f"--name must be the name of a folder in --storage, but got {name!r}")
    candidates = [stem] if name else [stem, *(f"{stem}-{number}" for number in range(2, 10_000))]
    free = next((each for each in candidates if not (storage / each).exists()), None)
    if free is None:
        raise ValueError(f"--name must be new, but {str(storage / stem)!r} exists; choose another or remove it")
    check_writable(storage)
    return ExperimentFolder(storage / free)


def check_writable(storage: Path) -> None:
    """Raises ValueError if no experiment can be written to `storage`; leaves no folder that was not there."""
    new = not storage.exists()
    try:
        storage.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=storage) as probe:
            probe.write(b"probe")
        if new:
            storage.rmdir()
    except OSError as error:
        reason = f"{error.strerror or error}"
        raise ValueError(f"--storage must be a folder that can be written, but {str(storage)!r}: {reason}") from error


def check_settings(settings: Settings) -> Callable[[optuna.Trial, TrialConfig], TrialConfig]:
    """The space of `settings`, once it and the controls have been tried out; nothing is trained.

    Raises:
        ValueError: if the space cannot be loaded or fails, or a control cannot be cut as far as it has to be.
    """
    space = load_space(settings.space.function, settings.space.options)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    samples = [space(study.ask(), settings.trial) for _ in range(16 if settings.search.trials else 0)]
    ones = [torch.ones(width) for width in dense_widths(settings.dense.width)]
    for config in (*(config for _, config in control_configs(settings)), *samples):
        choose(ones, config.pruning, classes=10)
        if config.epochs != settings.trial.epochs:
            raise ValueError(
                f"the space must leave trial.epochs as it is, or trials do not compare, but it made "
                f"{settings.trial.epochs} {config.epochs}; use `dataclasses.replace(base, ...)` without epochs"
            )
    return space


def run(settings: Settings, folder: ExperimentFolder, where: Where, *, preset: str, say: Callable[[str], None]) -> None:
    """Runs a new experiment: the dense network, the controls, the search.

    Args:
        settings: resolved.
        folder: from new_folder.
        where: this process or a cluster.
        preset: what the user named, for the record.
        say: takes a line for people.

    Raises:
        ValueError: if anything is wrong with settings, data or cluster; nothing has then been started or written.
    """
    space = check_settings(settings)
    say(f"reading {settings.data.source}")
    data = load_data(settings.data)
    with nullcontext() if where.local else cluster.connected(where.address):
        resources = settings.resources
        share = cluster.Share(resources.cpus_per_trial, 0, 1) if where.local else cluster.share(resources)
        _create(folder, settings, data, preset)
        _search(settings, folder, where, space, data, share)


def _create(folder: ExperimentFolder, settings: Settings, data: Data, preset: str) -> None:
    folder.path.mkdir(parents=True)
    write_json(
        folder.record_path,
        {
            "name": folder.path.name,
            "preset": preset,
            "created": now(),
            "settings": as_settings_json(settings),
            "data": {
                "name": data.name,
                "fingerprint": data.fingerprint,
                "classes": data.classes,
                "train_images": len(data.train.labels),
                "validation_images": len(data.validation.labels),
                "test_images": len(data.test.labels),
            },
            "versions": {"python": platform.python_version(), **{name: version(name) for name in VERSIONS}},
        },
    )


def _search(
    settings: Settings,
    folder: ExperimentFolder,
    where: Where,
    space: Callable[[optuna.Trial, TrialConfig], TrialConfig],
    data: Data,
    share: cluster.Share,
) -> None:
    found = find_dense(folder.path.parent, dense_hash(settings.dense, data.fingerprint))
    search = Search(folder, settings, space)
    stopping = SuccessiveHalving(settings.search.early_stopping, epochs=settings.trial.epochs)
    dense_epochs = 0 if found else settings.dense.epochs
    with SearchProgress(folder, settings, planned=search.planned, dense_epochs=dense_epochs) as progress:
        if found:
            progress.say(f"the dense network is there already: {found}")
            if found != folder.dense:
                copy_dense(found, folder.dense)
        else:
            train = _train_dense_here if where.local else cluster.train_dense_remotely
            train(settings.dense, data, folder.dense, progress.dense_epoch)
        if where.local:
            run_local(search, stopping, folder, data, progress, threads=share.cpus)
        else:
            from search.tune_run import run_on_cluster

            run_on_cluster(
                search,
                stopping,
                folder,
                data,
                progress,
                threads=share.cpus,
                gpus=share.gpus,
                concurrency=share.concurrency,
            )


def _train_dense_here(
    config: DenseConfig, data: Data, folder: Path, on_epoch: Callable[[dict[str, Any]], None]
) -> None:
    train_dense(config, data, folder, threads=os.cpu_count() or 1, on_epoch=on_epoch)

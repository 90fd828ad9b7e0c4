"""The plan of a search that is not started: what would run, how long it takes, and what it needs. Writes nothing."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from analysis.optuna_study import quiet_optuna
from records.driver import read_driver_state
from records.experiment import ExperimentFolder
from search.backends.base import Backend
from search.experiment import change_settings
from search.settings import Settings
from search.setup.dense_source import find_dense_source
from search.setup.plan import log_plan
from search.setup.validation import (
    check_settings,
    check_weights,
    locate_files,
    read_data,
    read_recorded_data,
    recorded_settings,
)
from search.setup.workload import create_workload
from search.snapshot import Snapshot
from trainable.config import DataConfig
from trainable.data.builtin import CIFAR10_IMAGES, has_cifar10
from trainable.data.dataset import Data
from trainable.function_import import user_folder_importable

log = logging.getLogger("alphaprune")


@dataclass(frozen=True)
class DataSize:
    """What a plan has to know of data that is not here yet."""

    classes: int
    train_images: int


def show_run(settings: Settings, folder: ExperimentFolder, backend: Backend) -> None:
    """Logs the plan of `search.experiment.run`; arguments as there.

    Raises:
        ValueError: if `run` would refuse it.
    """
    settings = locate_files(settings)
    with user_folder_importable(), quiet_optuna():
        _show_plan(settings, folder, backend, Snapshot((), frozenset()), _read_at_hand(settings.data))


def show_resume(
    folder: ExperimentFolder,
    backend: Backend,
    *,
    trials: int | None = None,
    resources: Mapping[str, Any] = MappingProxyType({}),
    data: str | None = None,
    retry_failed: bool = False,
) -> None:
    """Logs the plan of `search.experiment.resume`; arguments as there.

    Raises:
        ValueError: if `resume` would refuse it.
    """
    driver = read_driver_state(folder)
    if driver.is_alive:
        raise ValueError(f"{folder.path.name!r} is already being run by {driver.record or 'another process'}")
    record = folder.read_record()
    before = recorded_settings(folder, record)
    settings = change_settings(before, folder.path.name, trials, resources)
    with user_folder_importable(), quiet_optuna():
        loaded = read_recorded_data(folder, record, settings, data)
        snapshot = Snapshot.read(folder)
        failed = [trial for trial in snapshot.trials if trial.record.state == "failed"] if retry_failed else []
        reopened = [replace(trial, record=replace(trial.record, state="running")) for trial in failed]
        _show_plan(settings, folder, backend, snapshot.updated(reopened), loaded)


def _show_plan(
    settings: Settings,
    folder: ExperimentFolder,
    backend: Backend,
    snapshot: Snapshot,
    data: Data | DataSize,
) -> None:
    space = check_settings(settings)
    check_weights(settings, data.classes)
    train_images = data.train_images if isinstance(data, DataSize) else len(data.train.labels)
    with backend.connect():
        resources = backend.trial_resources(settings.resources)
        workload = create_workload(
            settings, space, backend, resources, folder.path.parent, classes=data.classes, train_images=train_images
        )
        dense = None if isinstance(data, DataSize) else find_dense_source(settings, folder, snapshot, data)
        dense_epochs = settings.dense.training_epochs if dense is None else 0
        log_plan(settings, folder, backend, data.classes, resources, snapshot, workload, dense_epochs)
    log.info("nothing has been started (--dry-run)")


def _read_at_hand(config: DataConfig) -> Data | DataSize:
    """The data, or the size of data that `run` would download first."""
    if config.source != "cifar10" or has_cifar10():
        return read_data(config)
    log.info("CIFAR-10 is not here yet; the search begins by downloading it (170 MB)")
    images = min(config.images or CIFAR10_IMAGES, CIFAR10_IMAGES)
    return DataSize(classes=10, train_images=images - round(config.validation_fraction * images))

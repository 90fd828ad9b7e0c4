"""The plan of a search that is not started: what would run, how long it takes, and what it needs. Writes nothing."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from analysis.optuna_study import quiet_optuna
from records.driver import read_driver_state
from records.experiment import ExperimentFolder
from search.backends.base import Backend
from search.experiment import change_settings
from search.settings import Settings
from search.setup.dense_source import count_dense_epochs, find_dense_source
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
from trainable.data.builtin import DOWNLOADS, has_download
from trainable.data.dataset import Data
from trainable.data.size import DataSize, check_memory, count_images
from trainable.function_import import user_folder_importable

log = logging.getLogger("alphaprune")


def show_run(settings: Settings, folder: ExperimentFolder, backend: Backend) -> None:
    """Logs the plan of `search.experiment.run`; arguments as there.

    Raises:
        ValueError: if `run` would refuse it.
    """
    settings = locate_files(settings)
    with user_folder_importable(), quiet_optuna():
        _show_plan(settings, folder, backend, Snapshot((), frozenset()), _read_at_hand(settings.data, backend))


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
        loaded = read_recorded_data(folder, record, settings, data, copies=backend.image_copies)
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
    size = data if isinstance(data, DataSize) else data.size
    with backend.connect():
        resources = backend.trial_resources(settings.resources)
        workload = create_workload(
            settings, space, backend, resources, folder.path.parent, classes=size.classes, train_images=size.train
        )
        dense = None if isinstance(data, DataSize) else find_dense_source(settings, folder, snapshot, data)
        if dense is None:
            check_weights(settings, size.classes)
        dense_epochs = count_dense_epochs(settings, folder, dense)
        log_plan(settings, folder, backend, size, resources, snapshot, workload, dense_epochs)
    log.info("nothing has been started (--dry-run)")


def _read_at_hand(config: DataConfig, backend: Backend) -> Data | DataSize:
    """The data, or the size of data that `run` would download first."""
    known = DOWNLOADS.get(config.source)
    if known is None or has_download(config.source):
        return read_data(config, copies=backend.image_copies)
    log.info("%s is not here yet; the search begins by downloading it (%d MB)", known.title, known.megabytes)
    size = count_images(config, classes=known.classes, training=known.train_images, test=known.test_images)
    check_memory(size, backend.image_copies)
    return size

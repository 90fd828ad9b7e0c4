"""Where an experiment's dense network comes from: its own folder, or another experiment that has trained the same."""

import logging
import os
from pathlib import Path

from records.dense import FILE_NAME, read_dense_rows
from records.experiment import ExperimentFolder
from search.settings import Settings
from search.snapshot import Snapshot
from trainable.data.dataset import Data
from trainable.dense import copy_dense, dense_hash, find_dense, load_dense

log = logging.getLogger("alphaprune")


def find_dense_source(settings: Settings, folder: ExperimentFolder, snapshot: Snapshot, data: Data) -> Path | None:
    """Where the dense network is, in this experiment or another; None if it has to be trained.

    Raises:
        ValueError: if the experiment's own is damaged, or is missing although trials have started from it: it must not
            be replaced unasked.
    """
    has_started = any(trial.record.attempt for trial in snapshot.trials)
    if has_started or os.path.lexists(folder.dense_path / FILE_NAME):
        load_dense(folder.dense_path)
        return folder.dense_path
    return find_dense(folder.path.parent, dense_hash(settings.dense, data.fingerprint, settings.network))


def count_dense_epochs(settings: Settings, folder: ExperimentFolder, source: Path | None) -> int:
    """Epochs that the training of the dense network has left; source: from find_dense_source."""
    if source is not None:
        return 0
    return max(0, settings.dense.training_epochs - len(read_dense_rows(folder.dense_path)))


def take_dense(settings: Settings, folder: ExperimentFolder, snapshot: Snapshot, data: Data) -> Path | None:
    """As find_dense_source, which it copies if it is another experiment's; None if that has just been removed, too."""
    dense = find_dense_source(settings, folder, snapshot, data)
    if dense == folder.dense_path:
        log.info("the dense network has already been trained")
    elif dense is not None:
        try:
            copy_dense(dense, folder.dense_path)
        except FileNotFoundError:
            return None
        log.info("the dense network is taken from experiment %r: %s", dense.parent.name, dense)
    return dense

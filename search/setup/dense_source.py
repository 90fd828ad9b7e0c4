"""Where an experiment's dense network comes from: its own folder, or another experiment that has trained the same."""

import logging
import os
from pathlib import Path

from records.dense import FILE_NAME, read_dense_rows
from records.experiment import ExperimentFolder
from search.settings import Settings
from search.snapshot import Snapshot
from trainable.data.dataset import Data
from trainable.dense import DenseNetwork, copy_dense, dense_hash, find_dense, load_dense
from trainable.network.architecture import NETWORKS
from trainable.network.grouping import find_layout

log = logging.getLogger("alphaprune")


def find_dense_source(settings: Settings, folder: ExperimentFolder, snapshot: Snapshot, data: Data) -> Path | None:
    """Where the dense network is, in this experiment or another; None if it has to be trained.

    Raises:
        ValueError: if the experiment's own is damaged, or is missing although trials have started from it: it must not
            be replaced unasked. Also if the user's code no longer builds it.
    """
    has_started = any(trial.record.attempt for trial in snapshot.trials)
    if has_started or os.path.lexists(folder.dense_path / FILE_NAME):
        _check_unedited(folder, load_dense(folder.dense_path))
        return folder.dense_path
    return find_dense(folder.path.parent, dense_hash(settings.dense, data.fingerprint, settings.network))


def _check_unedited(folder: ExperimentFolder, dense: DenseNetwork) -> None:
    """Raises ValueError if the user's code builds another network now than the one that has been trained."""
    name = dense.architecture.name
    if name not in NETWORKS and find_layout(dense.architecture) != dense.layout:
        raise ValueError(
            f"network {name!r} must build the network in {folder.dense_path}, but its layers are others now; undo the "
            "change, or start another experiment"
        )


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

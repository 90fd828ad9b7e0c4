"""Leftovers of killed processes that no later start of a trial would remove."""

from collections.abc import Sequence

from records.dense import CHECKPOINT_NAME, ROWS_NAME
from records.dense import FILE_NAME as DENSE_NAME
from records.experiment import ExperimentFolder
from records.files import remove_file, remove_unfinished
from records.network import FILE_NAME as ARCH_NAME
from records.network import WEIGHTS_NAME
from search.snapshot import Snapshot
from trainable.network.layout import FILE_NAME as LAYOUT_NAME
from trainable.recorded_trial import drop_checkpoints

_EXPERIMENT_FILES = ("experiment.json", "driver.json", "report.html")
_DENSE_FILES = (DENSE_NAME, ROWS_NAME, CHECKPOINT_NAME, LAYOUT_NAME, ARCH_NAME, WEIGHTS_NAME)
_TABLES = ("trials.parquet", "epochs.parquet")


def remove_leftovers(folder: ExperimentFolder, snapshot: Snapshot, keep_at_alpha: Sequence[float] = ()) -> None:
    """Removes files that were never finished, and checkpoints of trials that have ended, except those to be kept.

    Nothing is removed that has a name which this project does not give. The caller holds the experiment's lock. This
    stops a worker that outlived its driver and is still writing.
    """
    remove_unfinished(folder.path, _EXPERIMENT_FILES.__contains__)
    remove_unfinished(folder.path / "tables", _TABLES.__contains__)
    remove_unfinished(folder.dense_path, _DENSE_FILES.__contains__)
    remove_unfinished(folder.trials_path, lambda name: name.isascii() and name.isdecimal())
    for each in folder.trial_folders():
        each.remove_unfinished()
    if (folder.dense_path / DENSE_NAME).exists():
        remove_file(folder.dense_path / CHECKPOINT_NAME)
    for trial in snapshot.trials:
        # A failed trial may be run again from its newest checkpoint, and damaged rows do not say which ones to keep.
        if trial.record.state in ("complete", "stopped"):
            checkpoints = trial.folder.list_checkpoints()
            if checkpoints and trial.folder.checkpoint_epoch(checkpoints[0]) <= len(trial.rows):
                drop_checkpoints(trial.folder, trial.rows, keep_at_alpha, newest=0)

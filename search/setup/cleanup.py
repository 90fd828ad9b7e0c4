"""Leftovers of killed processes that no later start of a trial would remove."""

import re
import shutil
from collections.abc import Sequence

from records.dense import FILE_NAME as DENSE_NAME
from records.experiment import ExperimentFolder
from search.snapshot import Snapshot
from trainable.recorded_trial import drop_checkpoints

# The temporary name of a file or a folder that is being written (replace_file, TrialFolder.create).
_ASIDE = re.compile(r"\..+\.[0-9a-f]{8}")


def remove_leftovers(folder: ExperimentFolder, snapshot: Snapshot, keep_at_alpha: Sequence[float] = ()) -> None:
    """Removes files that were never finished, and checkpoints of trials that have ended, except those to be kept.

    The caller holds the experiment's lock. This stops a worker that outlived its driver and is still writing.
    """
    trials = folder.trials_path
    for place in (folder.path, folder.dense_path, trials, *trials.glob("*"), *trials.glob("*/model")):
        for path in place.iterdir() if place.is_dir() else ():
            if _ASIDE.fullmatch(path.name):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if (folder.dense_path / DENSE_NAME).exists():
        (folder.dense_path / "checkpoint.pt").unlink(missing_ok=True)
    for trial in snapshot.trials:
        # A failed trial may be run again from its newest checkpoint, and damaged rows do not say which ones to keep.
        if trial.record.state in ("complete", "stopped"):
            checkpoints = trial.folder.list_checkpoints()
            if checkpoints and trial.folder.checkpoint_epoch(checkpoints[0]) <= len(trial.rows):
                drop_checkpoints(trial.folder, trial.rows, keep_at_alpha, newest=0)

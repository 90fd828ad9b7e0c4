"""What kills leave behind in an experiment that no later start of a trial would come across."""

import re
import shutil
from collections.abc import Sequence

from records.experiment import ExperimentFolder
from search.snapshot import whole_trials
from trainable.recorded_trial import drop_checkpoints

# What was being written aside, a file or a folder (replace_file, TrialFolder.create).
_ASIDE = re.compile(r"\..+\.[0-9a-f]{8}")


def sweep(folder: ExperimentFolder, keep_at_alpha: Sequence[float] = ()) -> None:
    """Removes files that were never finished, and the checkpoints of trials that have ended but for those to be kept.

    The caller holds the experiment's lock. A worker that outlived its driver and is writing right now is stopped by it.
    """
    trials = folder.path / "trials"
    for place in (folder.path, folder.dense, trials, *trials.glob("*"), *trials.glob("*/model")):
        for path in place.iterdir() if place.is_dir() else ():
            if _ASIDE.fullmatch(path.name):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if (folder.dense / "dense.json").exists():
        (folder.dense / "checkpoint.pt").unlink(missing_ok=True)
    for trial, record in whole_trials(folder):
        checkpoints = trial.checkpoints() if record.state in ("complete", "stopped") else []
        # A failed one may be tried again, from its newest; and rows that are damaged do not say which are to be kept.
        if checkpoints and trial.epoch_of(checkpoints[0]) <= len(rows := trial.rows()):
            drop_checkpoints(trial, rows, keep_at_alpha, newest=0)

"""What others watch a running search by: the study as a journal for optuna-dashboard, event files for TensorBoard.

Both are derived from what the search does and never read back.
"""

from collections.abc import Sequence
from typing import Any, Self

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from records.experiment import ExperimentFolder

EVENTS = (
    *("alpha", "lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "pruned_val_accuracy"),
    *("mac_sparsity", "images_per_second"),
)


class StudyMirror:
    """`study.journal`: a copy of the study that optuna-dashboard shows while the search runs."""

    def __init__(self, folder: ExperimentFolder, study: optuna.Study, objectives: Sequence[str]) -> None:
        """Writes the journal anew from `study`: an earlier driver's may be torn, or lack what was done meanwhile."""
        path = folder.path / "study.journal"
        for old in folder.path.glob("study.journal*"):  # and the lock of one that was killed
            old.unlink()
        storage = JournalStorage(JournalFileBackend(str(path)))
        self._study = optuna.create_study(storage=storage, study_name=folder.path.name, directions=study.directions)
        self._study.set_metric_names(list(objectives))
        self._study.add_trials(study.trials)
        # What the study asked for again is not shown, so that its numbers and those here come apart.
        self._numbers = {trial.number: trial.number for trial in study.trials}

    def asked(self, trial: FrozenTrial) -> None:
        """The study asked for `trial`, which is running."""
        self._numbers[trial.number] = len(self._numbers)
        self._study.add_trial(trial)

    def told(self, number: int, state: TrialState, values: list[float] | None) -> None:
        """The study's trial `number` ended."""
        self._study.tell(self._numbers[number], values, state=state)


class EventFiles:
    """`tensorboard/<number>/`: TensorBoard's event files of each trial's rows, written as they come."""

    def __init__(self, folder: ExperimentFolder) -> None:
        self._folder = folder
        self._writers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for number in list(self._writers):
            self.ended(number)

    def row(self, number: int, row: dict[str, Any]) -> None:
        """An epoch of trial `number`; what an earlier, killed driver wrote of it and later ones is hidden."""
        epoch = row["epoch"]
        if number not in self._writers:
            from tensorboardX import SummaryWriter  # takes most of a second to import

            logdir = self._folder.path / "tensorboard" / f"{number:05}"
            self._writers[number] = SummaryWriter(str(logdir), purge_step=epoch, write_to_disk=True)
        for name in EVENTS:
            self._writers[number].add_scalar(name, row[name], epoch)

    def ended(self, number: int) -> None:
        """No more rows of trial `number` will come."""
        if number in self._writers:
            self._writers.pop(number).close()

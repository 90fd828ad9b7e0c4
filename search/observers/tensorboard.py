"""`tensorboard/<number>/`: TensorBoard's event files of each trial's rows, written as they arrive. Never read back."""

from typing import Any

from records.epoch import METRICS, EpochRow
from records.experiment import ExperimentFolder
from search.observers.observer import SearchObserver, SearchStart, StudyResult
from search.snapshot import TrialSnapshot

FOLDER_NAME = "tensorboard"


class TensorBoardFiles(SearchObserver):
    """Writes every metric of every row, one folder per trial."""

    def __init__(self, folder: ExperimentFolder) -> None:
        self._folder = folder
        self._writers: dict[int, Any] = {}

    def search_started(self, start: SearchStart) -> None:
        """Makes the folder, by which a resume knows that event files are wanted."""
        (self._folder.path / FOLDER_NAME).mkdir(exist_ok=True)

    def epoch_done(self, number: int, row: EpochRow) -> None:
        """Hides what an earlier driver that was killed wrote about this epoch and later ones."""
        if number not in self._writers:
            from tensorboardX import SummaryWriter  # takes most of a second to import

            logdir = self._folder.path / FOLDER_NAME / f"{number:05}"
            self._writers[number] = SummaryWriter(str(logdir), purge_step=row.epoch, write_to_disk=True)
        for name in METRICS:
            if (value := getattr(row, name)) is not None:
                self._writers[number].add_scalar(name, value, row.epoch)

    def trial_ended(self, number: int, trial: TrialSnapshot | None, result: StudyResult | None) -> None:
        if number in self._writers:
            self._writers.pop(number).close()

    def search_ended(self) -> None:
        while self._writers:
            self._writers.popitem()[1].close()

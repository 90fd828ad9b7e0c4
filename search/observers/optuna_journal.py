"""`study.journal`: a copy of the study that optuna-dashboard shows while the search runs. Never read back."""

import logging
import re
from collections.abc import Sequence

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from records.experiment import ExperimentFolder
from records.files import remove_file
from search.observers.observer import SearchObserver, SearchStart, StudyResult
from search.snapshot import TrialSnapshot

log = logging.getLogger("alphaprune")

NAME = "study.journal"
# The journal, its lock, and the lock while Optuna gives it up.
_OWN_NAME = re.compile(r"study\.journal(\.lock([0-9a-f-]{36}\.rename)?)?")


class OptunaJournal(SearchObserver):
    """Mirrors the study of a search into the experiment's `study.journal`."""

    _study: optuna.Study | None = None  # None if there cannot be a journal

    def __init__(self, folder: ExperimentFolder, objectives: Sequence[str]) -> None:
        """
        Args:
            folder: of the experiment.
            objectives: their names, as the dashboard shows them.
        """
        self._folder, self._objectives = folder, objectives
        self._numbers: dict[int, int] = {}

    def search_started(self, start: SearchStart) -> None:
        """Rewrites the journal from scratch: an earlier driver's may be torn or incomplete."""
        path = self._folder.path / NAME
        for old in self._folder.path.glob(f"{NAME}*"):
            if _OWN_NAME.fullmatch(old.name):  # and the lock of a driver that was killed
                remove_file(old)
        if path.exists():
            log.warning("%s is a folder, so the study is not mirrored for optuna-dashboard", path)
            return
        storage = JournalStorage(JournalFileBackend(str(path)))
        self._study = optuna.create_study(
            storage=storage, study_name=self._folder.path.name, directions=start.study.directions
        )
        self._study.set_metric_names(list(self._objectives))
        trials = start.study.get_trials(deepcopy=False)
        self._study.add_trials(trials)
        # Repeated suggestions are not shown, so the numbers here drift from those in the study.
        self._numbers = {trial.number: trial.number for trial in trials}

    def trial_asked(self, trial: FrozenTrial) -> None:
        if self._study is None:
            return
        self._numbers[trial.number] = len(self._numbers)
        self._study.add_trial(trial)

    def trial_ended(self, number: int, trial: TrialSnapshot | None, result: StudyResult | None) -> None:
        if self._study is not None and result is not None:
            self._study.tell(self._numbers[result.number], result.values, state=result.state)

"""`study.journal`: a copy of the study that optuna-dashboard shows while the search runs. Never read back."""

from collections.abc import Sequence

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from records.experiment import ExperimentFolder
from search.observers.observer import SearchObserver, SearchStart, StudyResult
from search.snapshot import TrialSnapshot


class OptunaJournal(SearchObserver):
    """Mirrors the study of a search into the experiment's `study.journal`."""

    _study: optuna.Study

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
        path = self._folder.path / "study.journal"
        for old in self._folder.path.glob("study.journal*"):  # and the lock of a driver that was killed
            old.unlink()
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
        self._numbers[trial.number] = len(self._numbers)
        self._study.add_trial(trial)

    def trial_ended(self, number: int, trial: TrialSnapshot | None, result: StudyResult | None) -> None:
        if result is not None:
            self._study.tell(self._numbers[result.number], result.values, state=result.state)

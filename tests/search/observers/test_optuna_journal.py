"""The study as others see it while the search runs: a journal that is rewritten at each start."""

import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from records.experiment import ExperimentFolder
from search.observers.observer import SearchStart, StudyResult
from search.observers.optuna_journal import OptunaJournal
from search.snapshot import Snapshot

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
OBJECTIVES = ("pruned_val_accuracy", "macs")


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    return ExperimentFolder(tmp_path)


def new_study() -> optuna.Study:
    return optuna.create_study(directions=["maximize", "minimize"], sampler=optuna.samplers.RandomSampler(seed=0))


def started(folder: ExperimentFolder, study: optuna.Study) -> OptunaJournal:
    journal = OptunaJournal(folder, OBJECTIVES)
    journal.search_started(SearchStart(study, Snapshot((), frozenset()), planned=9, dense_epochs=0, folder=folder))
    return journal


def seen(folder: ExperimentFolder) -> optuna.Study:
    """The study as another process reads it from the journal."""
    storage = JournalStorage(JournalFileBackend(str(folder.path / "study.journal")))
    return optuna.load_study(study_name=folder.path.name, storage=storage)


def ask(study: optuna.Study, journal: OptunaJournal) -> int:
    trial = study.ask()
    trial.suggest_float("rate", 1, 8)
    journal.trial_asked(study.trials[trial.number])
    return trial.number


def test_asks_and_tells_are_visible_immediately(folder: ExperimentFolder) -> None:
    study = new_study()
    journal = started(folder, study)
    numbers = [ask(study, journal) for _ in range(4)]
    assert [trial.state for trial in seen(folder).trials] == [TrialState.RUNNING] * 4
    journal.trial_ended(9, None, StudyResult(numbers[2], TrialState.COMPLETE, [0.9, 100.0]))
    journal.trial_ended(7, None, StudyResult(numbers[0], TrialState.PRUNED, None))
    journal.trial_ended(8, None, StudyResult(numbers[1], TrialState.FAIL, None))
    states = [TrialState.PRUNED, TrialState.FAIL, TrialState.COMPLETE, TrialState.RUNNING]
    assert [trial.state for trial in seen(folder).trials] == states
    assert [trial.params for trial in seen(folder).trials] == [trial.params for trial in study.trials]
    assert [trial.values for trial in seen(folder).best_trials] == [[0.9, 100.0]]
    assert seen(folder).metric_names == list(OBJECTIVES)


def test_trials_from_outside_the_study_are_not_in_the_journal(folder: ExperimentFolder) -> None:
    """Controls, branches and repeats."""
    study = new_study()
    journal = started(folder, study)
    ask(study, journal)
    journal.trial_ended(0, None, None)
    assert [trial.state for trial in seen(folder).trials] == [TrialState.RUNNING]


def test_numbers_diverge_when_the_study_repeats_itself(folder: ExperimentFolder) -> None:
    """Only the study is told about repeated suggestions, so later trials have other numbers in the journal."""
    study = new_study()
    journal = started(folder, study)
    first = ask(study, journal)
    study.tell(study.ask(), state=TrialState.FAIL)
    third = ask(study, journal)
    assert (first, third) == (0, 2)
    journal.trial_ended(8, None, StudyResult(third, TrialState.COMPLETE, [0.9, 100.0]))
    assert [trial.state for trial in seen(folder).trials] == [TrialState.RUNNING, TrialState.COMPLETE]
    assert seen(folder).trials[1].params == study.trials[2].params


def test_a_resumed_search_rewrites_whatever_a_killed_driver_left(folder: ExperimentFolder) -> None:
    study = new_study()
    ask(study, started(folder, study))
    journal = folder.path / "study.journal"
    journal.write_bytes(journal.read_bytes()[:-7])
    (folder.path / "study.journal.lock").symlink_to(journal)  # JournalFileBackend locks this way
    ask(study, started(folder, study))
    assert [trial.params for trial in seen(folder).trials] == [trial.params for trial in study.trials]


def test_a_killed_driver_leaves_a_readable_journal(folder: ExperimentFolder) -> None:
    code = f"""
import os, pathlib, optuna
from records.experiment import ExperimentFolder
from search.observers.observer import SearchStart
from search.observers.optuna_journal import OptunaJournal
from search.snapshot import Snapshot
study = optuna.create_study(directions=["maximize", "minimize"])
folder = ExperimentFolder(pathlib.Path({str(folder.path)!r}))
journal = OptunaJournal(folder, {OBJECTIVES!r})
journal.search_started(SearchStart(study, Snapshot((), frozenset()), 9, 0, folder))
trial = study.ask()
journal.trial_asked(study.trials[0])
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, check=False)
    assert [trial.state for trial in seen(folder).trials] == [TrialState.RUNNING]

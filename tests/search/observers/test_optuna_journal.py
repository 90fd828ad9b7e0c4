"""What others watch a search by: the mirrored study, and TensorBoard's event files."""

import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from tensorboardX.proto.event_pb2 import Event

from records.experiment import ExperimentFolder
from search.observers.optuna_journal import EVENTS, EventFiles, StudyMirror

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
OBJECTIVES = ("pruned_val_accuracy", "macs")


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    return ExperimentFolder(tmp_path)


def new_study() -> optuna.Study:
    return optuna.create_study(directions=["maximize", "minimize"], sampler=optuna.samplers.RandomSampler(seed=0))


def seen(folder: ExperimentFolder) -> optuna.Study:
    """The study as another process reads it from the journal."""
    storage = JournalStorage(JournalFileBackend(str(folder.path / "study.journal")))
    return optuna.load_study(study_name=folder.path.name, storage=storage)


def ask(study: optuna.Study, mirror: StudyMirror) -> int:
    trial = study.ask()
    trial.suggest_float("rate", 1, 8)
    mirror.asked(study.trials[trial.number])
    return trial.number


def test_what_is_asked_and_told_is_seen_at_once(folder: ExperimentFolder) -> None:
    study = new_study()
    mirror = StudyMirror(folder, study, OBJECTIVES)
    numbers = [ask(study, mirror) for _ in range(4)]
    assert [trial.state for trial in seen(folder).trials] == [TrialState.RUNNING] * 4
    mirror.told(numbers[2], TrialState.COMPLETE, [0.9, 100.0])
    mirror.told(numbers[0], TrialState.PRUNED, None)
    mirror.told(numbers[1], TrialState.FAIL, None)
    states = [TrialState.PRUNED, TrialState.FAIL, TrialState.COMPLETE, TrialState.RUNNING]
    assert [trial.state for trial in seen(folder).trials] == states
    assert [trial.params for trial in seen(folder).trials] == [trial.params for trial in study.trials]
    assert [trial.values for trial in seen(folder).best_trials] == [[0.9, 100.0]]
    assert seen(folder).metric_names == list(OBJECTIVES)


def test_a_resumed_search_writes_it_anew_whatever_a_killed_driver_left(folder: ExperimentFolder) -> None:
    study = new_study()
    ask(study, StudyMirror(folder, study, OBJECTIVES))
    journal = folder.path / "study.journal"
    journal.write_bytes(journal.read_bytes()[:-7])
    (folder.path / "study.journal.lock").symlink_to(journal)  # as JournalFileBackend locks
    ask(study, StudyMirror(folder, study, OBJECTIVES))
    assert [trial.params for trial in seen(folder).trials] == [trial.params for trial in study.trials]


def test_a_killed_driver_leaves_a_journal_that_can_be_read(folder: ExperimentFolder) -> None:
    code = f"""
import os, pathlib, optuna
from search.observers.optuna_journal import StudyMirror
from records.experiment import ExperimentFolder
study = optuna.create_study(directions=["maximize", "minimize"])
mirror = StudyMirror(ExperimentFolder(pathlib.Path({str(folder.path)!r})), study, {OBJECTIVES!r})
trial = study.ask()
mirror.asked(study.trials[0])
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, check=False)
    assert [trial.state for trial in seen(folder).trials] == [TrialState.RUNNING]


def events(folder: ExperimentFolder, number: int) -> dict[str, list[tuple[int, float]]]:
    """The scalars of all event files of a trial, by name: TFRecords of Event protocol buffers."""
    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted((folder.path / "tensorboard" / f"{number:05}").iterdir()):
        content = path.read_bytes()
        while content:
            length = int.from_bytes(content[:8], "little")
            event = Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def test_event_files_have_each_row(folder: ExperimentFolder) -> None:
    with EventFiles(folder) as files:
        for epoch in (1, 2):
            for number in (3, 12):
                files.row(number, {"epoch": epoch, **dict.fromkeys(EVENTS, epoch / 4 + number)})
        files.ended(3)
    for number in (3, 12):
        assert events(folder, number) == {name: [(1, 0.25 + number), (2, 0.5 + number)] for name in EVENTS}

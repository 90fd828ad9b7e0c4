"""TensorBoard's event files: each metric of each row, by trial and epoch."""

from pathlib import Path

import optuna
import pytest
from examples import make_row
from tensorboardX.proto.event_pb2 import Event

from records.epoch import METRICS
from records.experiment import ExperimentFolder
from search.observers.observer import SearchStart
from search.observers.tensorboard import FOLDER_NAME, TensorBoardFiles
from search.snapshot import Snapshot


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    return ExperimentFolder(tmp_path)


def read_events(folder: ExperimentFolder, number: int) -> list[Event]:
    """All events of a trial, in the order of its files: TFRecords of Event protocol buffers."""
    found = []
    for path in sorted((folder.path / "tensorboard" / f"{number:05}").iterdir()):
        content = path.read_bytes()
        while content:
            length = int.from_bytes(content[:8], "little")
            found.append(Event.FromString(content[12 : 12 + length]))
            content = content[16 + length :]
    return found


def events(folder: ExperimentFolder, number: int) -> dict[str, list[tuple[int, float]]]:
    """The scalars of all event files of a trial, by name."""
    found: dict[str, list[tuple[int, float]]] = {}
    for event in read_events(folder, number):
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def test_event_files_contain_every_row(folder: ExperimentFolder) -> None:
    files = TensorBoardFiles(folder)
    for epoch in (1, 2):
        for number in (3, 12):
            files.epoch_done(number, make_row(epoch, **dict.fromkeys(METRICS, epoch / 4 + number)))
    files.trial_ended(3, None, None)
    files.search_ended()
    for number in (3, 12):
        assert events(folder, number) == {name: [(1, 0.25 + number), (2, 0.5 + number)] for name in METRICS}


def test_missing_values_of_a_row_are_left_out(folder: ExperimentFolder) -> None:
    files = TensorBoardFiles(folder)
    files.epoch_done(3, make_row(1, images_per_second=None))
    files.search_ended()
    assert set(events(folder, 3)) == set(METRICS) - {"images_per_second"}


def test_what_a_killed_driver_wrote_about_repeated_epochs_is_hidden(folder: ExperimentFolder) -> None:
    """TensorBoard hides what was logged from the step at which a later writer starts its session."""
    killed = TensorBoardFiles(folder)
    for epoch in (1, 2, 3):
        killed.epoch_done(3, make_row(epoch))
    killed.search_ended()
    resumed = TensorBoardFiles(folder)
    resumed.epoch_done(3, make_row(2))
    resumed.search_ended()
    starts = [event.step for event in read_events(folder, 3) if event.HasField("session_log")]
    assert starts[-1] == 2


def test_a_search_in_which_nothing_ran_leaves_no_files(folder: ExperimentFolder) -> None:
    files = TensorBoardFiles(folder)
    files.trial_ended(3, None, None)
    files.search_ended()
    assert list(folder.path.iterdir()) == []


def test_the_folder_is_there_before_the_first_epoch(folder: ExperimentFolder) -> None:
    """A resume writes event files if it is."""
    start = SearchStart(optuna.create_study(), Snapshot((), frozenset()), planned=3, dense_epochs=2, folder=folder)
    for _ in range(2):
        TensorBoardFiles(folder).search_started(start)
    assert list((folder.path / FOLDER_NAME).iterdir()) == []

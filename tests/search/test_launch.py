"""Where a search runs, who is told about it, and how it is said to have ended."""

from pathlib import Path

from searches import write_experiment

from records.experiment import ExperimentFolder
from search.backends.local import LocalBackend
from search.backends.ray.backend import RayBackend
from search.launch import SearchPlace
from search.observers.tensorboard import FOLDER_NAME, TensorBoardFiles
from search.settings import resolve_settings


def test_its_options_are_those_of_the_place() -> None:
    assert SearchPlace().list_options(data=None) == ()
    place = SearchPlace(local=True, address="auto", tensorboard=True, concurrency=3, gpus_per_trial=0.5)
    assert place.list_options(data="/images", trials=400) == (
        *("--address", "auto", "--data", "/images", "--trials", "400"),
        *("--concurrency", "3", "--gpus-per-trial", "0.5", "--local", "--tensorboard"),
    )


def test_the_place_chooses_the_backend() -> None:
    assert isinstance(SearchPlace(local=True).create_backend(), LocalBackend)
    cluster = SearchPlace(address="10.0.0.1:6379").create_backend()
    assert isinstance(cluster, RayBackend)
    assert cluster.address == "10.0.0.1:6379"


def test_event_files_are_written_if_there_are_any(tmp_path: Path) -> None:
    folder, settings = ExperimentFolder(tmp_path / "search"), resolve_settings({})
    write_experiment(folder, settings)

    def writes_events(place: SearchPlace) -> bool:
        return any(isinstance(each, TensorBoardFiles) for each in place.create_observers(folder, settings, None))

    assert not writes_events(SearchPlace())
    assert writes_events(SearchPlace(tensorboard=True))
    (folder.path / FOLDER_NAME).mkdir()
    assert writes_events(SearchPlace())

"""The commands on experiments as wholes."""

import shutil
from pathlib import Path

import pytest
from experiments import ExperimentBuilder
from searches import alphaprune, write_experiment

from records.experiment import ExperimentFolder
from search.settings import resolve_settings
from search.setup.driver_lock import hold_driver_lock


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    folder = ExperimentFolder(tmp_path / "r" / "e")
    write_experiment(folder, resolve_settings({}))
    return folder


def test_two_experiments_are_compared(tmp_path: Path) -> None:
    for name, accuracy in (("one", 0.8), ("two", 0.9)):
        builder = ExperimentBuilder(tmp_path / name, epochs=3)
        builder.write_dense()
        builder.add_trial(0, control="one_shot", accuracies=(0.1, 0.2, accuracy))
    shown = alphaprune("compare", "one", "two", "--storage", tmp_path).stdout
    for title in ("Settings that differ", "Best of each", "Pareto front of both", "The same trials in both"):
        assert title in shown
    assert "mean difference: +10.00 points over 1 pair" in shown


def test_a_missing_experiment_is_not_compared(folder: ExperimentFolder) -> None:
    assert "'none'" in alphaprune("compare", "e", "none", "--storage", folder.path.parent, code=2).stderr


def test_an_experiment_is_removed_with_all_its_files(folder: ExperimentFolder) -> None:
    storage = folder.path.parent
    (storage / "other").mkdir()
    shown = alphaprune("remove", "e", "--yes", "--storage", storage)
    assert f"removed: {folder.path}" in shown.stderr
    assert [path.name for path in storage.iterdir()] == ["other"]


def test_a_removal_that_is_interrupted_leaves_no_experiment(
    folder: ExperimentFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(path: Path) -> None:
        raise OSError("interrupted")

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", interrupt)
        alphaprune("remove", "e", "--yes", "--storage", folder.path.parent, code=1)
    assert alphaprune("list", "--format", "json", "--storage", folder.path.parent).stdout.strip() == "[]"


def test_nothing_is_removed_unasked(folder: ExperimentFolder) -> None:
    assert "--yes" in alphaprune("remove", "e", "--storage", folder.path.parent, code=2).stderr
    assert folder.record_path.is_file()


def test_an_experiment_that_is_being_run_is_not_removed(folder: ExperimentFolder) -> None:
    with hold_driver_lock(folder):
        refused = alphaprune("remove", "e", "--yes", "--storage", folder.path.parent, code=2)
    assert "already being run" in refused.stderr
    assert folder.record_path.is_file()


def test_only_an_experiment_in_the_storage_is_removed(folder: ExperimentFolder) -> None:
    storage = folder.path.parent
    (storage / "plain").mkdir()
    (storage / "link").symlink_to(folder.path)
    for name in ("plain", "link", "../r/e", ".", str(folder.path)):
        alphaprune("remove", name, "--yes", "--storage", storage, code=2)
    assert (storage / "plain").is_dir()
    assert folder.record_path.is_file()

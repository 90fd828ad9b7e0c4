"""New experiments and new trials: complete or not at all, and never in place of others."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from records.experiment import FORMAT, ExperimentFolder
from records.trial import Parent, TrialRecord
from search.settings import resolve_settings
from search.setup.creation import NewTrial, add_trials, check_writable, create_experiment, find_free_folder
from trainable.config import DataConfig, TrialConfig, as_json
from trainable.data.dataset import Data, load_data


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data(DataConfig(images=40))


def test_a_free_name_is_the_presets_with_the_next_number(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        folder = find_free_folder(tmp_path, "presets/mine.toml", None)
        names.append(folder.path.name)
        assert not folder.path.exists()
        folder.path.mkdir()
    assert names == ["mine", "mine-2", "mine-3"]
    assert find_free_folder(tmp_path, "mine", "other").path == tmp_path / "other"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("taken", "--name must be new, but .*taken' exists"),
        ("a/b", r"--name must be the name of a folder in --storage, .* but got 'a/b'"),
        ("..", "--name must be the name of a folder"),
        (".hidden", "--name must be the name of a folder"),
        ("/taken", "--name must be the name of a folder"),
        ("", "--name must be the name of a folder"),
        ("-x", "begins with neither . nor -, but got '-x'"),
        ("a\nb", r"only printable characters and plain spaces, but got 'a\\nb'"),
        ("a\x1b[31mb", r"only printable characters and plain spaces, but got 'a\\x1b\[31mb'"),
        ("a\x00b", r"only printable characters"),
        ("a\udcffb", r"only printable characters and plain spaces, but got 'a\\udcffb'"),
        ("x" * 201, r"at most 200 bytes, but got 'x+' \(201 bytes\)"),
        ("ü" * 150, r"at most 200 bytes, but got 'ü+' \(300 bytes\)"),
    ],
)
def test_an_invalid_name(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(ValueError, match=says):
        find_free_folder(tmp_path, "mine", name)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_trying_out_a_storage_leaves_no_new_folder(tmp_path: Path) -> None:
    check_writable(tmp_path / "not" / "there" / "yet")
    assert list(tmp_path.iterdir()) == []
    check_writable(tmp_path)
    assert tmp_path.is_dir()


def test_an_unwritable_storage_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nowhere")
    odd = (tmp_path / "link", tmp_path / "link" / "in", tmp_path / ("x" * 300))
    for storage in (tmp_path / "file", tmp_path / "file" / "in", Path("/proc/nowhere"), *odd):
        with pytest.raises(ValueError, match=f"--storage must be a writable folder, but '{storage}' is not: "):
            check_writable(storage)


def test_an_experiments_record_has_everything_that_a_resume_needs(tmp_path: Path, data: Data) -> None:
    folder, settings = ExperimentFolder(tmp_path / "search"), resolve_settings({"search": {"trials": 3}})
    create_experiment(folder, settings, data, "quickstart")
    record = folder.read_record()
    assert (record.name, record.preset, record.format) == ("search", "quickstart", FORMAT)
    assert resolve_settings(record.settings) == settings
    assert record.data.fingerprint == data.fingerprint
    assert (record.data.train_images, record.data.validation_images) == tuple(
        len(split.labels) for split in (data.train, data.validation)
    )
    assert {"python", "torch", "alphaprune"} <= record.versions.keys()
    assert [path.name for path in tmp_path.iterdir()] == ["search"]


def test_an_experiment_that_another_process_has_just_created_is_left_alone(tmp_path: Path, data: Data) -> None:
    folder = ExperimentFolder(tmp_path / "search")
    create_experiment(folder, resolve_settings({}), data, "theirs")
    with pytest.raises(ValueError, match=r"--name must be new, but .*search' was just created"):
        create_experiment(folder, resolve_settings({}), data, "mine")
    assert folder.read_record().preset == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["search"]


def test_a_record_that_cannot_be_written_leaves_no_files(
    tmp_path: Path, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, value: Any) -> None:
        raise OSError("no space is left")

    monkeypatch.setattr("records.experiment.write_record", fail)
    with pytest.raises(OSError, match="no space"):
        create_experiment(ExperimentFolder(tmp_path / "search"), resolve_settings({}), data, "mine")
    assert list(tmp_path.iterdir()) == []


def new_trial(number: int, checkpoint: Path | None = None) -> NewTrial:
    config = TrialConfig(epochs=4, begun=(0.5,))
    return NewTrial(TrialRecord(number, as_json(config), parent=Parent(number=0, epoch=1)), checkpoint)


def test_added_trials_are_written_and_returned_as_if_read(tmp_path: Path) -> None:
    folder = ExperimentFolder(tmp_path / "search")
    checkpoint = tmp_path / "checkpoint-00001.pt"
    checkpoint.write_bytes(b"weights")
    added = add_trials(folder, [new_trial(3, checkpoint), new_trial(4)])
    assert [trial.number for trial in added] == [3, 4]
    assert [trial.record for trial in added] == [folder.trial_folder(number).read_record() for number in (3, 4)]
    assert [trial.rows for trial in added] == [[], []]
    assert added[0].config == TrialConfig(epochs=4, begun=(0.5,))
    assert folder.trial_folder(3).checkpoint_path(1).read_bytes() == b"weights"
    assert folder.trial_folder(4).list_checkpoints() == []


def test_no_new_trial_is_added_if_one_of_the_numbers_is_taken(tmp_path: Path) -> None:
    folder = ExperimentFolder(tmp_path / "search")
    add_trials(folder, [new_trial(4)])
    with pytest.raises(ValueError, match="'search' got new trials while this command was being prepared"):
        add_trials(folder, [new_trial(3), new_trial(4)])
    assert [trial.number for trial in folder.trial_folders()] == [4]


@pytest.mark.parametrize("name", ["x" * 200, "ü" * 100, "a b", "50% [x] #1?", "日本", "a.toml", "it's"])
def test_any_other_name_is_taken(tmp_path: Path, name: str, data: Data) -> None:
    folder = find_free_folder(tmp_path, "mine", name)
    create_experiment(folder, resolve_settings({}), data, "mine")
    assert ExperimentFolder.find(tmp_path, name).read_record().name == name


def test_a_presets_name_that_is_none_for_a_folder_is_refused(tmp_path: Path) -> None:
    for preset in ("x" * 250 + ".toml", "folder/-mine.toml", "two\nlines.toml"):
        with pytest.raises(ValueError, match=r"--name must be .* but the preset's name gives '.*'; choose one"):
            find_free_folder(tmp_path, preset, None)


def test_a_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    storage = tmp_path
    while len(str(storage)) < 3850:
        storage /= "x" * 40
    with pytest.raises(ValueError, match="--storage and --name must make a path of at most 3900 bytes, but got /"):
        find_free_folder(storage, "mine", "x" * 50)
    with pytest.raises(ValueError, match="--storage must be a writable folder"):
        find_free_folder(tmp_path / ("x" * 256), "mine", None)


def test_a_preset_whose_name_is_not_unicode_leaves_a_readable_record(tmp_path: Path, data: Data) -> None:
    folder = ExperimentFolder(tmp_path / "search")
    create_experiment(folder, resolve_settings({}), data, "gr\udcf6sse.toml")
    assert folder.read_record().preset == r"gr\udcf6sse.toml"


def test_the_names_of_the_classes_are_recorded_even_if_they_are_not_unicode(tmp_path: Path, data: Data) -> None:
    for name, names, kept in (
        ("digits", data.class_names, tuple("0123456789")),
        ("none", (), ()),
        ("bytes", ("k\udce4fer", "bee"), (r"k\udce4fer", "bee")),
    ):
        folder = ExperimentFolder(tmp_path / name)
        create_experiment(folder, resolve_settings({}), replace(data, class_names=names), "mine")
        assert folder.read_record().data.class_names == kept

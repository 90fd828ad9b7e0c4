"""An experiment's folder: its record, including those of older and newer versions, and its trials in order."""

import json
from dataclasses import MISSING, asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest

from records import experiment
from records.experiment import FIRST_FORMAT, FORMAT, DataRecord, ExperimentFolder, ExperimentRecord
from records.files import write_json
from records.trial import TrialRecord

RECORD = ExperimentRecord(
    name="search",
    settings={"search": {"trials": 3}},
    data=DataRecord(
        name="digits",
        fingerprint="0123",
        classes=10,
        train_images=150,
        validation_images=50,
        test_images=100,
        class_names=tuple("0123456789"),
    ),
    preset="quickstart",
    versions={"python": "3.11.7"},
    created="2025-01-01T00:00:00.000+00:00",
    format=FORMAT,
)


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    folder = ExperimentFolder(tmp_path / "search")
    folder.path.mkdir()
    folder.write_record(RECORD)
    return folder


def rewrite(folder: ExperimentFolder, **changed: Any) -> None:
    """Changes fields of the record; None removes one."""
    values = {name: value for name, value in {**asdict(RECORD), **changed}.items() if value is not None}
    folder.record_path.write_text(json.dumps(values))


def test_a_record_comes_back_as_it_was(folder: ExperimentFolder) -> None:
    assert folder.read_record() == RECORD


OPTIONAL = {
    each.name for each in fields(ExperimentRecord) if each.default is not MISSING or each.default_factory is not MISSING
}


def test_what_older_records_may_lack() -> None:
    assert {each.name for each in fields(ExperimentRecord)} - OPTIONAL == {"name", "settings"}


@pytest.mark.parametrize("missing", sorted(OPTIONAL))
def test_a_record_from_before_a_field_was_added_is_read(folder: ExperimentFolder, missing: str) -> None:
    rewrite(folder, **{missing: None})
    found = folder.read_record()
    defaults = {"data": DataRecord(), "preset": "", "versions": {}, "created": found.created, "format": FIRST_FORMAT}
    default: Any = defaults.get(missing)
    assert found == replace(RECORD, **{missing: default})


def test_data_from_before_its_classes_were_named_is_read(folder: ExperimentFolder) -> None:
    data = asdict(RECORD.data)
    del data["class_names"]
    rewrite(folder, data=data, format=3)
    assert folder.read_record() == replace(RECORD, data=replace(RECORD.data, class_names=()), format=3)


def test_a_record_without_a_format_has_the_first(folder: ExperimentFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever today's format is."""
    monkeypatch.setattr(experiment, "FORMAT", 7)
    rewrite(folder, format=None)
    assert folder.read_record().format == 1


def test_a_newer_format_is_refused_by_name(folder: ExperimentFolder) -> None:
    rewrite(folder, format=FORMAT + 1)
    expected = rf"^{folder.record_path} was written by a newer version of alphaprune \(format {FORMAT + 1}, and .*\)"
    with pytest.raises(ValueError, match=expected):
        folder.read_record()
    with pytest.raises(ValueError, match=expected) as error:
        ExperimentFolder.find(folder.path.parent, "search")
    assert "\n" not in str(error.value)
    # The rest of it need not be anything that this version knows.
    folder.record_path.write_text(json.dumps({"format": FORMAT + 1, "name": ["search"]}))
    with pytest.raises(ValueError, match="written by a newer version"):
        folder.read_record()


@pytest.mark.parametrize("place", ["", "data"])
def test_an_unknown_field_may_be_from_a_newer_version(folder: ExperimentFolder, place: str) -> None:
    """It would be lost when the record is written again."""
    rewrite(folder, **({"data": {**asdict(RECORD.data), "labels": 3}} if place else {"labels": 3}))
    expected = rf"^{folder.record_path} is damaged: (data\.)?labels is not a field .* may have written it$"
    with pytest.raises(ValueError, match=expected):
        folder.read_record()


@pytest.mark.parametrize(
    "content",
    ["", '{"name": "search"', "[]", "null", '{"name": "search"}', "[" * 100_000, '{"format": "1"}', "\udcff"],
    ids=["empty", "half", "list", "null", "without settings", "deep", "another format", "no text"],
)
def test_a_damaged_record_is_named_and_still_found(folder: ExperimentFolder, content: str) -> None:
    """Whoever asks for the experiment is told what is wrong with it, not that it does not exist."""
    folder.record_path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=rf"^{folder.record_path} is damaged: ") as error:
        folder.read_record()
    assert "\n" not in str(error.value)
    assert ExperimentFolder.find(folder.path.parent, "search") == folder


def test_a_missing_record_is_named(tmp_path: Path) -> None:
    folder = ExperimentFolder(tmp_path / "none")
    with pytest.raises(ValueError, match=rf"^{folder.record_path} is missing$"):
        folder.read_record()


def test_trials_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    experiment = ExperimentFolder(tmp_path)
    assert list(experiment.trial_folders()) == []
    for number in (100, 12, 3):
        experiment.trial_folder(number).create(TrialRecord(number, {}))
    (tmp_path / "trials" / "notes").mkdir()
    assert experiment.trial_names() == ["00003", "00012", "00100"]
    assert [folder.read_record().number for folder in experiment.trial_folders()] == [3, 12, 100]
    assert experiment.trial_folder(12).path == tmp_path / "trials" / "00012"


def test_trials_that_cannot_be_listed_are_not_taken_for_no_trials(tmp_path: Path) -> None:
    (tmp_path / "trials").write_text("a file")
    with pytest.raises(ValueError, match=rf"^{tmp_path}/trials cannot be read: Not a directory$"):
        list(ExperimentFolder(tmp_path).trial_folders())


def test_find_says_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no experiment 'mine'; it holds none yet; `alphaprune run` makes one"):
        ExperimentFolder.find(tmp_path, "mine")
    for name in ("zebra", "ant", ".ant.0123abcd"):  # the last is being created or removed
        (tmp_path / name).mkdir()
        write_json(ExperimentFolder(tmp_path / name).record_path, {})
    (tmp_path / "no-experiment").mkdir()
    with pytest.raises(ValueError, match=rf"^'{tmp_path}' holds no experiment 'mine'; it holds: ant, zebra$"):
        ExperimentFolder.find(tmp_path, "mine")
    assert ExperimentFolder.find(tmp_path, "ant") == ExperimentFolder(tmp_path / "ant")


def test_a_changed_record_is_read_but_says_so(folder: ExperimentFolder) -> None:
    folder.write_record(RECORD)
    folder.check_digest()
    folder.record_path.write_text(folder.record_path.read_text().replace('"classes": 10', '"classes": 16'))
    found = folder.read_record()
    assert found.data.classes == 16
    with pytest.raises(ValueError, match="does not match its digest"):
        folder.check_digest()

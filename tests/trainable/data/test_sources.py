"""What a source is: a name or a folder, and which of its layouts."""

from pathlib import Path

import pytest
from image_data import load, refused

from trainable.data.sources import BUILT_IN, locate_source


def test_unknown_sources(tmp_path: Path, folder: Path) -> None:
    rule = "data must be 'digits', 'cifar10', 'cifar100' or a folder, but "
    assert refused("mnist") == rule + "'mnist' is none of them"
    assert refused(tmp_path / "none") == rule + f"{str(tmp_path / 'none')!r} is none of them"
    assert rule in refused(folder / "train.parquet")
    assert rule in refused("")  # not the current folder
    assert rule in refused("x" * 300)
    layouts = "must hold train.parquet and test.parquet, or train/<class>/* and test/<class>/*, but holds neither"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert refused(empty) == f"{str(empty)!r} {layouts}"
    (empty / "test").mkdir()
    assert "must hold both train and test, but train is missing" in refused(empty)
    (empty / "train").mkdir()
    assert "but train is empty" in refused(empty)
    (folder / "test.parquet").unlink()
    both = f"{str(folder)!r} must hold both train.parquet and test.parquet (or their parts)"
    assert refused(folder) == f"{both}, but test.parquet is missing"


def test_a_folder_named_like_built_in_data_is_given_by_its_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    folder.rename("digits")
    for name in ("cifar10", "cifar100"):
        Path(name).mkdir()
    assert load("digits").classes == 10
    assert load("./digits").classes == 4
    assert [locate_source(name) for name in BUILT_IN] == ["digits", "cifar10", "cifar100"]
    assert locate_source("./digits") == str(folder.parent / "digits")


def test_a_folder_is_recorded_by_its_absolute_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert locate_source(folder.name) == locate_source(f"{folder.name}/") == str(folder)
    assert locate_source("nowhere") == "nowhere"  # refused by that name
    assert locate_source("") == ""


def test_a_folder_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "train.parquet").unlink()
    (folder / "train.parquet").symlink_to("train.parquet")  # a loop
    assert refused(folder).startswith(f"{folder / 'train.parquet'} must be a Parquet file, but ")

"""Once the code of a network has been edited, it is trained again, and the experiments that have one keep it."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from records.experiment import ExperimentFolder
from search.settings import resolve_settings
from search.setup.dense_source import find_dense_source, take_dense
from search.snapshot import Snapshot
from trainable.data.dataset import load_data
from trainable.dense import train_dense
from trainable.network.grouping import find_layout

SETTINGS = resolve_settings(
    {
        "data": {"source": "digits", "images": 100},
        "network": {"name": "edited_network:build"},
        "dense": {"epochs": 1, "optimizer": {"batch_size": 32}},
    }
)
NETWORK = """
from torch import nn


def build(classes):
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes)
    )
"""
NOTHING = Snapshot((), frozenset())


@pytest.fixture
def edit(write_module: Callable[[str, str], None]) -> Callable[[str, str], None]:
    """Writes the module with one string in the place of another, as it is for a new process."""

    def written(old: str, new: str) -> None:
        sys.modules.pop("edited_network", None)
        find_layout.__globals__["_find_layout_of"].cache_clear()
        write_module("edited_network", NETWORK.replace(old, new))

    return written


def test_an_edited_network_is_not_taken_for_the_one_before(edit: Callable[[str, str], None], tmp_path: Path) -> None:
    data = load_data(SETTINGS.data)
    first, second = (ExperimentFolder(tmp_path / name) for name in ("first", "second"))
    edit("", "")
    train_dense(SETTINGS.dense, data, first.dense_path, threads=1, network=SETTINGS.network)
    assert find_dense_source(SETTINGS, second, NOTHING, data) == first.dense_path
    edit("nn.ReLU()", "nn.SiLU()")
    assert find_dense_source(SETTINGS, second, NOTHING, data) is None
    assert take_dense(SETTINGS, second, NOTHING, data) is None
    assert not second.dense_path.exists()


def test_an_experiment_is_not_continued_with_an_edited_network(
    edit: Callable[[str, str], None], tmp_path: Path
) -> None:
    data = load_data(SETTINGS.data)
    folder = ExperimentFolder(tmp_path / "mine")
    edit("", "")
    train_dense(SETTINGS.dense, data, folder.dense_path, threads=1, network=SETTINGS.network)
    edit("def build", "# What nothing depends on.\ndef build")
    assert find_dense_source(SETTINGS, folder, NOTHING, data) == folder.dense_path
    edit("4", "6")
    with pytest.raises(ValueError, match=r"'edited_network:build' must build the network in .*; undo the change"):
        find_dense_source(SETTINGS, folder, NOTHING, data)

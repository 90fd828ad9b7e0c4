"""A function that settings name is found in the user's folder, also by processes whose current folder is another."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from networks import create_dense

from trainable.data.dataset import Data
from trainable.function_import import (
    FOLDER_VARIABLE,
    announce_import,
    import_function,
    is_function_name,
    user_folder,
    user_folder_importable,
)
from trainable.measurement.latency import ENVIRONMENT
from trainable.network.architecture import Architecture
from trainable.network.grouping import find_layout
from trainable.network.weights import save_network

ROOT = Path(__file__).parents[2]
NETWORK = """
from torch import nn


def build(classes):
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(4, classes))
"""


@pytest.fixture(autouse=True)
def _untold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)


@pytest.fixture
def own(write_module: Callable[[str, str], None]) -> None:
    write_module("own_network", NETWORK)


def run_elsewhere(code: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Runs code in another process, whose current folder is this project's."""
    assert folder != ROOT
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_users_folder_is_the_current_one_unless_a_search_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert user_folder() == tmp_path
    monkeypatch.setenv(FOLDER_VARIABLE, "/another")
    assert user_folder() == Path("/another")
    monkeypatch.setenv(FOLDER_VARIABLE, "")
    assert user_folder() == tmp_path


def test_the_folder_is_told_meanwhile_and_comes_last_in_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    before = sys.path.copy()
    with user_folder_importable():
        assert sys.path == [*before, str(tmp_path)]
        assert os.environ[FOLDER_VARIABLE] == str(tmp_path)
        (tmp_path / "below").mkdir()
        monkeypatch.chdir(tmp_path / "below")
        with user_folder_importable():  # the folder stays the one of the command
            assert user_folder() == tmp_path
            assert sys.path == [*before, str(tmp_path)]
        assert os.environ[FOLDER_VARIABLE] == str(tmp_path)
    assert sys.path == before
    assert FOLDER_VARIABLE not in os.environ


def test_it_is_tidied_up_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = sys.path.copy()
    with pytest.raises(KeyError), user_folder_importable():
        raise KeyError
    assert sys.path == before
    assert FOLDER_VARIABLE not in os.environ


@pytest.mark.usefixtures("own")
def test_another_process_finds_the_function(tmp_path: Path) -> None:
    code = "from trainable.function_import import import_function as f; print(f('network', 'own_network:build')(3)[5])"
    alone = run_elsewhere(code, tmp_path)
    assert alone.returncode != 0
    assert f"No module named 'own_network', neither installed nor in {ROOT}" in alone.stderr
    with user_folder_importable():
        told = run_elsewhere(code, tmp_path)
    assert (told.returncode, told.stderr) == (0, "")
    assert "out_features=3" in told.stdout


@pytest.mark.usefixtures("own")
def test_a_measurement_finds_the_function(tmp_path: Path, data: Data) -> None:
    architecture = Architecture("own_network:build", data.classes)
    layout = find_layout(architecture)
    dense = create_dense(architecture.create(0), layout, architecture)
    save_network(dense.network, tmp_path / "dense", architecture, layout.widths, mean=data.mean, std=data.std)
    np.savez(tmp_path / "test.npz", images=data.test.images, labels=data.test.labels)
    test = str(tmp_path / "test.npz")
    job = {"kind": "accuracy", "networks": [str(tmp_path / "dense")], "test": test, "threads": 1}
    with user_folder_importable():
        ran = subprocess.run(
            [sys.executable, "-m", "trainable.measurement.job"],
            input=json.dumps(job),
            cwd=ROOT,
            env={**os.environ, **ENVIRONMENT, "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
            check=True,
        )
    assert json.loads(ran.stdout)["test"]["images"] == len(data.test.labels)


@pytest.mark.usefixtures("own")
def test_who_is_imported_is_said_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="alphaprune")
    announce_import("network", "own_network:build")
    announce_import("network", "no_such_module:build")
    assert "own_network" not in sys.modules
    assert [record.getMessage() for record in caplog.records] == [
        f"importing the network own_network:build from {tmp_path / 'own_network.py'}; its code runs in this process",
        "importing the network no_such_module:build from nowhere; its code runs in this process",
    ]
    assert import_function("network", "own_network:build").__module__ == "own_network"


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("package.module:function", True),
        ("module:function", True),
        ("module", False),
        ("module:", False),
        (":function", False),
        ("module:function.method", False),
        ("a module:function", False),
        ("", False),
    ],
)
def test_the_form_of_a_functions_name(name: str, is_one: bool) -> None:
    assert is_function_name(name) is is_one

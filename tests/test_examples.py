"""The programs in examples/ do what they say, as a user would run them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import alphaprune

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


def run_example(*arguments: str) -> str:
    """What `python ARGUMENTS` prints."""
    return run_python(*arguments, folder=ROOT).stdout


def run_command(*arguments: str, folder: Path, code: int = 0) -> str:
    """What `alphaprune ARGUMENTS` says in `folder`, messages included."""
    ran = run_python("-m", "alphaprune", *arguments, folder=folder, code=code)
    return ran.stderr + ran.stdout


def run_python(*arguments: str, folder: Path, code: int = 0) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    ran = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert ran.returncode == code, ran.stdout + ran.stderr
    return ran


def test_a_space_can_be_unit_tested() -> None:
    assert "3 passed" in run_example("-m", "pytest", "-p", "no:cacheprovider", "-v", str(EXAMPLES / "test_my_space.py"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ones_own_tuner_runs_every_trial() -> None:
    """Ray's OptunaSearch adds what a space suggested to what it returned, by which every trial used to fail."""
    shown = run_example(str(EXAMPLES / "own_tuner.py"))
    assert "3 trials, 0 errors" in shown
    assert "best: 0." in shown


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_trial_runs_in_the_process() -> None:
    rows = run_example(str(EXAMPLES / "one_trial.py")).splitlines()
    assert [row.split()[1] for row in rows[2:]] == ["alpha"] * 3 + ["retrain"] * 3


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_in_python_ends_with_its_ranking() -> None:
    shown = run_example(str(EXAMPLES / "search_in_python.py"))
    assert "quickstart finished: 4 trials, the best is trial" in shown
    assert "more columns: columns='all' shows them" in shown


@pytest.fixture
def own_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the example's folder, which is the current one."""
    folder = shutil.copytree(EXAMPLES / "own_network", tmp_path / "own_network")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ones_own_network_is_searched_measured_exported_and_loaded(own_network: Path) -> None:
    smaller = ("data.images=500", "dense.epochs=3", "trial.epochs=3", "controls.kinds=[]")
    less = ("--trials", "2", *(f"--set={each}" for each in smaller))
    planned = run_command("run", "search.toml", "--name", "mine", *less, folder=own_network)
    assert "importing the network my_network:my_network from" in planned
    assert "never cut: 3.squeeze: no batch normalisation comes after it" in planned
    experiment = alphaprune.load("mine")
    assert (experiment.trials.state == "complete").all()
    measured = run_command("measure", "mine", "--top", "1", folder=own_network)
    assert "cannot be measured" not in measured
    best = int(experiment.rank().index[0])
    assert experiment.trial(best).measurement is not None

    run_command("export", "mine", str(best), "--to", "network", folder=own_network)
    run_command("export", "mine", str(best), "--to", "network.onnx", "--format", "onnx", folder=own_network)
    images = torch.rand(3, 3, 32, 32)
    with torch.inference_mode():
        logits = alphaprune.load_pruned("network")(images)
    assert logits.shape == (3, 10)
    exported = torch.export.load("network/model.pt2").module()(images)
    torch.testing.assert_close(exported, logits)
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession("network.onnx", providers=["CPUExecutionProvider"])
    (by_onnx,) = session.run(None, {"images": images.numpy()})
    np.testing.assert_allclose(by_onnx, logits, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_what_cannot_be_cut_is_explained(own_network: Path) -> None:
    def plan(function: str, code: int) -> str:
        options = "--local", "--dry-run", "--set", f"network.name='unsupported:{function}'"
        return run_command("run", "search.toml", *options, folder=own_network, code=code)

    reason = "first.0: first.1 is of the class GroupNorm, which is not supported"
    assert f"never cut: {reason}" in plan("one_group_norm", 0)
    assert f"must have channels that can be cut, but has none: {reason}; second.0" in plan("only_group_norm", 2)


def test_every_example_is_tested() -> None:
    text = Path(__file__).read_text()
    assert all(path.stem in text for path in EXAMPLES.glob("**/*.py"))

"""`--dry-run`: the plan of a search, of which nothing is started and nothing is written."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from networks import create_vgg16, scale_widths
from searches import TINY, alphaprune, write_experiment

from records.experiment import DataRecord, ExperimentFolder, ExperimentRecord
from records.trial import TrialRecord
from search.settings import as_settings_json, resolve_settings
from search.setup.driver_lock import hold_driver_lock
from trainable.config import DataConfig, TrialConfig, as_json
from trainable.data.dataset import load_data


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def list_files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("how", [["--local"], []])
def test_the_plan_of_a_run_is_shown_and_nothing_is_left(settings: Path, how: list[str], tmp_path: Path) -> None:
    before = list_files(tmp_path)
    shown = alphaprune("run", settings, "--storage", tmp_path / "r", "--dry-run", *how)
    assert shown.stdout == ""
    for words in (
        f"experiment: {tmp_path / 'r' / 'tiny'}",
        "6 trials, at most 18 epochs in total, after 2 epochs for the dense network",
        f"about {'1.7' if how else '3.4'} MB of memory for the images",
        "MB of disk space",
        "how long it takes will be estimated after the first epoch of the dense network",
        "nothing has been started",
    ):
        assert words in shown.stderr
    assert list_files(tmp_path) == before


def test_a_run_that_would_be_refused_is_refused(settings: Path, tmp_path: Path) -> None:
    for wrong in (["--data", "nowhere"], ["--gpus-per-trial", "64"], ["--set", "space.options.amounts=[1.5]"]):
        refused = alphaprune("run", settings, "--storage", tmp_path / "r", "--dry-run", *wrong, code=2)
        assert refused.stderr.splitlines()[-1].startswith("alphaprune: ")


def test_no_cluster_is_started(settings: Path, tmp_path: Path) -> None:
    code = "import sys; from search.cli import main; sys.argv = sys.argv[1:]; "
    code += "import atexit; atexit.register(lambda: print('ray' in sys.modules)); main()"
    command = [sys.executable, "-c", code, "alphaprune", "run", settings, "--storage", tmp_path / "r", "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("name", "said"), [("cifar10", "CIFAR-10 is not here yet"), ("cifar100", "CIFAR-100 is not here yet")]
)
def test_data_that_would_be_downloaded_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    arguments = ("run", "cifar10", "--data", name, "--storage", tmp_path / "r", "--dry-run", "--local")
    shown = alphaprune(*arguments, "--set", "data.images=1000")
    assert said in shown.stderr
    assert "begins by downloading it" in shown.stderr
    assert "about 33.8 MB of memory for the images" in shown.stderr
    assert "215 trials, at most 12,900 epochs" in shown.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_plan_of_a_resume_counts_what_is_left(tmp_path: Path) -> None:
    folder, resolved = ExperimentFolder(tmp_path / "e"), resolve_settings({"trial": {"epochs": 3}})
    write_experiment(folder, resolved)
    data = load_data(DataConfig())
    record = folder.read_record()
    folder.write_record(
        ExperimentRecord(
            name="e",
            settings=as_settings_json(resolved),
            data=DataRecord(name="digits", fingerprint=data.fingerprint, classes=10, train_images=1294),
            created=record.created,
        )
    )
    config = as_json(TrialConfig(epochs=3))
    folder.trial_folder(0).create(TrialRecord(0, config, control="one_shot", state="failed", error="x"))
    before = list_files(tmp_path)
    arguments = ("resume", "e", "--storage", tmp_path, "--local", "--dry-run")
    assert "55 trials, at most 165 epochs" in alphaprune(*arguments).stderr
    assert "66 trials, at most 198 epochs" in alphaprune(*arguments, "--trials", 60, "--retry-failed").stderr
    alphaprune(*arguments, "--trials", 3, code=2)
    assert list_files(tmp_path) == before
    with hold_driver_lock(folder):
        assert "already being run" in alphaprune(*arguments, code=2).stderr


def test_given_weights_are_not_needed_once_the_network_has_been_taken(settings: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.pt"
    torch.save(create_vgg16(scale_widths(1 / 16), 10, seed=0).state_dict(), weights)
    where = ("--storage", tmp_path / "r", "--local")
    alphaprune("run", settings, *where, "--trials", 0, "--set", f'dense.weights="{weights}"')
    weights.unlink()
    assert "1 trial, at most 3 epochs" in alphaprune("resume", "tiny", *where, "--trials", 1, "--dry-run").stderr
    alphaprune("resume", "tiny", *where, "--trials", 1)

"""Whole searches on small data, with Ray Tune and in one process. Real trials, real processes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from searches import TINY, alphaprune
from typer.testing import Result

from records.experiment import ExperimentFolder
from records.files import read_json
from records.network import read_network_record
from trainable.dense import copy_dense
from trainable.network.weights import load_network, read_architecture, save_network

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

TIMES = {"epoch_seconds", "images_per_second"}


def rows_of(folder: ExperimentFolder) -> dict[int, list[dict[str, Any]]]:
    return {
        trial.read_record().number: [
            {k: v for k, v in row.as_values().items() if k not in TIMES} for row in trial.read_rows()
        ]
        for trial in folder.trial_folders()
    }


def untimed(line: str) -> dict[str, Any]:
    return {k: v for k, v in json.loads(line).items() if k not in TIMES}


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def settings(storage: Path) -> Path:
    path = storage / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="module")
def clustered(storage: Path, settings: Path) -> tuple[ExperimentFolder, Result]:
    # One trial at a time, so that the study suggests the same trials as in one process.
    result = alphaprune("run", settings, "--storage", storage, "--name", "tune", "--concurrency", "1")
    return ExperimentFolder(storage / "tune"), result


@pytest.fixture(scope="module")
def local(storage: Path, settings: Path, clustered: tuple[ExperimentFolder, Result]) -> tuple[ExperimentFolder, Result]:
    result = alphaprune("run", settings, "--storage", storage, "--name", "local", "--local")
    return ExperimentFolder(storage / "local"), result


def test_a_search_leaves_a_complete_experiment(clustered: tuple[ExperimentFolder, Result]) -> None:
    folder, result = clustered
    records = [trial.read_record() for trial in folder.trial_folders()]
    assert [record.number for record in records] == list(range(6))
    assert [record.control for record in records] == ["one_shot", "random_channels", "from_scratch", None, None, None]
    assert {record.state for record in records} == {"complete"}
    assert {record.attempt for record in records} == {1}
    for trial in folder.trial_folders():
        assert [row.epoch for row in trial.read_rows()] == [1, 2, 3]
        assert (trial.model_path / "model.safetensors").is_file()
        assert trial.list_checkpoints() == []
    experiment = read_json(folder.record_path)
    assert experiment["settings"]["trial"]["epochs"] == 3
    assert experiment["data"]["train_images"] == 150
    assert (folder.dense_path / "dense.json").is_file()
    assert not (folder.path / ".tune").exists()
    for words in ("one-shot (control)", "training from scratch (control)", "dense"):
        assert words in result.stdout
    assert "of 6 trials" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_same_trials_have_the_same_rows_in_one_process(
    clustered: tuple[ExperimentFolder, Result], local: tuple[ExperimentFolder, Result]
) -> None:
    assert rows_of(local[0]) == rows_of(clustered[0])
    assert all(len(rows) == 3 for rows in rows_of(local[0]).values())
    assert "the dense network is taken from experiment 'tune': " in local[1].stderr


def test_a_recorded_trial_is_recomputed(storage: Path, clustered: tuple[ExperimentFolder, Result]) -> None:
    before = {path: path.stat().st_mtime_ns for path in clustered[0].path.rglob("*")}
    shown = alphaprune("trial", "tune", 4, "--storage", storage)
    assert "same as recorded: yes, 3 of 3 epochs" in shown.stderr
    assert [untimed(line) for line in shown.stdout.splitlines()] == rows_of(clustered[0])[4]
    assert {path: path.stat().st_mtime_ns for path in clustered[0].path.rglob("*")} == before
    assert "0 to 5" in alphaprune("trial", "tune", 99, "--storage", storage, code=2).stderr
    wrong = alphaprune("trial", "tune", 4, "--storage", storage, "--data", "nowhere", code=2)
    assert "nowhere" in wrong.stderr


@pytest.mark.parametrize("name", ["tune", "local"])
def test_rank_and_status_read_both(storage: Path, local: object, name: str) -> None:
    ranked = json.loads(alphaprune("rank", name, "--storage", storage, "--format", "json").stdout)
    assert sorted(row["number"] for row in ranked) == list(range(6))
    assert any(row["on_front"] for row in ranked)
    csv = alphaprune("rank", name, "--storage", storage, "--format", "csv", "--top", 2).stdout
    assert len(csv.strip().splitlines()) == 3
    assert "complete" in alphaprune("status", name, "--storage", storage).stdout
    where = alphaprune("rank", name, "--storage", storage, "--where", "control == 'one_shot'", "--format", "json")
    assert [row["number"] for row in json.loads(where.stdout)] == [0]
    assert "did you mean" in alphaprune("rank", name, "--storage", storage, "--by", "acuracy", code=2).stderr


def test_a_trial_from_a_file_is_an_experiment_of_its_own(storage: Path, settings: Path, local: object) -> None:
    confirm = ("--set=confirm.top=1", "--set=confirm.seeds=1")  # which is for searches
    alphaprune("trial", settings, "--storage", storage, "--name", "single", *confirm)
    folder = ExperimentFolder(storage / "single")
    (record,) = [trial.read_record() for trial in folder.trial_folders()]
    assert record.control is None
    assert record.config == read_json(folder.record_path)["settings"]["trial"]


def test_losing_trials_are_stopped_and_reported(storage: Path, settings: Path, local: object) -> None:
    stop = [f"--set=search.early_stopping.{each}" for each in ("enabled=true", "first=0.3", "reduction=4")]
    alphaprune("run", settings, "--storage", storage, "--name", "stopping", "--trials", 8, *stop)
    records = {
        trial.read_record().number: trial.read_record()
        for trial in ExperimentFolder(storage / "stopping").trial_folders()
    }
    assert {records[number].state for number in range(3)} == {"complete"}  # controls run to their end
    stopped = [record for record in records.values() if record.state == "stopped"]
    assert stopped
    for record in stopped:
        trial = ExperimentFolder(storage / "stopping").trial_folder(record.number)
        assert len(trial.read_rows()) < 3
        assert record.finished
        assert trial.list_checkpoints() == []
        assert not trial.model_path.exists()


@pytest.mark.parametrize("how", [["--local"], []])
def test_a_diverging_trial_fails_and_the_search_continues(
    storage: Path, settings: Path, local: object, tmp_path: Path, how: list[str]
) -> None:
    """The dense network is found by its hash, so a search can be given one that no trial survives."""
    dense = tmp_path / "sick" / "dense"
    copy_dense(storage / "tune" / "dense", dense)
    network, record = load_network(dense), read_network_record(dense)
    torch.nn.init.constant_(network.classifier.weight, torch.inf)
    save_network(network, dense, read_architecture(record), record.widths, mean=(0.5,) * 3, std=(0.5,) * 3)
    result = alphaprune("run", settings, "--storage", tmp_path, "--name", "run", "--trials", 1, *how)
    records = [trial.read_record() for trial in ExperimentFolder(tmp_path / "run").trial_folders()]
    # Trials that do not start from the dense network are unharmed.
    assert [record.state for record in records] == ["failed", "failed", "complete", "failed"]
    assert "epoch 1: the network's output is no longer finite" in (records[0].error or "")
    assert "epoch 1: the training loss is nan at learning rate" in (records[3].error or "")
    assert "trial 0 failed" in result.stderr

    none = alphaprune(
        *("run", settings, "--storage", tmp_path, "--name", "none", "--trials", 1),
        *("--set", "controls.kinds=['one_shot']", *how),
        code=1,
    )
    assert "all trials failed, so the search ends here: epoch 1" in none.stderr

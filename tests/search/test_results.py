"""A search to its very end: measurements, report, repeats with other seeds, export. Real processes."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
import torch
from nbclient import NotebookClient
from searches import TINY, alphaprune, ended, run, start, wait_for
from typer.testing import Result

import analysis
from records.dense import read_dense_record
from records.experiment import ExperimentFolder
from records.files import read_json
from records.trial import BUDGETS
from trainable.cpus import count_cpus
from trainable.measurement import machine_lock, protocol
from trainable.network.weights import load_pruned

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

# One control and two trials: a measurement takes seconds per trial, most of them to start its processes.
WITH_RESULTS = (
    TINY.replace("measure = false\nreport = false", "measure = true\nreport = true")
    .replace("[controls]", "[controls]\nkinds = ['one_shot']")
    .replace("trials = 3", "trials = 2")
)


@pytest.fixture(scope="module", autouse=True)
def _short_measurements() -> Iterator[None]:
    """What is measured counts here, not how exactly."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol, "LATENCY_SECONDS", 0.1)
        yield


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def finished(storage: Path) -> tuple[ExperimentFolder, Result]:
    (storage / "search.toml").write_text(WITH_RESULTS)
    ran = alphaprune("run", storage / "search.toml", "--storage", storage, "--local", "--tensorboard")
    return ExperimentFolder(storage / "search"), ran


def measured(folder: ExperimentFolder) -> dict[int, dict[str, Any]]:
    paths = {trial.number: trial.model_path / "measure.json" for trial in folder.trial_folders()}
    return {number: read_json(path) for number, path in paths.items() if path.exists()}


def test_the_front_and_the_controls_are_measured(finished: tuple[ExperimentFolder, Result]) -> None:
    folder, _ = finished
    experiment = analysis.load(folder.path)
    assert set(measured(folder)) == {*experiment.pareto().index, *experiment.controls.index}
    for number, found in measured(folder).items():
        trial = experiment.trials.loc[number]
        assert trial["batch32_speedup"] == found["latency"][1]["speedup"]["median"]
        assert trial["size_bytes"] == (folder.trial_folder(number).model_path / "model.safetensors").stat().st_size
        assert found["dense"]["macs"] == read_dense_record(folder.dense_path).macs
        assert found["pruned"]["macs"] == trial["macs"]
        assert found["pruned"]["test"]["images"] == folder.read_record().data.test_images
        assert found["threads"] == count_cpus()
    assert experiment.dense_measure["size_bytes"] > experiment.trials["size_bytes"].max()


def test_the_run_ends_with_what_was_measured_and_the_report(finished: tuple[ExperimentFolder, Result]) -> None:
    folder, ran = finished
    assert "test" in ran.stdout  # the columns
    assert ran.stderr.strip().splitlines()[-1] == f"report: {folder.path / 'report.html'}"
    assert (folder.path / "report.html").stat().st_size > 1_000_000  # plotly is inside
    assert {path.name for path in (folder.path / "tensorboard").iterdir()} == {f"{n:05}" for n in range(3)}
    assert (folder.path / "study.journal").exists()


def test_derived_files_can_be_deleted_and_come_back(finished: tuple[ExperimentFolder, Result]) -> None:
    folder, _ = finished
    before = analysis.load(folder.path)
    for name in ("report.html", "study.journal"):
        (folder.path / name).unlink()
    shutil.rmtree(folder.path / "tables", ignore_errors=True)  # not written yet if all this took less than two seconds
    (folder.trial_folder(0).model_path / "measure.json").unlink()
    alphaprune("resume", "search", "--storage", folder.path.parent, "--local")
    assert (folder.path / "report.html").exists()
    assert (folder.path / "study.journal").exists()
    after = analysis.load(folder.path)
    assert after.trials["pruned_val_accuracy"].equals(before.trials["pruned_val_accuracy"])
    assert (folder.trial_folder(0).model_path / "measure.json").exists()


def test_a_measurement_waits_for_training(finished: tuple[ExperimentFolder, Result], tmp_path: Path) -> None:
    folder, _ = finished
    log = tmp_path / "log"
    process = start("measure", "search", "--top", "1", "--storage", folder.path.parent, log=log)
    with ended(process):
        with machine_lock.training_allowed():
            wait_for(lambda: "waiting for the training" in log.read_text(), what="the message")
            assert process.poll() is None
        assert process.wait(timeout=180) == 0, log.read_text()


def test_measure_selects_as_told(finished: tuple[ExperimentFolder, Result]) -> None:
    folder, _ = finished
    before = measured(folder)
    alphaprune("measure", "search", "--all", "--storage", folder.path.parent)
    after = measured(folder)
    assert set(after) == {trial.number for trial in folder.trial_folders()}
    assert all(after[number]["created"] > found["created"] for number, found in before.items())


def test_a_damaged_network_is_reported_and_the_others_are_measured(
    finished: tuple[ExperimentFolder, Result], tmp_path: Path
) -> None:
    folder, _ = finished
    copy = ExperimentFolder(tmp_path / "copy")
    shutil.copytree(folder.path, copy.path)
    weights = copy.trial_folder(1).model_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    before = measured(copy)
    ran = run("measure", "copy", "--storage", tmp_path)
    assert ran.returncode == 0
    assert "trial 1: " in ran.stderr
    assert "damaged" in ran.stderr
    assert "Traceback" not in ran.stderr
    after = measured(copy)
    assert after[1] == before[1]
    assert after[0]["created"] > before[0]["created"]


def test_confirm_ranks_by_the_means_over_other_seeds(finished: tuple[ExperimentFolder, Result]) -> None:
    folder, _ = finished
    ran = alphaprune("confirm", "search", "--top", 1, "--seeds", 2, "--storage", folder.path.parent, "--local")
    assert "4 repeats with other seeds" in ran.stderr
    experiment = analysis.load(folder.path)
    added = experiment.trials[experiment.trials["confirms"].notna()]
    assert sorted(added["kind"]) == ["repeat"] * 4 + ["twin"] * 4
    assert set(added["state"]) == {"complete"}
    assert added["test_accuracy"].notna().all()
    repeats = added[added["kind"] == "repeat"]
    assert repeats["batch1_latency_ms"].isna().all()  # the same widths: as fast as what they repeat
    ranked = experiment.rank()
    assert set(ranked["seeds"]) == {0, 2}
    for number, row in ranked[ranked["seeds"] == 2].iterrows():
        own = repeats[repeats["confirms"] == number]
        assert row["pruned_val_accuracy"] == pytest.approx(own["pruned_val_accuracy"].mean())
        assert row["test_accuracy_std"] == pytest.approx(own["test_accuracy"].std())
    assert not set(ranked.index) & set(added.index)
    _check_twins(folder, added)
    rank_json = json.loads(alphaprune("rank", "search", "--storage", folder.path.parent, "--format", "json").stdout)
    assert [row["number"] for row in rank_json] == list(ranked.index)


def _check_twins(folder: ExperimentFolder, added: pd.DataFrame) -> None:
    """Each twin cuts the same channels as its repeat, sees the same images, and costs as much or a little less."""
    (original,) = set(added.loc[added["kind"] == "twin", "confirms"])
    for seed in set(added["seed"]):
        trio = added[(added["confirms"] == original) & (added["seed"] == seed)]
        repeat, epochs, compute = (trio[trio["twin"].isna()], *(trio[trio["twin"] == each] for each in BUDGETS))
        assert len(repeat) == len(epochs) == len(compute) == 1
        cuts = {folder.trial_folder(number).read_record().cut.widths for number in trio.index}  # type: ignore[union-attr]
        assert len(cuts) == 1
        cost = repeat["training_cost"].item()
        assert epochs["epochs_done"].item() == repeat["epochs_done"].item()
        kept = 1 - repeat["mac_sparsity"].item()
        assert cost - kept < compute["training_cost"].item() <= cost + 1e-6
        assert compute["epochs_done"].item() > repeat["epochs_done"].item()


def test_export(finished: tuple[ExperimentFolder, Result], tmp_path: Path) -> None:
    folder, _ = finished
    ran = alphaprune("export", "search", 2, "--to", tmp_path / "network", "--storage", folder.path.parent)
    assert ran.stdout.strip() == str(tmp_path / "network")
    exported, original = load_pruned(tmp_path / "network"), load_pruned(folder.trial_folder(2).model_path)
    images = torch.randn(3, 3, 32, 32)
    assert torch.equal(exported(images), original(images))
    alphaprune("export", "search", 2, "--to", tmp_path / "network", "--storage", folder.path.parent, code=2)
    alphaprune("export", "search", 99, "--to", tmp_path / "other", "--storage", folder.path.parent, code=2)


def test_the_notebook_runs_from_end_to_end(
    finished: tuple[ExperimentFolder, Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = finished
    shutil.copytree(folder.path, tmp_path / "other")
    monkeypatch.setenv("ALPHAPRUNE_EXPERIMENTS", f"{folder.path}:{tmp_path / 'other'}")
    notebook = nbformat.read(Path(analysis.__file__).parent / "notebooks" / "explore.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # results are not committed
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    drawn = [output for output in outputs if "application/vnd.plotly.v1+json" in output.get("data", {})]
    assert len(drawn) == 4
    assert not [output for output in outputs if output["output_type"] == "error"]


def test_a_missing_experiment_gets_one_line(tmp_path: Path) -> None:
    for command in (("measure",), ("report",), ("confirm",), ("export", 1, "--to", tmp_path / "x")):
        result = alphaprune(command[0], "missing", *command[1:], "--storage", tmp_path, code=2)
        assert len(result.stderr.strip().splitlines()) == 1
        assert list(tmp_path.iterdir()) == []


def test_an_ascii_only_terminal(finished: tuple[ExperimentFolder, Result]) -> None:
    folder, _ = finished
    ran = subprocess.run(
        [sys.executable, "-m", "alphaprune", "rank", "search", "--storage", str(folder.path.parent)],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, b"")

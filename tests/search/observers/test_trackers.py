"""MLflow and Weights & Biases, both offline: one run per trial, and the report at the end."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from searches import TINY

import alphaprune
from search.observers.observer import GuardedCallback

pytest.importorskip("mlflow")
pytest.importorskip("wandb")

OPTIONS: dict[str, Any] = {"controls.kinds": [], "trial.epochs": 2, "trial.alpha_fraction": 0.5, "results.report": True}


class InterruptOnce(alphaprune.SearchObserver):
    """Ctrl-C after the first epoch of trial 1."""

    has_interrupted = False

    def epoch_done(self, number: int, row: Any) -> None:
        if number == 1 and not self.has_interrupted:
            self.has_interrupted = True
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def searched(storage: Path) -> Iterator[tuple[alphaprune.Experiment, Any]]:
    """A search of two trials that was interrupted and continued, and what MLflow has of it."""
    preset = storage / "tiny.toml"
    preset.write_text(TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        patch.setenv("MLFLOW_TRACKING_URI", f"file:{storage / 'mlruns'}")
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_DIR", str(storage))

        def callbacks() -> list[alphaprune.SearchObserver]:
            return [alphaprune.MLflowCallback(), alphaprune.WandbCallback(project="tests")]

        how: dict[str, Any] = {"storage": storage, "local": True, "progress": False}
        interrupted = [*callbacks(), InterruptOnce()]
        with pytest.raises(KeyboardInterrupt):
            alphaprune.run(preset, trials=2, callbacks=interrupted, **how, **OPTIONS)
        experiment = alphaprune.resume("tiny", callbacks=callbacks(), **how)
        from mlflow import MlflowClient

        yield experiment, MlflowClient()


@pytest.mark.filterwarnings("ignore")
def test_mlflow_has_a_run_per_trial(searched: tuple[alphaprune.Experiment, Any]) -> None:
    experiment, client = searched
    runs = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    (search,) = (run for run in runs if run.info.run_name == "tiny")
    trials = {run.info.run_name.split()[1]: run for run in runs if run is not search}
    assert trials.keys() == {"0", "1"}
    for number, run in trials.items():
        rows = experiment.epochs[experiment.epochs.index == int(number)]
        logged = client.get_metric_history(run.info.run_id, "pruned_val_accuracy")
        assert {each.step: each.value for each in logged} == dict(
            zip(rows["epoch"], rows["pruned_val_accuracy"], strict=True)
        )
        assert run.data.params["pruning.amount"] == "0.5"
        assert run.data.tags["mlflow.parentRunId"] == search.info.run_id
        assert run.info.status == "FINISHED"
    assert search.info.status == "FINISHED"
    assert search.data.tags["alphaprune.summary"].startswith("tiny finished: 2 trials")
    assert [each.path for each in client.list_artifacts(search.info.run_id)] == ["report.html"]


def test_wandb_has_a_run_per_trial(searched: tuple[alphaprune.Experiment, Any], storage: Path) -> None:
    """Offline runs are folders; the metrics in them are in a format of its own."""
    # By the files' names: a folder's name gets a number at its end where a run starts twice in the same second.
    runs = list((storage / "wandb").glob("offline-run-*/run-*.wandb"))
    origins, parts = zip(*(run.stem.removeprefix("run-").split("-") for run in runs), strict=True)
    assert set(parts) == {"0", "1", "search"}
    assert len(set(origins)) == 1
    contents = b"".join(path.read_bytes() for path in runs)
    for words in (b"pruned_val_accuracy", b"tests", b"report.html", b"tiny finished: 2 trials"):
        assert words in contents


def test_a_tracker_that_fails_does_not_end_the_search(
    tmp_path: Path, storage: Path, searched: object, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "mlruns").write_text("not a folder")
    unreachable = alphaprune.MLflowCallback("http://localhost:9")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        alphaprune.resume("tiny", storage=storage, local=True, callbacks=[unreachable], progress=False)
    assert "the callback MLflowCallback is left out from now on: its search_started raised" in caplog.text
    assert json.loads((storage / "tiny" / "driver.json").read_text())["reason"] is None


def test_a_guarded_callback_passes_everything_on() -> None:
    passed = set(vars(GuardedCallback)) & set(vars(alphaprune.SearchObserver))
    hooks = {name for name in vars(alphaprune.SearchObserver) if not name.startswith("_")}
    assert hooks <= passed

"""`import alphaprune`: what the commands do, as functions that return experiments and raise exceptions."""

import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from pandas.testing import assert_frame_equal
from searches import TINY
from searches import alphaprune as command

import alphaprune
from search.preset_files import read_preset
from search.settings import Settings, resolve_settings

ROOT = Path(__file__).parents[2]


class Recorder(alphaprune.SearchObserver):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.ends: list[alphaprune.ExperimentEnd] = []

    def search_started(self, start: alphaprune.SearchStart) -> None:
        self.calls.append(f"start {start.folder.path.name}")

    def epoch_done(self, number: int, row: Any) -> None:
        self.calls.append(f"epoch {number}.{row.epoch}")

    def trial_ended(self, number: int, trial: Any, result: Any) -> None:
        self.calls.append(f"end {number}")

    def search_ended(self) -> None:
        self.calls.append("search ended")

    def experiment_ended(self, end: alphaprune.ExperimentEnd) -> None:
        self.ends.append(end)


class Interrupter(alphaprune.SearchObserver):
    """Ctrl-C during the first epoch of trial 1."""

    def epoch_done(self, number: int, row: Any) -> None:
        if number == 1:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("preset") / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def searched(preset: Path, storage: Path) -> tuple[alphaprune.Experiment, Recorder]:
    """A search of one control and two trials, of which the callback saw everything."""
    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HOME", str(storage.parent))
        experiment = alphaprune.run(
            preset,
            storage=f"~/{storage.name}",
            trials=2,
            local=True,
            callbacks=[recorder],
            progress=False,
            **{"controls.kinds": ["one_shot"], "trial.epochs": 2, "trial.alpha_fraction": 0.5},
        )
    return experiment, recorder


def test_importing_it_is_cheap() -> None:
    code = "import sys; before = set(sys.modules); import alphaprune; print(*set(sys.modules) - before)"
    began = time.monotonic()
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert time.monotonic() - began < 5  # 0.05 s on a quiet machine
    assert not {name.split(".")[0] for name in loaded.split()} & {"pandas", "torch", "ray", "optuna", "pydantic"}


def test_every_name_can_be_imported() -> None:
    assert sorted(alphaprune._MODULES) == alphaprune.__all__ == dir(alphaprune)
    for name in alphaprune.__all__:
        assert getattr(alphaprune, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = alphaprune.nonsense


def test_a_search_returns_its_experiment(searched: tuple[alphaprune.Experiment, Recorder], storage: Path) -> None:
    experiment, _ = searched
    assert experiment.name == "tiny"
    assert experiment.path == storage / "tiny"
    assert experiment.trials["kind"].tolist() == ["control", "searched", "searched"]
    assert set(experiment.trials["state"]) == {"complete"}
    assert experiment.settings["trial"]["epochs"] == 2
    assert experiment.settings["search"]["trials"] == 2


def test_callbacks_are_told_everything_in_order(searched: tuple[alphaprune.Experiment, Recorder]) -> None:
    experiment, recorder = searched
    trials = [call for number in range(3) for call in (f"epoch {number}.1", f"epoch {number}.2", f"end {number}")]
    assert recorder.calls == ["start tiny", *trials, "search ended"]
    (end,) = recorder.ends
    assert (end.folder.path, end.state) == (experiment.path, "finished")
    best = experiment.rank().iloc[0]
    assert end.summary.startswith(f"tiny finished: 3 trials, the best is trial {best.name} with")


def test_an_experiment_is_found_by_its_name_and_by_its_path(
    searched: tuple[alphaprune.Experiment, Recorder], storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for found in (
        alphaprune.load("tiny", storage=storage),
        alphaprune.load(storage / "tiny"),
        alphaprune.load(str(storage / "tiny")),
    ):
        assert found.path == storage / "tiny"
    with pytest.raises(ValueError, match="holds no experiment"):
        alphaprune.load("nothing", storage=storage)
    monkeypatch.chdir(storage)
    assert alphaprune.load("tiny").path == Path("tiny")
    (storage / "ray_results").symlink_to(storage)
    try:
        monkeypatch.chdir(storage.parent)
        assert alphaprune.load("tiny", storage=storage / "ray_results").name == "tiny"
    finally:
        (storage / "ray_results").unlink()


def test_settings_do_the_same_as_a_preset(preset: Path, searched: object) -> None:
    settings = resolve_settings(read_preset(str(preset)))
    assert isinstance(settings, Settings)
    with pytest.raises(ValueError, match=r"unknown setting 'trial\.epoch'; did you mean 'trial\.epochs'"):
        alphaprune.run(settings, **{"trial.epoch": 3})


@pytest.mark.parametrize(
    ("preset", "arguments", "reason"),
    [
        ("quickstrt", {}, "did you mean 'quickstart'"),
        ("quickstart", {"trials": -1}, "search.trials"),
        ("quickstart", {"data": "nowhere", "local": True}, "nowhere"),
        ("quickstart", {"trial.alpha.family": "steep"}, "must be one of"),
        ("quickstart", {"name": "a/b"}, "--name"),
    ],
)
def test_a_bad_request_is_a_value_error_and_starts_nothing(
    preset: str, arguments: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=reason) as raised:
        alphaprune.run(preset, storage=tmp_path, progress=False, **arguments)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_different_family_starts_from_its_own_defaults() -> None:
    settings = resolve_settings({}, (), {"trial.alpha.family": "cosine", "trial.lr.policy": "plateau"})
    assert (settings.trial.alpha, settings.trial.lr) == (alphaprune.Cosine(), alphaprune.Plateau())


def test_ctrl_c_stays_one_and_resume_continues(preset: Path, tmp_path: Path, searched: object, storage: Path) -> None:
    recorder = Recorder()
    with pytest.raises(KeyboardInterrupt):
        alphaprune.run(
            preset,
            storage=storage,
            name="interrupted",
            trials=1,
            local=True,
            callbacks=[Interrupter(), recorder],
            progress=False,
            **{"controls.kinds": ["one_shot"]},
        )
    assert [end.state for end in recorder.ends] == ["interrupted"]
    assert recorder.calls[-1] == "search ended"
    before = alphaprune.load("interrupted", storage=storage)
    assert before.trials["state"].tolist() == ["complete", "running"]
    after = alphaprune.resume(before, local=True, progress=False)
    assert after.trials["state"].tolist() == ["complete", "complete"]
    assert after.trials["epochs_done"].tolist() == [3, 3]
    extended = alphaprune.resume("interrupted", storage=storage, trials=2, local=True, progress=False)
    assert len(extended.trials) == 3


def test_a_callback_that_raises_is_left_out(
    preset: Path, storage: Path, searched: object, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Recorder):
        def epoch_done(self, number: int, row: Any) -> None:
            super().epoch_done(number, row)
            raise KeyError("no such thing")

    broken, whole = Broken(), Recorder()
    experiment = alphaprune.run(
        *(preset,),
        storage=storage,
        name="broken",
        trials=1,
        local=True,
        callbacks=[broken, whole],
        progress=False,
        **{"controls.kinds": []},
    )
    assert experiment.trials["state"].tolist() == ["complete"]
    assert (broken.calls, broken.ends) == (["start broken", "epoch 0.1"], [])
    assert len(whole.ends) == 1
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [line for line in warnings if "Broken" in line] == [
        "the callback Broken is left out from now on: its epoch_done raised KeyError: 'no such thing'"
    ]


def test_the_messages_of_a_search_are_shown_unless_they_are_not_wanted(
    preset: Path, storage: Path, searched: object, capsys: pytest.CaptureFixture[str]
) -> None:
    def resume(progress: bool) -> str:
        alphaprune.resume("tiny", storage=storage, local=True, progress=progress)
        shown = capsys.readouterr()
        assert shown.out == ""
        return shown.err

    assert "the dense network has already been trained" in resume(progress=True)
    assert resume(progress=False) == ""


def test_the_best_are_confirmed_measured_and_exported(
    searched: tuple[alphaprune.Experiment, Recorder], storage: Path, tmp_path: Path
) -> None:
    confirmed = alphaprune.confirm("tiny", storage=storage, top=1, seeds=1, local=True, progress=False)
    assert (confirmed.trials["kind"] == "repeat").sum() == 2
    exported = alphaprune.export(confirmed, 1, tmp_path / "network")
    assert sorted(path.name for path in exported.iterdir()) == ["arch.json", "model.pt2", "model.safetensors"]
    assert alphaprune.load_pruned(exported) is not None
    with pytest.raises(ValueError, match="does not exist yet"):
        alphaprune.export(confirmed, 1, exported)


def test_a_branch_starts_from_a_checkpoint(preset: Path, storage: Path, searched: object) -> None:
    options: dict[str, Any] = {"controls.kinds": [], "search.keep_at_alpha": [0.9], "trial.alpha_fraction": 0.67}
    kept = alphaprune.run(preset, storage=storage, name="kept", trials=1, local=True, progress=False, **options)
    alpha = kept.epochs["alpha"].iloc[0]
    branched = alphaprune.branch(kept, 0, at_alpha=0.9, local=True, progress=False, **{"lr.peak": 0.02})
    assert alpha <= 0.9
    assert branched.trials["kind"].tolist() == ["searched", "branch"]
    assert branched.trials["lr.peak"].tolist()[1] == 0.02


def test_the_command_line_runs_the_same_search(
    searched: tuple[alphaprune.Experiment, Recorder], storage: Path, preset: Path
) -> None:
    overrides = ("controls.kinds=['one_shot']", "trial.epochs=2", "trial.alpha_fraction=0.5")
    options = [part for override in overrides for part in ("--set", override)]
    command("run", preset, "--storage", storage, "--name", "command", "--trials", 2, "--local", *options)
    ours, theirs = searched[0], alphaprune.load("command", storage=storage)
    assert ours.record.settings == theirs.record.settings
    columns = ["epoch", "alpha", "lr", "train_loss", "val_loss", "pruned_val_accuracy"]
    assert_frame_equal(ours.epochs[columns], theirs.epochs[columns])


def test_a_trial_runs_in_this_process() -> None:
    config = alphaprune.TrialConfig(
        epochs=3,
        alpha=alphaprune.Cosine(),
        pruning=alphaprune.PruningConfig(amount=0.5, round_to=1),
    )
    data = alphaprune.load_data(alphaprune.DataConfig(images=200, validation_fraction=0.25))
    rows = alphaprune.run_trial(config, data, dense=alphaprune.DenseConfig(width=0.0625, epochs=1))
    assert rows.index.tolist() == [1, 2, 3]
    assert rows["phase"].tolist() == ["alpha", "retrain", "retrain"]
    assert rows["mac_sparsity"].iloc[-1] >= 0.5
    assert rows["pruned_val_accuracy"].between(0, 1).all()


def test_a_space_can_be_tried_on_a_trial_of_ones_own() -> None:
    from spaces.alpha_pruning import alpha_pruning

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    config = alpha_pruning(study.ask(), alphaprune.TrialConfig(), amounts=[0.5], families=["cosine"])
    assert config.alpha == alphaprune.Cosine()

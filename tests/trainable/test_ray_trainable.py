"""The trainables keep Tune's contract: saved, restored, moved, reused and cloned trials continue as they should."""

import errno
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from ray import tune

from records.epoch import EpochRow
from records.trial import FencedError, TrialFolder, TrialRecord
from trainable.config import OptimizerConfig, PruningConfig, TrialConfig, as_json, trial_config
from trainable.data.dataset import Data
from trainable.dense import DenseNetwork
from trainable.ray_trainable import CRASHED, DAMAGED, NO_SPACE, AlphaPruning, RecordedAlphaPruning
from trainable.schedules.alpha import Cosine
from trainable.schedules.lr_policies import CosineAnnealing, Plateau
from trainable.trial import Trial

Rows = list[dict[str, Any]]
Timeless = Callable[[Sequence[EpochRow]], Rows]
Make = Callable[[dict[str, Any]], AlphaPruning]
MakeRecorded = Callable[[TrialFolder], RecordedAlphaPruning]


@pytest.fixture(scope="module")
def few(make_data: Callable[..., Data]) -> Data:
    return make_data(12, 8)


@pytest.fixture(scope="module")
def config(small: Callable[..., TrialConfig]) -> TrialConfig:
    return small(lr=Plateau(peak=0.1, patience=0, warmup_epochs=1), optimizer=OptimizerConfig(batch_size=6))


@pytest.fixture(scope="module")
def other(small: Callable[..., TrialConfig]) -> TrialConfig:
    """A config that differs in everything that makes a trial."""
    return small(
        seed=5,
        alpha=Cosine(),
        alpha_lr=0.02,
        lr=CosineAnnealing(),
        optimizer=OptimizerConfig(batch_size=4, momentum=0.8, weight_decay=1e-3),
        pruning=PruningConfig(amount=0.3, round_to=1, criterion="random", scope="uniform"),
    )


@pytest.fixture(autouse=True)
def _logs_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps logs out of the home folder."""
    monkeypatch.setattr("ray.tune.trainable.trainable.DEFAULT_STORAGE_PATH", str(tmp_path / "logs"))


@pytest.fixture
def make(few: Data, dense_folder: Path) -> Make:
    """Makes a trainable as Tune does, without a Ray runtime."""
    made = tune.with_parameters(AlphaPruning, data=few, dense=str(dense_folder))
    return lambda config: made(config)


@pytest.fixture
def make_recorded(few: Data, dense_folder: Path) -> MakeRecorded:
    """Makes the trainable of a folder as Tune does."""
    made = tune.with_parameters(RecordedAlphaPruning, data=few, dense=str(dense_folder))
    return lambda folder: made(config_of(folder))


@pytest.fixture(scope="module")
def rows_of(few: Data, dense: DenseNetwork, timeless: Timeless) -> Callable[[TrialConfig | dict[str, Any]], Rows]:
    """The rows of a Trial without Tune."""

    def run(config: TrialConfig | dict[str, Any]) -> Rows:
        trial = Trial(config if isinstance(config, TrialConfig) else trial_config(config), few, dense)
        while not trial.is_finished:
            trial.run_epoch()
        return timeless(trial.rows)

    return run


@pytest.fixture
def results(timeless: Timeless) -> Callable[..., Rows]:
    """Trains for up to `epochs`, but never beyond `done`; returns the rows in what Tune is told."""

    def train(trainable: tune.Trainable, epochs: int = 100) -> Rows:
        rows, columns = [], set()
        while epochs > 0 and not (rows and rows[-1]["done"]):
            rows.append(trainable.train())
            columns = columns or set(rows[0]) & {"epoch", "phase", "alpha", "lr", "training_cost"} | {
                name for name in rows[0] if name.startswith(("train_", "val_", "pruned_")) or "sparsity" in name
            }
            epochs -= 1
        return [{name: row[name] for name in row if name in columns} for row in rows]

    return train


def test_it_gives_the_rows_of_the_trial(
    make: Make, config: TrialConfig, results: Callable[..., Rows], rows_of: Callable[..., Rows]
) -> None:
    assert results(make(as_json(config))) == rows_of(config)


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_a_saved_trial_continues_elsewhere(
    epochs: int,
    make: Make,
    config: TrialConfig,
    results: Callable[..., Rows],
    rows_of: Callable[..., Rows],
    tmp_path: Path,
) -> None:
    """The folder that save fills is all it needs."""
    trainable = make(as_json(config))
    before = results(trainable, epochs)
    trainable.save(str(tmp_path / "here"))
    trainable.stop()
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    shutil.rmtree(tmp_path / "here")
    restored = make(as_json(config))
    restored.restore(str(tmp_path / "there"))
    assert before + results(restored) == rows_of(config)


def test_a_trial_is_restored_to_an_earlier_epoch(
    make: Make, config: TrialConfig, results: Callable[..., Rows], rows_of: Callable[..., Rows], tmp_path: Path
) -> None:
    trainable = make(as_json(config))
    results(trainable, 1)
    trainable.save(str(tmp_path / "first"))
    results(trainable, 3)
    trainable.restore(str(tmp_path / "first"))
    assert results(trainable) == rows_of(config)[1:]


def test_a_trial_restored_after_its_end_is_done(
    make: Make, config: TrialConfig, results: Callable[..., Rows], rows_of: Callable[..., Rows], tmp_path: Path
) -> None:
    trainable = make(as_json(config))
    results(trainable)
    trainable.save(str(tmp_path / "last"))
    restored = make(as_json(config))
    restored.restore(str(tmp_path / "last"))
    assert results(restored) == rows_of(config)[-1:]


@pytest.mark.parametrize("epochs", [0, 1, 4, 5])
def test_a_reused_actor_keeps_nothing_of_its_earlier_trial(
    epochs: int,
    make: Make,
    config: TrialConfig,
    other: TrialConfig,
    results: Callable[..., Rows],
    rows_of: Callable[..., Rows],
) -> None:
    """From before the first epoch, from the alpha phase, from the retrain phase, from a finished trial."""
    trainable = make(as_json(other))
    results(trainable, epochs)
    assert trainable.reset(as_json(config)) is True
    assert results(trainable) == rows_of(config)


def test_a_reused_actor_continues_from_a_checkpoint(
    make: Make,
    config: TrialConfig,
    other: TrialConfig,
    results: Callable[..., Rows],
    rows_of: Callable[..., Rows],
    tmp_path: Path,
) -> None:
    """As Tune does when trials are paused and take turns."""
    first, second = make(as_json(config)), make(as_json(other))
    results(first, 1)
    first.save(str(tmp_path / "saved"))
    results(second, 4)
    second.reset(as_json(config))
    second.restore(str(tmp_path / "saved"))
    assert results(second) == rows_of(config)[1:]


def test_a_reused_actor_clones_a_trial(
    make: Make, config: TrialConfig, other: TrialConfig, results: Callable[..., Rows], tmp_path: Path
) -> None:
    """As population-based training does: another trial's checkpoint under a config with other rates."""
    donor, clone = make(as_json(config)), make(as_json(other))
    rows = results(donor, 1)
    donor.save(str(tmp_path / "saved"))
    results(clone, 2)
    clone.reset(as_json(config) | {"alpha_lr": 0.0123})
    clone.restore(str(tmp_path / "saved"))
    assert clone._trial.rows[0].train_loss == rows[0]["train_loss"]
    assert [(row["epoch"], row["alpha"]) for row in results(clone, 1)] == [(2, config.list_alphas(1)[1])]
    assert clone._trial.rows[1].lr == pytest.approx(0.0123)


def test_an_amount_that_cannot_be_reached_is_refused(make: Make, small: Callable[..., TrialConfig]) -> None:
    with pytest.raises(ValueError, match=r"pruning\.amount must be at most"):
        make(as_json(small(pruning=PruningConfig(amount=0.99))))


def test_an_invalid_config_is_refused(make: Make) -> None:
    with pytest.raises(ValueError, match="nonsense"):
        make({"nonsense": 1})


@pytest.mark.parametrize("kind", [AlphaPruning, RecordedAlphaPruning])
@pytest.mark.parametrize("missing", ["data", "dense"])
def test_without_its_parameters_it_says_how_to_give_them(
    kind: type[tune.Trainable], missing: str, few: Data, dense_folder: Path, config: TrialConfig
) -> None:
    given = {name: value for name, value in {"data": few, "dense": dense_folder}.items() if name != missing}
    made = tune.with_parameters(kind, **given)
    with pytest.raises(ValueError, match=rf"but got no `{missing}`; use tune\.with_parameters\({kind.__name__}, data="):
        made(as_json(config))


@pytest.fixture
def ask(tmp_path: Path) -> Callable[[int, TrialConfig], TrialFolder]:
    """Asks for a trial that keeps records."""

    def new(number: int, config: TrialConfig) -> TrialFolder:
        folder = TrialFolder(tmp_path / "trials" / f"{number:05}")
        folder.create(TrialRecord(number, as_json(config)))
        return folder

    return new


def config_of(folder: TrialFolder) -> dict[str, Any]:
    """With what a searcher may add."""
    return {"folder": str(folder.path), "number": folder.number, "can_stop": True}


def test_the_trial_of_a_folder_keeps_its_records(
    make_recorded: MakeRecorded,
    ask: Callable[[int, TrialConfig], TrialFolder],
    config: TrialConfig,
    results: Callable[..., Rows],
    rows_of: Callable[..., Rows],
    timeless: Timeless,
) -> None:
    folder = ask(1, config)
    results(make_recorded(folder), 2)  # and then its process dies
    second = make_recorded(folder)
    assert results(second) == rows_of(config)[2:]
    assert timeless(folder.read_rows()) == rows_of(config)
    record = folder.read_record()
    assert (record.state, record.attempt) == ("complete", 2)


def test_a_folder_reports_its_state(
    make_recorded: MakeRecorded, ask: Callable[[int, TrialConfig], TrialFolder], config: TrialConfig
) -> None:
    folder = ask(1, config)
    trainable = make_recorded(folder)
    told = [trainable.train() for _ in range(5)]
    assert [(each["state"], each["done"]) for each in told] == [("running", False)] * 4 + [("complete", True)]
    # Set up again, as after a crash that kept the end from being reported.
    again = make_recorded(folder).train()
    assert (again["state"], again["done"]) == ("complete", True)
    assert folder.read_record().attempt == 1


@pytest.mark.parametrize("reason", ["refused", "diverged"])
def test_a_folder_whose_trial_fails_says_so_and_frees_the_actor(
    reason: str,
    make_recorded: MakeRecorded,
    ask: Callable[[int, TrialConfig], TrialFolder],
    config: TrialConfig,
    small: Callable[..., TrialConfig],
    results: Callable[..., Rows],
    rows_of: Callable[..., Rows],
) -> None:
    failing = small(pruning=PruningConfig(amount=0.99)) if reason == "refused" else config
    folder, after = ask(1, failing), ask(2, config)
    trainable = make_recorded(folder)
    if reason == "diverged":
        trainable.train()
        assert trainable._recorded is not None
        torch.nn.init.constant_(trainable._recorded.trial._inner_network.classifier.weight, float("nan"))
    told = trainable.train()
    assert (told["state"], told["done"]) == ("failed", True)
    expected = {"refused": "pruning.amount must be at most", "diverged": "epoch 2: the training loss is nan"}[reason]
    assert expected in told["error"]
    assert folder.read_record().error == told["error"]
    trainable.reset(config_of(after))
    assert results(trainable) == rows_of(config)
    assert (folder.read_record().state, after.read_record().state) == ("failed", "complete")


@pytest.mark.parametrize("error", [ValueError("a defect"), PermissionError(13, "Permission denied"), KeyError("x")])
def test_a_crash_is_reported_before_the_process_fails(
    error: Exception,
    make_recorded: MakeRecorded,
    ask: Callable[[int, TrialConfig], TrialFolder],
    config: TrialConfig,
    results: Callable[..., Rows],
    rows_of: Callable[..., Rows],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What Tune sees as a failure without such a report is a lost process."""
    folder = ask(1, config)
    trainable = make_recorded(folder)
    rows = results(trainable, 1)

    def fail(trial: Trial) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Trial, "run_epoch", fail)
        told = trainable.train()
        text = f"{type(error).__name__}: {error}"
        assert (told["state"], told["done"], told["error"]) == (CRASHED, False, text)
        with pytest.raises(type(error)):
            trainable.train()
    assert (folder.read_record().state, folder.read_record().error) == ("running", text)
    assert rows + results(make_recorded(folder)) == rows_of(config)  # in another process


def test_a_crash_at_the_start_is_reported_like_one_in_an_epoch(
    make_recorded: MakeRecorded,
    ask: Callable[[int, TrialConfig], TrialFolder],
    config: TrialConfig,
    few: Data,
    tmp_path: Path,
) -> None:
    made = tune.with_parameters(RecordedAlphaPruning, data=few, dense=str(tmp_path / "no-dense-network"))
    told = made(config_of(ask(1, config))).train()
    assert (told["state"], told["done"]) == (CRASHED, False)
    assert "no-dense-network" in told["error"]


@pytest.mark.parametrize("epochs", [0, 2])
def test_a_trial_whose_record_is_damaged_is_over_and_left_as_it_is(
    epochs: int,
    make_recorded: MakeRecorded,
    ask: Callable[[int, TrialConfig], TrialFolder],
    config: TrialConfig,
    results: Callable[..., Rows],
) -> None:
    folder = ask(1, config)
    trainable = make_recorded(folder)
    results(trainable, epochs)
    folder.record_path.write_text("{")
    told = trainable.train()
    assert (told["state"], told["done"]) == (DAMAGED, True)
    assert folder.record_path.read_text() == "{"


def test_an_actor_that_is_given_up_before_its_first_step_takes_nothing_away(
    make_recorded: MakeRecorded,
    ask: Callable[[int, TrialConfig], TrialFolder],
    config: TrialConfig,
    results: Callable[..., Rows],
    rows_of: Callable[..., Rows],
) -> None:
    """Tune gives a trial whose new actor is still starting to one that has become free; both are set up for it."""
    first, second = ask(1, config), ask(2, config)
    reused = make_recorded(first)
    results(reused)
    reused.reset(config_of(second))
    rows = results(reused, 2)
    make_recorded(second)
    assert rows + results(reused) == rows_of(config)
    assert (second.read_record().state, second.read_record().attempt) == ("complete", 1)


def test_a_trial_that_another_process_has_is_not_reported_as_done(
    make_recorded: MakeRecorded,
    ask: Callable[[int, TrialConfig], TrialFolder],
    config: TrialConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The driver would record it as stopped."""
    folder, hold_fence = ask(1, config), TrialFolder.hold_fence

    def taken_away(self: TrialFolder, attempt: int) -> Any:
        if attempt == 1 and self.read_record().attempt == 1:
            self.begin_attempt("there:2", "cpu")
        return hold_fence(self, attempt)

    trainable = make_recorded(folder)
    monkeypatch.setattr(TrialFolder, "hold_fence", taken_away)
    with pytest.raises(FencedError, match="running in attempt 2, so attempt 1 may not write"):
        trainable.step()
    record = folder.read_record()
    assert (record.state, record.attempt, record.error) == ("running", 2, None)


@pytest.mark.parametrize("when", ["at its start", "in an epoch"])
def test_a_full_disk_is_reported_to_the_driver_and_is_not_a_failure_of_the_trial(
    when: str,
    make_recorded: MakeRecorded,
    ask: Callable[[int, TrialConfig], TrialFolder],
    config: TrialConfig,
    results: Callable[..., Rows],
    rows_of: Callable[..., Rows],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, after = ask(1, config), ask(2, config)

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        if when == "at its start":
            patch.setattr(TrialFolder, "replace_rows", full)
            trainable = make_recorded(folder)
        else:
            trainable = make_recorded(folder)
            trainable.train()
            patch.setattr(TrialFolder, "append_row", full)
        told = trainable.train()
    assert (told["state"], told["done"]) == (NO_SPACE, True)
    assert "No space left" in told["error"]
    assert folder.read_record().state == "running"
    trainable.reset(config_of(after))
    assert results(trainable) == rows_of(config)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        runtime_env={"env_vars": {"CUDA_VISIBLE_DEVICES": ""}},
    )
    yield
    ray.shutdown()


@pytest.fixture
def fit(
    cluster: None, few: Data, dense_folder: Path, tmp_path: Path, config: TrialConfig
) -> Callable[..., tune.ResultGrid]:
    """Runs a user's own Tuner over a space whose keys are a TrialConfig's."""

    def run(space: dict[str, Any], **settings: Any) -> tune.ResultGrid:
        trainable = tune.with_parameters(AlphaPruning, data=few, dense=str(dense_folder))
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1}),
            param_space=as_json(config) | space,
            tune_config=tune.TuneConfig(metric="val_loss", mode="min", **settings),
            run_config=tune.RunConfig(name="own", storage_path=str(tmp_path), verbose=0),
        )
        return tuner.fit()

    return run


@pytest.mark.slow
def test_a_tuner_of_ones_own(
    fit: Callable[..., tune.ResultGrid], rows_of: Callable[..., Rows], timeless: Timeless
) -> None:
    """One actor, used by two trials one after the other."""
    space = {"alpha": {"family": "exponential", "rate": tune.uniform(1, 8)}, "seed": tune.randint(0, 100)}
    results = fit(space, num_samples=2, max_concurrent_trials=1, reuse_actors=True)
    assert not results.errors
    assert results[0].config["alpha"] != results[1].config["alpha"]
    for result in results:
        last = rows_of(result.config)[-1]
        assert {name: result.metrics[name] for name in last} == last


def test_what_optuna_search_adds_to_a_config_is_ignored(make: Make, other: TrialConfig) -> None:
    """It merges the names of what a space suggested into what the space returned."""
    added = make({**as_json(other), "lr.plateau.patience": 1, "alpha.family": "cosine"})
    assert added.step()["epoch"] == 1
    with pytest.raises(ValueError, match="patience"):
        make({**as_json(other), "patience": 1})

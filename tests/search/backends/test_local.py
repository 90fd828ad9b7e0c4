"""Trials one after another in this process: how often each is tried, and who is told. Nothing is trained."""

import errno
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from examples import make_row
from searches import open_source

from records.epoch import EpochRow
from records.experiment import ExperimentFolder
from records.trial import TrialFolder
from search.backends import local
from search.backends.base import SearchRun, TrialResources
from search.backends.local import LocalBackend
from search.interruption import Interruption
from search.observers.observer import SearchObserver
from search.sampling.early_stopping import SuccessiveHalving
from search.settings import ResourceSettings, Settings, resolve_settings
from trainable.errors import TrialError

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
SETTINGS = resolve_settings(
    {
        "trial": {"epochs": 3},
        "controls": {"kinds": ["one_shot"], "amounts": [0.5]},
        "search": {"trials": 2, "max_failures": 2},
    }
)


class FakeTrial:
    """Stands in for a RecordedTrial: each epoch takes one of `events`, an accuracy or an exception to raise."""

    events: ClassVar[list[float | Exception]] = []
    starts: ClassVar[list[int]] = []

    def __init__(self, folder: TrialFolder, *arguments: Any, **keywords: Any) -> None:
        self.starts.append(folder.number)
        self._folder = folder
        self._attempt = folder.begin_attempt("here:1", "cpu").attempt

    @property
    def is_finished(self) -> bool:
        return len(self._folder.read_rows()) >= 3

    def run_epoch(self) -> EpochRow:
        event = self.events.pop(0) if self.events else 0.5
        if isinstance(event, Exception):
            if isinstance(event, TrialError):
                self._folder.record_end("failed", str(event))
            raise event
        row = make_row(len(self._folder.read_rows()) + 1, pruned_val_accuracy=event)
        self._folder.append_row(row)
        if self.is_finished:
            self._folder.record_end("complete")
        return row


class Noting(SearchObserver):
    def __init__(self) -> None:
        self.epochs: list[tuple[int, int]] = []

    def epoch_done(self, number: int, row: EpochRow) -> None:
        self.epochs.append((number, row.epoch))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[ExperimentFolder, Noting]]]:
    """Runs a control and two trials with the given events."""
    monkeypatch.setattr(local, "load_dense", lambda folder: None)
    monkeypatch.setattr(local, "RecordedTrial", FakeTrial)

    def run_trials(*events: float | Exception, settings: Settings = SETTINGS) -> tuple[ExperimentFolder, Noting]:
        FakeTrial.events[:], FakeTrial.starts[:] = events, []
        folder, noting = ExperimentFolder(tmp_path / "search"), Noting()
        search = settings.search
        stopping = SuccessiveHalving(search.early_stopping, objectives=search.objectives, epochs=settings.trial.epochs)
        LocalBackend().run_trials(
            SearchRun(
                source=open_source(folder, settings),
                stopping=stopping,
                folder=folder,
                settings=settings,
                data=None,  # type: ignore[arg-type]  # not used
                resources=TrialResources(1, 0, 1),
                observer=noting,
            )
        )
        return folder, noting

    return run_trials


def states(folder: ExperimentFolder) -> list[str]:
    return [trial.read_record().state for trial in folder.trial_folders()]


def test_trials_run_one_after_another_and_each_epoch_is_reported(run: Callable[..., Any]) -> None:
    folder, noting = run()
    assert FakeTrial.starts == [0, 1, 2]
    assert states(folder) == ["complete"] * 3
    assert noting.epochs == [(number, epoch) for number in range(3) for epoch in (1, 2, 3)]


def test_a_trial_that_crashes_is_restarted_and_continues(run: Callable[..., Any]) -> None:
    folder, noting = run(0.5, RuntimeError("a crash"), MemoryError("another"))
    assert FakeTrial.starts == [0, 0, 0, 1, 2]
    assert states(folder) == ["complete"] * 3
    assert noting.epochs[:3] == [(0, 1), (0, 2), (0, 3)]


def test_a_trial_that_always_crashes_fails_after_as_many_attempts_as_on_a_cluster(run: Callable[..., Any]) -> None:
    folder, _ = run(*[RuntimeError("a crash")] * 3)
    assert FakeTrial.starts == [0, 0, 0, 1, 2]
    assert states(folder) == ["failed", "complete", "complete"]
    assert folder.trial_folder(0).read_record().error == "RuntimeError: a crash"


def test_a_trial_that_would_fail_again_is_not_retried(run: Callable[..., Any]) -> None:
    folder, _ = run(TrialError("epoch 1: the training loss is nan"))
    assert FakeTrial.starts == [0, 1, 2]
    assert states(folder) == ["failed", "complete", "complete"]
    assert folder.trial_folder(0).read_record().error == "epoch 1: the training loss is nan"


def test_a_storage_problem_does_not_fail_the_trial(run: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(PermissionError):
        run(0.5, PermissionError(errno.EACCES, "Permission denied"))
    assert states(ExperimentFolder(tmp_path / "search")) == ["running"]


def test_a_folder_in_a_files_place_fails_the_trial_alone(run: Callable[..., Any]) -> None:
    folder, _ = run(*[IsADirectoryError(errno.EISDIR, "Is a directory", "checkpoint-00001.pt")] * 3)
    assert states(folder) == ["failed", "complete", "complete"]


def test_a_full_disk_interrupts(run: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(Interruption, match="no space is left on the storage") as error:
        run(0.5, OSError(errno.ENOSPC, "No space left on device"))
    assert error.value.code == 1
    assert states(ExperimentFolder(tmp_path / "search")) == ["running"]


def test_a_record_damaged_during_the_run_is_left_alone(
    run: Callable[..., Any], tmp_path: Path, warned: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ExperimentFolder(tmp_path / "search")
    run_epoch = FakeTrial.run_epoch

    def damage(trial: FakeTrial) -> EpochRow:
        if trial._folder.number > 0:
            return run_epoch(trial)
        folder.trial_folder(0).record_path.write_text("{")
        raise RuntimeError("a crash")

    monkeypatch.setattr(FakeTrial, "run_epoch", damage)
    run()
    assert folder.trial_folder(0).record_path.read_text() == "{"
    assert FakeTrial.starts == [0, 1, 2]
    (problem,) = warned()
    assert problem.startswith(f"{folder.trial_folder(0).record_path} is damaged: ")


def test_searched_trials_are_stopped_but_controls_never(run: Callable[..., Any]) -> None:
    """The only rung is at epoch 2; a control that is worse than all others there continues."""
    early = replace(SETTINGS.search.early_stopping, enabled=True, first=0.5, reduction=2)
    settings = replace(
        SETTINGS, search=replace(SETTINGS.search, objectives=("pruned_val_accuracy",), early_stopping=early)
    )
    folder, noting = run(*[0.1] * 3, *[0.5] * 3, 0.5, 0.4, settings=settings)
    assert states(folder) == ["complete", "complete", "stopped"]
    assert noting.epochs == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3), (2, 1), (2, 2)]


def test_trials_in_this_process_cannot_be_kept_off_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert LocalBackend().trial_resources(ResourceSettings(gpus_per_trial=0)).gpus == 0
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert LocalBackend().trial_resources(ResourceSettings()).gpus == 1
    with pytest.raises(ValueError, match="gpus_per_trial must not be 0 with --local"):
        LocalBackend().trial_resources(ResourceSettings(gpus_per_trial=0))


def test_the_local_backend_is_one_node_running_one_trial_at_a_time() -> None:
    backend = LocalBackend()
    with backend.connect():
        (node,) = backend.list_nodes()
        assert node.cpus >= 1
        assert node.gpus == 0
        assert backend.trial_resources(ResourceSettings(cpus_per_trial=3, concurrency=9)) == TrialResources(3, 0, 1)
        backend.check_storage(Path("/nowhere"))
    assert backend.address is None

"""What the search tells Tune and learns from it, asked directly: neither Ray nor a trial runs here."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from examples import make_cut, make_row
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from searches import open_source

from records.epoch import EpochRow
from records.experiment import ExperimentFolder
from search.backends.base import SearchRun, TrialResources
from search.backends.ray import tune_run
from search.backends.ray.tune_run import _ObserverCallback, _StoppingScheduler, _TrialSearcher
from search.interruption import Interruption
from search.observers.observer import SearchObserver
from search.sampling.early_stopping import SuccessiveHalving
from search.settings import resolve_settings
from trainable.ray_trainable import CRASHED, NO_SPACE

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
# A control and two trials; the only rung is at epoch 3 of 6.
SETTINGS = resolve_settings(
    {
        "trial": {"epochs": 6},
        "controls": {"kinds": ["one_shot"], "amounts": [0.5]},
        "search": {
            "trials": 2,
            "objectives": ["pruned_val_accuracy"],
            "keep_at_alpha": [0.5],
            "early_stopping": {"enabled": True, "first": 0.5, "reduction": 2},
        },
    }
)


class Noting(SearchObserver):
    def __init__(self) -> None:
        self.epochs: list[tuple[int, int]] = []
        self.rooms: list[tuple[int, int]] = []

    def epoch_done(self, number: int, row: EpochRow) -> None:
        self.epochs.append((number, row.epoch))

    def room_changed(self, trials: int, waiting: int) -> None:
        self.rooms.append((trials, waiting))


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many trials the cluster holds; to be changed."""
    found = [2]
    monkeypatch.setattr(tune_run, "count_room", lambda resources: found[0])
    return found


@pytest.fixture
def run(tmp_path: Path, room: list[int]) -> SearchRun:
    folder, search = ExperimentFolder(tmp_path / "search"), SETTINGS.search
    return SearchRun(
        source=open_source(folder, SETTINGS),
        stopping=SuccessiveHalving(search.early_stopping, objectives=search.objectives, epochs=6),
        folder=folder,
        settings=SETTINGS,
        data=None,  # type: ignore[arg-type]  # nobody looks at it
        resources=TrialResources(1, 0, 2),
        observer=Noting(),
    )


def end(run: SearchRun, number: int, state: Any = "complete") -> None:
    files = run.folder.trial_folder(number)
    files.replace_rows([make_row(epoch) for epoch in range(1, 7)])
    files.write_record(replace(files.read_record(), cut=make_cut()))
    files.record_end(state)


def states(run: SearchRun) -> list[str]:
    return [trial.read_record().state for trial in run.folder.trial_folders()]


def test_as_many_trials_are_handed_out_as_there_is_room_for(run: SearchRun, room: list[int]) -> None:
    searcher = _TrialSearcher(run)
    first, second = searcher.suggest("a"), searcher.suggest("b")
    assert (first["number"], first["can_stop"]) == (0, False)
    assert (second["number"], second["can_stop"]) == (1, True)
    assert Path(first["folder"]) == run.folder.trial_folder(0).path.resolve()
    assert searcher.suggest("c") is None
    assert states(run) == ["running", "running"]  # and the study has not been asked for the third
    room[0] = 3
    assert searcher.suggest("c")["number"] == 2
    assert searcher.suggest("d") is None


def test_a_cluster_without_room_gets_one_trial_that_waits(run: SearchRun, room: list[int]) -> None:
    """Or the search would end for want of trials while nodes restart."""
    room[0] = 0
    searcher = _TrialSearcher(run)
    assert searcher.suggest("a")["number"] == 0
    assert searcher.suggest("b") is None
    assert searcher.room == (0, 1)


def test_it_is_finished_when_nothing_runs_and_nothing_is_left(run: SearchRun, room: list[int]) -> None:
    room[0] = 9
    searcher = _TrialSearcher(run)
    for place, name in enumerate("abc"):
        assert searcher.suggest(name)["number"] == place
    assert searcher.suggest("d") is None  # what runs may change that
    for place, name in enumerate("abc"):
        end(run, place)
        searcher.on_trial_complete(name, {"state": "complete"})
    assert searcher.suggest("d") == Searcher.FINISHED
    assert states(run) == ["complete"] * 3


def test_what_the_scheduler_stopped_is_recorded_as_stopped(run: SearchRun) -> None:
    searcher = _TrialSearcher(run)
    searcher.suggest("a"), searcher.suggest("b")
    files = run.folder.trial_folder(1)
    files.replace_rows([make_row(epoch, alpha=0.4) for epoch in (1, 2, 3)])
    for epoch in (1, 2, 3):
        files.checkpoint_path(epoch).write_bytes(b"")
    searcher.on_trial_complete("b", {"state": "running"})
    assert states(run) == ["running", "stopped"]
    assert [path.name for path in files.list_checkpoints()] == ["checkpoint-00001.pt"]


def test_a_trial_that_crashes_too_often_fails(run: SearchRun) -> None:
    """As often as search.max_failures allows, which is twice, it is started again."""
    searcher = _TrialSearcher(run)
    searcher.suggest("a")
    files = run.folder.trial_folder(0)
    for _ in range(2):
        searcher.count_crash(0, "KeyError: 'x'")
        searcher.count_restart(0)
        assert files.read_record().state == "running"
    searcher.count_crash(0, "KeyError: 'x'")
    assert (files.read_record().state, files.read_record().error) == ("failed", "KeyError: 'x'")
    searcher.count_restart(0)
    searcher.on_trial_complete("a", {"state": "failed"})  # from the process that has found that it has ended
    assert files.read_record().error == "KeyError: 'x'"


def test_a_lost_process_is_no_failure_of_the_trial(run: SearchRun) -> None:
    searcher = _TrialSearcher(run)
    searcher.suggest("a")
    files = run.folder.trial_folder(0)
    for _ in range(2):
        searcher.count_crash(0, "KeyError: 'x'")
        searcher.count_restart(0)
    for _ in range(SETTINGS.search.max_preemptions):
        searcher.count_restart(0)
        assert files.read_record().state == "running"
    searcher.count_restart(0)
    record = files.read_record()
    assert record.state == "failed"
    assert str(record.error).startswith("its node or process was lost 21 times")


def test_crashes_and_losses_of_different_trials_are_counted_apart(run: SearchRun, room: list[int]) -> None:
    room[0] = 3
    searcher = _TrialSearcher(run)
    for number, name in enumerate("abc"):
        searcher.suggest(name)
        for _ in range(2):
            searcher.count_crash(number, "KeyError: 'x'")
            searcher.count_restart(number)
    assert states(run) == ["running"] * 3


def test_what_tune_gives_up_is_recorded_as_failed(run: SearchRun) -> None:
    searcher = _TrialSearcher(run)
    searcher.suggest("a")
    searcher.on_trial_complete("a", None, error=True)
    record = run.folder.trial_folder(0).read_record()
    assert (record.state, record.error) == ("failed", "its process cannot be started; see the logs of its host")


def test_trials_without_actors_wait_if_the_nodes_have_room_for_them(
    run: SearchRun, room: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    actors, free = [0], [0]
    monkeypatch.setattr(tune_run, "_count_actors", lambda: actors[0])
    monkeypatch.setattr(tune_run, "count_free", lambda share: free[0])
    searcher = _TrialSearcher(run)
    assert searcher.waits_for == ""
    searcher.suggest("a"), searcher.suggest("b")
    assert searcher.waits_for == "1 CPU for 2 trials"
    actors[0] = 1
    assert searcher.waits_for == "1 CPU for 1 trial"
    room[0] = 1  # a node has been lost, so what waits does not wait for others
    assert searcher.waits_for == ""
    room[0], free[0] = 2, 1  # it is only slow to start
    assert searcher.waits_for == ""
    actors[0], free[0] = 2, 0
    assert searcher.waits_for == ""


def test_a_full_disk_ends_the_search_and_not_the_trial(run: SearchRun) -> None:
    searcher = _TrialSearcher(run)
    searcher.suggest("a")
    with pytest.raises(Interruption, match="no space is left on the storage") as interrupted:
        searcher.on_trial_complete("a", {"state": NO_SPACE, "error": "[Errno 28] No space left on device"})
    assert interrupted.value.code == 1
    assert states(run) == ["running"]


def test_a_record_damaged_while_its_trial_runs_does_not_end_the_search(
    run: SearchRun, warned: Callable[[], list[str]]
) -> None:
    searcher = _TrialSearcher(run)
    searcher.suggest("a")
    path = run.folder.trial_folder(0).record_path
    path.write_text("{")
    searcher.on_trial_complete("a", {"state": "complete"})
    (problem,) = warned()
    assert problem.startswith(f"{path} is damaged: ")
    assert path.read_text() == "{"
    assert searcher.suggest("b")["number"] == 1


def reported(epoch: int, accuracy: float, **more: Any) -> dict[str, Any]:
    """An epoch as Tune reports it, with what it adds."""
    row = make_row(epoch, pruned_val_accuracy=accuracy, mac_sparsity=accuracy).as_values()
    return {**row, "state": "running", "done": False, "training_iteration": epoch, "trial_id": "a", **more}


def test_trials_that_do_badly_are_stopped_and_controls_and_ended_ones_never(run: SearchRun) -> None:
    scheduler = _StoppingScheduler(run.stopping)

    def told(number: int, result: dict[str, Any], *, can_stop: bool = True) -> str:
        trial: Any = SimpleNamespace(config={"number": number, "can_stop": can_stop})
        return scheduler.on_trial_result(None, trial, result)

    assert told(1, reported(3, 0.9)) == TrialScheduler.CONTINUE
    assert told(2, reported(2, 0.1)) == TrialScheduler.CONTINUE  # between the rungs
    assert told(2, reported(3, 0.1)) == TrialScheduler.STOP
    assert told(0, reported(3, 0.05), can_stop=False) == TrialScheduler.CONTINUE
    assert told(3, reported(3, 0.01, done=True)) == TrialScheduler.CONTINUE
    assert told(4, {"epoch": 3, "state": "failed", "error": "nan", "done": True}) == TrialScheduler.CONTINUE
    assert sorted(run.stopping.rungs[3]) == [1, 2]


def test_observers_are_told_of_epochs_and_of_the_room_now_and_then(
    run: SearchRun, room: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    searcher = _TrialSearcher(run)
    searcher.suggest("a"), searcher.suggest("b")
    callback, noting = _ObserverCallback(run.observer, searcher), run.observer
    assert isinstance(noting, Noting)
    trial: Any = SimpleNamespace(config={"number": 1, "can_stop": True})
    callback.on_trial_result(1, [], trial, reported(2, 0.5))
    callback.on_trial_result(1, [], trial, {"epoch": 2, "state": "failed", "error": "nan", "done": True})
    for _ in range(3):
        callback.on_trial_result(1, [], trial, {"epoch": 2, "state": CRASHED, "error": "a defect", "done": False})
        callback.on_trial_recover(1, [], trial)
    assert states(run) == ["running", "failed"]
    assert noting.epochs == [(1, 2)]
    now = [1000.0]
    monkeypatch.setattr(tune_run.time, "monotonic", lambda: now[0])
    for seconds, nodes_hold in ((0, 2), (1, 1), (4.9, 1), (5, 1), (11, 2)):
        now[0], room[0] = 1000.0 + seconds, nodes_hold
        callback.on_step_begin(1, [])
    assert noting.rooms == [(2, 0), (1, 1), (2, 0)]


def test_what_tune_pickles_is_nothing_of_the_search(run: SearchRun) -> None:
    """It does so now and then; with thousands of trials their study would be pickled each time."""
    searcher = _TrialSearcher(run)
    for part in (searcher, _StoppingScheduler(run.stopping), _ObserverCallback(run.observer, searcher)):
        assert len(pickle.dumps(part)) < 500

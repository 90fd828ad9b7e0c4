"""An experiment from its settings to its search: what is checked, read and written around it. Nothing is trained."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from examples import make_cut, make_row
from optuna.trial import TrialState

from records.dense import DenseEpochRow
from records.driver import FILE_NAME, LOCK_NAME, read_driver
from records.experiment import ExperimentFolder
from records.measurement import Measurement
from records.trial import Parent, TrialRecord
from search.backends.base import MeasureNetwork, SearchRun
from search.backends.local import LocalBackend
from search.dry_run import show_resume
from search.experiment import HopelessError, measure, resume, run
from search.followups.measure import TrialSelection
from search.interruption import Interruption
from search.observers.observer import SearchObserver, SearchStart
from search.settings import Settings, as_settings_json, resolve_settings
from search.setup.creation import NewTrial, create_experiment
from search.setup.driver_lock import hold_driver_lock
from trainable.config import TrialConfig, as_json
from trainable.data.dataset import Data, load_data
from trainable.dense import train_dense
from trainable.measurement.machine_lock import longest_wait_seconds
from trainable.schedules.alpha import OneShot

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
# One control; one rung, at epoch 3 of 6.
SETTINGS = resolve_settings(
    {
        "data": {"images": 60},
        "dense": {"width": 0.0625, "epochs": 2},
        "trial": {"epochs": 6, "pruning": {"round_to": 1}},
        "controls": {"kinds": ["one_shot"], "amounts": [0.5]},
        "search": {
            "trials": 20,
            "objectives": ["pruned_val_accuracy"],
            "keep_at_alpha": [0.5],
            "early_stopping": {"enabled": True, "first": 0.5, "reduction": 2},
        },
        "results": {"measure": False},
    }
)


class IdleBackend(LocalBackend):
    """Trains nothing; calls `during` in place of running the trials."""

    def __init__(self, during: Callable[[SearchRun], None] = lambda run: None) -> None:
        self.during = during
        self.runs: list[SearchRun] = []
        self.dense: list[Path] = []

    def train_dense(
        self, settings: Settings, data: Data, folder: Path, on_epoch: Callable[[DenseEpochRow], None]
    ) -> None:
        self.dense.append(folder)

    def run_trials(self, run: SearchRun) -> None:
        self.runs.append(run)
        self.during(run)


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data(SETTINGS.data)


@pytest.fixture
def folder(tmp_path: Path, data: Data) -> ExperimentFolder:
    folder = ExperimentFolder(tmp_path / "search")
    create_experiment(folder, SETTINGS, data, "mine")
    return folder


def add(folder: ExperimentFolder, number: int, epochs: int = 6, *, accuracy: float = 0.5, **its: Any) -> None:
    """A trial with `epochs` epochs done; each trial has a different configuration."""
    trial = folder.trial_folder(number)
    config = TrialConfig(epochs=6, seed=number)
    trial.create(TrialRecord(number, as_json(config), **{"state": "complete", "cut": make_cut(), **its}))
    for epoch in range(1, epochs + 1):
        trial.append_row(make_row(epoch, pruned_val_accuracy=accuracy, alpha=0.4))


def content(folder: Path) -> dict[Path, bytes]:
    """All that is there, except for who ran it last."""
    drivers = (FILE_NAME, LOCK_NAME)
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name not in drivers}


_reads: list[Counter[str]] = []


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if _reads and event == "open" and isinstance(arguments[0], str | bytes | Path):
        *_, trial, name = ("", *Path(str(arguments[0])).parts)
        if trial.isdecimal() and name in ("trial.json", "epochs.jsonl"):
            _reads[0][f"{trial}/{name}"] += 1


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """How often each trial's record and rows are opened inside, by anyone and in any way."""
    if not hasattr(sys, "_counts_opened_records"):  # a hook can never be taken away again
        sys.addaudithook(_note)
        sys._counts_opened_records = True  # type: ignore[attr-defined]
    _reads[:] = [Counter()]
    try:
        yield _reads[0]
    finally:
        _reads.clear()


@pytest.mark.parametrize("trials", [10, 20])
def test_a_resume_reads_each_trial_once_before_the_search_starts(folder: ExperimentFolder, trials: int) -> None:
    """Cleanup, plan, study and display share one reading, which dominates a start with thousands of trials."""
    add(folder, 0, control="one_shot")
    for number in range(1, trials):
        add(folder, number, state="complete" if number % 3 else "stopped", epochs=6 if number % 3 else 3)
    backend = IdleBackend(lambda run: seen.append(Counter(opened)))
    seen: list[Counter[str]] = []
    with counting() as opened:
        resume(folder, backend)
    names = [f"{number:05}/{name}" for number in range(trials) for name in ("trial.json", "epochs.jsonl")]
    assert seen == [Counter(names)]
    assert opened == seen[0]  # and none of them afterwards
    (ran,) = backend.runs
    assert len(ran.source.study.get_trials()) == trials - 1
    assert {trial.state for trial in ran.source.study.get_trials()} == {TrialState.COMPLETE, TrialState.PRUNED}


def test_a_missing_dense_network_is_not_replaced_under_trials_that_started_from_it(folder: ExperimentFolder) -> None:
    add(folder, 1, epochs=3, state="running", attempt=1)
    backend = IdleBackend()
    with pytest.raises(ValueError, match=rf"^{folder.dense_path}/arch.json is missing$"):
        resume(folder, backend)
    assert backend.dense == backend.runs == []


def test_a_decision_lost_in_a_crash_is_recorded(folder: ExperimentFolder, logged: Callable[[], list[str]]) -> None:
    train_dense(SETTINGS.dense, load_data(SETTINGS.data), folder.dense_path, threads=1)
    for number in (1, 2):
        add(folder, number, accuracy=0.5)
    add(folder, 3, epochs=3, accuracy=0.1, state="running", attempt=1)
    add(folder, 4, epochs=3, accuracy=0.9, state="running", attempt=1)
    for number in (3, 4):
        for epoch in (1, 2, 3):
            folder.trial_folder(number).checkpoint_path(epoch).write_bytes(b"")
    backend = IdleBackend()
    resume(folder, backend)
    assert folder.trial_folder(3).read_record().state == "stopped"
    assert folder.trial_folder(3).read_record().finished is not None
    assert [path.name for path in folder.trial_folder(3).list_checkpoints()] == [
        "checkpoint-00001.pt"
    ]  # to branch from
    assert "trial 3 is stopped early: this had been decided when the search was interrupted" in logged()
    # The other one continues, before any new trial.
    assert folder.trial_folder(4).read_record().state == "running"
    assert len(folder.trial_folder(4).list_checkpoints()) == 3
    (ran,) = backend.runs
    record = ran.source.next_trial()
    assert record is not None
    assert record.number == 4
    assert [trial.state for trial in ran.source.study.get_trials()] == [
        *[TrialState.COMPLETE] * 2,
        TrialState.PRUNED,
        TrialState.RUNNING,
    ]


def test_a_damaged_trial_is_not_planned_again(folder: ExperimentFolder, logged: Callable[[], list[str]]) -> None:
    for number in (1, 2, 3):
        add(folder, number)
    before = _plan(folder, logged)
    add(folder, 4)
    folder.trial_folder(4).record_path.write_text("{")
    assert _plan(folder, logged) == before - 1


def _plan(folder: ExperimentFolder, logged: Callable[[], list[str]]) -> int:
    """How many trials the plan of a resume says are left."""
    show_resume(folder, IdleBackend())
    (plan,) = [line for line in logged() if " at most " in line]
    return int(plan.split()[0])


def test_the_plan_counts_the_epochs_that_the_dense_network_has_left(
    folder: ExperimentFolder, logged: Callable[[], list[str]]
) -> None:
    def interrupt(row: DenseEpochRow) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_dense(SETTINGS.dense, load_data(SETTINGS.data), folder.dense_path, threads=1, on_epoch=interrupt)
    resume(folder, IdleBackend())
    assert any(line.endswith(", after 1 epoch for the dense network") for line in logged())


def test_damage_is_reported_once(folder: ExperimentFolder, warned: Callable[[], list[str]]) -> None:
    for number in (1, 2, 3):
        add(folder, number)
    folder.trial_folder(2).record_path.write_text("{")
    rows = folder.trial_folder(3).rows_path
    rows.write_bytes(rows.read_bytes()[:-20])
    resume(folder, IdleBackend())
    first, second = warned()
    assert first.startswith(f"{folder.trial_folder(2).record_path} is damaged: ")
    assert first.endswith("; the trial is left alone")
    assert second == f"{rows} is damaged after epoch 5, so the trial's result is lost"
    assert folder.trial_folder(2).record_path.read_text() == "{"


def test_failed_trials_are_retried_on_request(folder: ExperimentFolder) -> None:
    for number in (1, 2):
        add(folder, number, accuracy=0.5)
    # At a rung, and worse than the others: it had been told to continue, or it would have been stopped and not failed.
    add(folder, 3, epochs=3, accuracy=0.1, state="failed", error="a reason", finished="2025-01-01T00:00:00+00:00")
    backend = IdleBackend()
    resume(folder, backend)
    assert folder.trial_folder(3).read_record().state == "failed"
    resume(folder, backend, retry_failed=True)
    record = folder.trial_folder(3).read_record()
    assert (record.state, record.error, record.finished) == ("running", None, None)
    handed_out = backend.runs[1].source.next_trial()
    assert handed_out == record
    assert len(folder.trial_folder(3).read_rows()) == 3


def new_trial(number: int) -> NewTrial:
    return NewTrial(TrialRecord(number, as_json(TrialConfig(epochs=6, seed=9)), confirms=1))


def test_new_trials_and_changed_settings_are_recorded(
    folder: ExperimentFolder, logged: Callable[[], list[str]]
) -> None:
    add(folder, 0, control="one_shot")
    add(folder, 1)
    before, backend = folder.read_record(), IdleBackend()
    resume(folder, backend, new=[new_trial(2)], trials=25, resources={"cpus_per_trial": 2})
    after = folder.read_record()
    assert replace(after, settings={}) == replace(before, settings={})
    settings = resolve_settings(after.settings)
    assert (settings.search.trials, settings.resources.cpus_per_trial) == (25, 2)
    assert settings == replace(
        SETTINGS,
        search=replace(SETTINGS.search, trials=25),
        resources=replace(SETTINGS.resources, cpus_per_trial=2),
    )
    assert folder.trial_folder(2).read_record().kind == "repeat"
    (ran,) = backend.runs
    assert ran.settings == settings
    assert ran.source.planned_trials == 27
    assert "25 trials, at most 150 epochs in total, after 2 epochs for the dense network" in logged()
    record = ran.source.next_trial()
    assert record is not None
    assert record.number == 2


def test_a_resume_without_changes_writes_nothing_of_its_own(folder: ExperimentFolder) -> None:
    add(folder, 0, control="one_shot")
    before = content(folder.path)
    resume(folder, IdleBackend())
    after = content(folder.path)
    assert after.pop(folder.path / "study.journal")
    assert after == before


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"trials": 19}, "--trials must be at least the 20 that 'search' has, but got 19"),
        ({"data": "nowhere"}, "nowhere"),
    ],
)
def test_a_refused_resume_writes_nothing(folder: ExperimentFolder, how: dict[str, Any], says: str) -> None:
    add(folder, 1, state="failed")
    before, backend = content(folder.path), IdleBackend()
    with pytest.raises(ValueError, match=says):
        resume(folder, backend, new=[new_trial(2)], retry_failed=True, **how)
    assert content(folder.path) == before
    assert backend.runs == []


def test_a_number_that_has_been_taken_since_is_refused(folder: ExperimentFolder) -> None:
    add(folder, 2)
    with pytest.raises(ValueError, match="'search' got new trials while this command was being prepared"):
        resume(folder, IdleBackend(), new=[new_trial(2)])


def test_a_second_driver_is_refused_before_it_reads_anything(folder: ExperimentFolder) -> None:
    add(folder, 1)
    with (
        hold_driver_lock(folder),
        counting() as opened,
        pytest.raises(ValueError, match="'search' is already being run by"),
    ):
        resume(folder, IdleBackend())
    assert not opened


class Noting(SearchObserver):
    """Notes when it is told of the search's start and end, and what there was at the time."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.start: SearchStart | None = None

    def search_started(self, start: SearchStart) -> None:
        self.start = start
        self.told.append("started")

    def search_ended(self) -> None:
        self.told.append("ended")


def test_observers_are_told_of_the_start_and_the_end(folder: ExperimentFolder) -> None:
    add(folder, 0, control="one_shot")
    add(folder, 1, state="running", epochs=2)
    noting = [Noting(), Noting()]
    resume(folder, IdleBackend(lambda run: noting[0].told.append("runs")), observers=noting)
    assert noting[0].told == ["started", "runs", "ended"]
    assert noting[1].told == ["started", "ended"]
    start = noting[0].start
    assert start is not None
    assert (start.planned, start.dense_epochs) == (21, 2)
    assert [trial.number for trial in start.snapshot.trials] == [0, 1]


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (Interruption("the time budget has run out", 0), Interruption),
        (OSError("the disk is on fire"), OSError),
        (ValueError("a defect"), RuntimeError),  # the request is not what is wrong
    ],
)
def test_observers_are_told_of_the_end_however_it_comes(
    folder: ExperimentFolder, error: BaseException, raised: type[BaseException]
) -> None:
    noting = Noting()

    def fail(run: SearchRun) -> None:
        raise error

    with pytest.raises(raised):
        resume(folder, IdleBackend(fail), observers=[noting])
    assert noting.told == ["started", "ended"]
    with hold_driver_lock(folder):  # the lock has been released
        pass


def run_all(state: str) -> Callable[[SearchRun], None]:
    def run_trials(run: SearchRun) -> None:
        while (record := run.source.next_trial()) is not None:
            run.folder.trial_folder(record.number).record_end(state, "a reason" if state == "failed" else None)  # type: ignore[arg-type]
            run.source.tell_end(record.number)

    return run_trials


def test_a_search_whose_trials_all_fail_says_so(folder: ExperimentFolder) -> None:
    with pytest.raises(
        HopelessError, match=r"^all trials failed, so the search ends here: a reason \(.*--retry-failed"
    ):
        resume(folder, IdleBackend(run_all("failed")))
    assert len(list(folder.trial_folders())) == 4


def test_an_exhausted_space_is_reported(folder: ExperimentFolder, warned: Callable[[], list[str]]) -> None:
    settings = replace(SETTINGS, space=replace(SETTINGS.space, function="spaces.fixed:fixed"))
    folder.write_record(replace(folder.read_record(), settings=as_settings_json(settings)))
    resume(folder, IdleBackend(run_all("stopped")))
    assert warned() == ["the space has no untried configuration left; the search ends here"]


class RefusingBackend(IdleBackend):
    """A cluster that fails one of the checks."""

    def __init__(self, refuses: str) -> None:
        super().__init__()
        self.refuses = refuses

    def trial_resources(self, wanted: Any) -> Any:
        if self.refuses == "resources":
            raise ValueError("a trial must fit on one node")
        return super().trial_resources(wanted)

    def check_storage(self, storage: Path) -> None:
        if self.refuses == "storage":
            raise ValueError("--storage must be shared")


@pytest.mark.parametrize("refuses", ["resources", "storage"])
def test_a_refusal_by_the_cluster_leaves_no_files(tmp_path: Path, refuses: str) -> None:
    folder = ExperimentFolder(tmp_path / "storage" / "search")
    backend = RefusingBackend(refuses)
    with pytest.raises(ValueError, match=r"must fit|must be shared"):
        run(SETTINGS, folder, backend, preset="mine")
    assert list(tmp_path.iterdir()) == []
    assert backend.runs == backend.dense == []


def test_a_new_experiment_runs_from_its_record(tmp_path: Path, logged: Callable[[], list[str]]) -> None:
    folder, backend, noting = ExperimentFolder(tmp_path / "search"), IdleBackend(), Noting()
    run(SETTINGS, folder, backend, preset="mine", observers=[noting])
    assert resolve_settings(folder.read_record().settings) == SETTINGS
    assert folder.read_record().preset == "mine"
    assert backend.dense == [folder.dense_path]
    (ran,) = backend.runs
    assert ran.source.planned_trials == 21
    assert noting.told == ["started", "ended"]
    said = logged()
    assert said[0] == "reading digits"
    assert "21 trials, at most 126 epochs in total, after 2 epochs for the dense network" in said


def test_the_current_folder_is_importable_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a space next to the preset; its module may import others when it is called."""
    (tmp_path / "beside.py").write_text(
        "from dataclasses import replace\n"
        "def space(trial, base):\n"
        "    import helper_of_beside\n"
        "    return replace(base, seed=trial.suggest_int('seed', 0, 10**6))\n"
    )
    (tmp_path / "helper_of_beside.py").write_text("")
    monkeypatch.chdir(tmp_path)
    settings = replace(SETTINGS, space=replace(SETTINGS.space, function="beside:space"))
    before, during = list(sys.path), list[Sequence[str]]()
    run(
        settings,
        ExperimentFolder(tmp_path / "search"),
        IdleBackend(lambda run: during.append(list(sys.path))),
        preset="",
    )
    assert str(tmp_path) in during[0]
    assert sys.path == before
    for name in ("beside", "helper_of_beside"):
        sys.modules.pop(name)


def test_branches_and_repeats_count_as_planned(folder: ExperimentFolder, logged: Callable[[], list[str]]) -> None:
    add(folder, 0, control="one_shot")
    add(folder, 1)
    add(folder, 2, parent=Parent(number=1, epoch=1), state="running", epochs=0)
    add(folder, 3, confirms=1)
    resume(folder, IdleBackend())
    # A control, 20 trials, a branch and a repeat, of which three have ended.
    assert "20 trials, at most 120 epochs in total, after 2 epochs for the dense network" in logged()


def test_a_twin_is_planned_with_its_own_epochs(folder: ExperimentFolder, logged: Callable[[], list[str]]) -> None:
    add(folder, 0, control="one_shot")
    for number in range(1, 21):
        add(folder, number)
    longer = TrialRecord(21, as_json(TrialConfig(epochs=40, alpha=OneShot())), confirms=1, twin="compute")
    resume(folder, IdleBackend(), new=[NewTrial(longer)])
    assert "1 trial, at most 40 epochs in total, after 2 epochs for the dense network" in logged()


class FinishingBackend(IdleBackend):
    """Every trial is complete as soon as it is handed out; `die` is called before some of them."""

    def __init__(self, die: Callable[[int], None] = lambda number: None) -> None:
        super().__init__(self._finish)
        self._die = die

    def _finish(self, run: SearchRun) -> None:
        while (record := run.source.next_trial()) is not None:
            self._die(record.number)
            trial, epochs = run.folder.trial_folder(record.number), record.config["epochs"]
            for epoch in range(1, epochs + 1):
                fades = epoch == 1 and record.config["alpha"]["family"] != "one_shot"
                phase, cost = ("alpha", 1.0) if fades else ("retrain", 0.5)
                accuracy = 0.5 + record.number / 100
                trial.append_row(make_row(epoch, phase=phase, training_cost=cost, pruned_val_accuracy=accuracy))
            trial.record_end("complete")
            run.source.tell_end(record.number)


CONFIRMING = replace(
    SETTINGS, search=replace(SETTINGS.search, trials=3), confirm=replace(SETTINGS.confirm, top=2, seeds=2)
)


def confirmed(folder: ExperimentFolder) -> list[tuple[int | None, str | None, int]]:
    records = [trial.read_record() for trial in folder.trial_folders()]
    return [(each.confirms, each.twin, each.config["seed"]) for each in records if each.confirms is not None]


def test_a_run_confirms_the_best_if_the_settings_want_it(tmp_path: Path, logged: Callable[[], list[str]]) -> None:
    folder, backend = ExperimentFolder(tmp_path / "search"), FinishingBackend()
    run(CONFIRMING, folder, backend, preset="")
    assert len(backend.runs) == 2
    fading = [
        trial.number
        for trial in folder.trial_folders()
        if (record := trial.read_record()).kind == "searched" and record.config["alpha"]["family"] != "one_shot"
    ]
    best = {0, *sorted(fading)[-2:]}
    found = confirmed(folder)
    assert {number for number, _, _ in found} == best
    assert len(found) == 2 + 2 * 3 * 2
    assert "confirming the best: 6 repeats with other seeds, and 8 twins without a fade" in logged()
    resume(folder, again := FinishingBackend())
    assert [len(each.folder.path.name) for each in again.runs] == [len("search")]  # nothing is confirmed twice
    assert confirmed(folder) == found


@pytest.mark.parametrize("number", [4, 9])
def test_what_an_interruption_left_unconfirmed_is_confirmed_by_a_resume(tmp_path: Path, number: int) -> None:
    """At the first repeat, and among the twins."""

    def die(now: int) -> None:
        if now == number:
            raise Interruption("interrupted by SIGTERM", 143)

    whole, folder = ExperimentFolder(tmp_path / "whole"), ExperimentFolder(tmp_path / "search")
    run(CONFIRMING, whole, FinishingBackend(), preset="")
    with pytest.raises(Interruption):
        run(CONFIRMING, folder, FinishingBackend(die), preset="")
    resume(folder, FinishingBackend())
    assert confirmed(folder) == confirmed(whole)
    assert {trial.read_record().state for trial in folder.trial_folders()} == {"complete"}


def test_nothing_left_to_run_is_reported(folder: ExperimentFolder, logged: Callable[[], list[str]]) -> None:
    add(folder, 0, control="one_shot")
    for number in range(1, 21):
        add(folder, number)
    resume(folder, IdleBackend())
    assert "no trials are left to run" in logged()


def test_the_record_of_the_driver_says_what_is_done(folder: ExperimentFolder) -> None:
    seen: list[Any] = []
    resume(folder, IdleBackend(lambda run: seen.append(read_driver(folder))), options=["--local"])
    (during,), after = seen, read_driver(folder)
    assert (during.command, during.options, during.searched, during.ended) == ("resume", ("--local",), False, None)
    assert after is not None
    assert (after.searched, after.reason) == (True, None)
    assert after.ended is not None

    def interrupt(run: SearchRun) -> None:
        raise Interruption("interrupted by SIGTERM", 143)

    with pytest.raises(Interruption):
        resume(folder, IdleBackend(interrupt))
    interrupted = read_driver(folder)
    assert interrupted is not None
    assert (interrupted.searched, interrupted.reason) == (False, "interrupted by SIGTERM")


class MeasuringBackend(IdleBackend):
    """Measures without measuring; notes what it finds while it does."""

    def __init__(self, folder: ExperimentFolder) -> None:
        super().__init__()
        self.folder, self.seen = folder, list[Any]()

    def open_measurement(self) -> nullcontext[MeasureNetwork]:
        return nullcontext(self._measure)

    def _measure(self, *arguments: Any, **keywords: Any) -> Measurement:
        with pytest.raises(ValueError, match="is already being run by"), hold_driver_lock(self.folder):
            pass
        self.seen.append(read_driver(self.folder))
        return Measurement(alone=True)


def add_pair(folder: ExperimentFolder) -> None:
    for number in (1, 2):
        add(folder, number)
        folder.trial_folder(number).model_path.mkdir()


@pytest.mark.parametrize("how", ["run", "resume", "measure"])
def test_the_experiment_is_locked_while_it_is_measured(folder: ExperimentFolder, how: str, data: Data) -> None:
    settings = replace(SETTINGS, results=replace(SETTINGS.results, measure=True))
    folder.write_record(replace(folder.read_record(), settings=as_settings_json(settings)))
    backend = MeasuringBackend(folder)
    if how == "run":
        backend.folder = folder = ExperimentFolder(folder.path.with_name("new"))
        backend.during = lambda run: add_pair(folder)
        run(settings, folder, backend, preset="mine")
    else:
        add_pair(folder)
        if how == "resume":
            resume(folder, backend)
        else:
            measure(folder, backend, TrialSelection(everything=True), data=None)
    first, *_ = backend.seen
    assert first.command == ("measure" if how == "measure" else "resume")
    assert (first.to_measure, first.measured, first.searched) == (len(backend.seen), 0, how != "measure")
    last = read_driver(folder)
    assert last is not None
    assert last.measured == last.to_measure == len(backend.seen)
    assert last.ended is not None


def test_a_trial_that_another_driver_has_created_ends_the_search(folder: ExperimentFolder) -> None:
    def create_by_another(run: SearchRun) -> None:
        add(folder, 0, control="one_shot")
        run.source.next_trial()

    with pytest.raises(
        Interruption, match="'search' is now being run by another process, so this process ends"
    ) as error:
        resume(folder, IdleBackend(create_by_another))
    assert (error.value.code, error.value.can_resume) == (1, False)
    assert len(folder.trial_folder(0).read_rows()) == 6
    assert [path.name for path in folder.trials_path.iterdir()] == ["00000"]


def test_a_dense_network_of_another_experiment_is_named(
    folder: ExperimentFolder, monkeypatch: pytest.MonkeyPatch, logged: Callable[[], list[str]], tmp_path: Path
) -> None:
    monkeypatch.setattr("search.setup.dense_source.find_dense", lambda storage, wanted: tmp_path / "other" / "dense")
    monkeypatch.setattr("search.setup.dense_source.copy_dense", lambda source, target: None)
    resume(folder, IdleBackend())
    assert f"the dense network is taken from experiment 'other': {tmp_path / 'other' / 'dense'}" in logged()


def test_a_dense_network_that_is_removed_while_it_is_copied_is_trained(
    folder: ExperimentFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("search.setup.dense_source.find_dense", lambda storage, wanted: tmp_path / "gone" / "dense")
    backend = IdleBackend()
    resume(folder, backend)
    assert backend.dense == [folder.dense_path]


def test_the_longest_wait_is_that_of_the_settings_while_it_runs(folder: ExperimentFolder) -> None:
    seen: list[float] = []
    backend = IdleBackend(lambda run: seen.append(longest_wait_seconds()))
    resume(folder, backend, resources={"longest_wait_seconds": 7.0})
    assert seen == [7]
    assert longest_wait_seconds() != 7

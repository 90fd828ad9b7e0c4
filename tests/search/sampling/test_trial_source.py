"""The search hands out trials, learns from records alone, and is rebuilt from them. No trial is trained here."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from examples import make_cut, make_row
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from searches import open_source

from records.experiment import ExperimentFolder
from records.trial import Parent, TrialRecord
from search.observers.observer import SearchObserver, SearchStart, StudyResult
from search.observers.optuna_journal import OptunaJournal
from search.sampling.controls import control_configs, next_number
from search.sampling.trial_source import TrialSource
from search.settings import Settings, resolve_settings
from search.snapshot import Snapshot, TrialSnapshot
from spaces.space import load_space
from trainable.config import TrialConfig, trial_config

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    return ExperimentFolder(tmp_path / "experiment")


def settings(**search: object) -> Settings:
    base = resolve_settings({"search": {"trials": 5, **search}, "controls": {"amounts": [0.5, 0.75]}})
    return replace(base, trial=replace(base.trial, epochs=9))


def ask(source: TrialSource) -> int | None:
    record = source.next_trial()
    return None if record is None else record.number


def end(
    folder: ExperimentFolder,
    number: int,
    state: str,
    *,
    epochs: int = 9,
    accuracy: float = 0.5,
    training_cost: float | None = None,
) -> None:
    """Records what a trial that ran would have recorded; training_cost: of each epoch."""
    trial = folder.trial_folder(number)
    for epoch in range(1, epochs + 1):
        trial.append_row(make_row(epoch, pruned_val_accuracy=accuracy * epoch / epochs, training_cost=training_cost))
    trial.write_record(replace(trial.read_record(), cut=make_cut(macs=1000 + number, parameters=50)))
    trial.record_end(state, "error" if state == "failed" else None)  # type: ignore[arg-type]


def run_all(source: TrialSource, folder: ExperimentFolder) -> list[int]:
    numbers = []
    while (number := ask(source)) is not None:
        numbers.append(number)
        end(folder, number, "complete", accuracy=1 / (2 + number))
        source.tell_end(number)
    return numbers


def test_controls_come_first_and_each_record_is_written_before_its_trial(folder: ExperimentFolder) -> None:
    source = open_source(folder, settings())
    assert source.planned_trials == 11
    for expected in range(11):
        handed_out = source.next_trial()
        record = folder.trial_folder(expected).read_record()
        assert handed_out == record
        assert (record.number, record.state, record.attempt) == (expected, "running", 0)
        assert (record.control is None) == (expected >= 6)
        assert bool(record.params) == bool(record.distributions) == (expected >= 6)
    assert ask(source) is None
    assert not folder.trial_folder(11).path.exists()


def test_the_record_replays_to_the_config_from_the_space(folder: ExperimentFolder) -> None:
    chosen = settings()
    source = open_source(folder, chosen)
    run_all(source, folder)
    for number in range(6, 11):
        record = folder.trial_folder(number).read_record()
        config = load_space(chosen.space.function, {})(optuna.trial.FixedTrial(record.params), chosen.trial)  # type: ignore[arg-type]
        assert config == trial_config(record.config)


def test_the_study_is_told_how_trials_end(folder: ExperimentFolder) -> None:
    source = open_source(folder, settings())
    for number in range(11):
        assert ask(source) == number
    end(folder, 0, "failed")
    end(folder, 6, "complete", accuracy=0.8)
    end(folder, 7, "stopped", epochs=3)
    end(folder, 8, "failed", epochs=1)
    for number in (0, 6, 7, 8):
        source.tell_end(number)
    told = source.study.trials
    assert [trial.state for trial in told] == [
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.FAIL,
        TrialState.RUNNING,
        TrialState.RUNNING,
    ]
    assert told[0].values == [0.8, 1006.0]
    # Optuna 5's TPE fails at the next ask when a pruned trial of several objectives carries intermediate values.
    assert all(not trial.intermediate_values for trial in told)


def test_a_training_cost_is_the_sum_of_all_epochs(folder: ExperimentFolder) -> None:
    source = open_source(folder, settings(objectives=["pruned_val_accuracy", "training_cost"]))
    for number in range(8):
        assert ask(source) == number
    end(folder, 6, "complete", accuracy=0.8, training_cost=0.25)
    end(folder, 7, "complete", accuracy=0.8)  # of older records
    source.tell_end(6)
    source.tell_end(7)
    known, unknown = source.study.trials
    assert known.values == pytest.approx([0.8, 9 * 0.25])
    assert unknown.state is TrialState.FAIL


def test_one_objective_gets_intermediate_values(folder: ExperimentFolder) -> None:
    source = open_source(folder, settings(objectives=["pruned_val_accuracy"]))
    for number in range(8):
        assert ask(source) == number
    end(folder, 6, "complete", accuracy=0.9)
    end(folder, 7, "stopped", epochs=3, accuracy=0.3)
    source.tell_end(6)
    source.tell_end(7)
    complete, stopped = source.study.trials
    assert complete.values == pytest.approx([0.9])
    assert complete.intermediate_values == pytest.approx({epoch: 0.1 * epoch for epoch in range(1, 10)})
    assert stopped.state is TrialState.PRUNED
    assert stopped.intermediate_values == pytest.approx({1: 0.1, 2: 0.2, 3: 0.3})


@pytest.mark.parametrize("objectives", [["pruned_val_accuracy"], ["pruned_val_accuracy", "macs"]])
def test_the_sampler_copes_with_stopped_and_failed_trials(folder: ExperimentFolder, objectives: list[str]) -> None:
    source = open_source(folder, settings(objectives=objectives, trials=40))
    states = ["complete", "stopped", "failed", "complete"]
    for number in range(46):
        assert ask(source) == number
        end(folder, number, states[number % 4], epochs=3 if number % 4 else 9, accuracy=(number % 7) / 7)
        source.tell_end(number)
    assert ask(source) is None
    assert len(source.study.trials) == 40


@pytest.mark.parametrize("objectives", [["pruned_val_accuracy"], ["pruned_val_accuracy", "macs"]])
def test_the_study_is_rebuilt_from_the_records(folder: ExperimentFolder, objectives: list[str]) -> None:
    chosen = settings(objectives=objectives)
    source = open_source(folder, chosen)
    for number in range(10):
        assert ask(source) == number
    for number, state in {0: "complete", 6: "complete", 7: "stopped", 8: "failed"}.items():
        end(folder, number, state, accuracy=0.7)
        source.tell_end(number)
    again = open_source(folder, chosen)

    def seen(trials: list[optuna.trial.FrozenTrial]) -> list[object]:
        return [(t.state, t.params, t.values, t.intermediate_values, t.distributions) for t in trials]

    assert seen(again.study.trials) == seen(source.study.trials)
    # What was running runs again, unchanged and under its number, and then the rest of the plan.
    assert [ask(again) for _ in range(8)] == [1, 2, 3, 4, 5, 9, 10, None]
    for number in (1, 9, 10):
        end(folder, number, "complete", accuracy=0.4)
        again.tell_end(number)
    assert [t.state for t in again.study.trials] == [
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.FAIL,
        TrialState.COMPLETE,
        TrialState.COMPLETE,
    ]


def test_a_longer_search_asks_for_new_trials(folder: ExperimentFolder) -> None:
    run_all(open_source(folder, settings()), folder)
    longer = open_source(folder, settings(trials=25))
    assert run_all(longer, folder) == list(range(11, 31))
    configs = [repr(folder.trial_folder(number).read_record().config) for number in range(6, 31)]
    assert len(set(configs)) == len(configs)


def few(trial: optuna.Trial, base: TrialConfig) -> TrialConfig:
    """A space of three points."""
    amount = trial.suggest_categorical("pruning.amount", [0.5, 0.6, 0.75])
    return replace(base, pruning=replace(base.pruning, amount=amount))


@pytest.mark.parametrize("objectives", [["pruned_val_accuracy"], ["pruned_val_accuracy", "macs"]])
def test_nothing_is_run_twice_and_an_exhausted_space_ends_the_search(
    folder: ExperimentFolder, objectives: list[str]
) -> None:
    chosen = settings(trials=20, objectives=objectives)
    folder.path.mkdir()
    for _ in range(2):  # and a resumed search knows what was run before
        journal = OptunaJournal(folder, objectives)
        source = open_source(folder, chosen, few, journal)
        journal.search_started(SearchStart(source.study, Snapshot.read(folder), source.planned_trials, 0, folder))
        run_all(source, folder)
        assert source.exhausted
        amounts = [
            trial_config(folder.trial_folder(number).read_record().config).pruning.amount for number in (6, 7, 8)
        ]
        assert sorted(amounts) == [0.5, 0.6, 0.75]
        assert not folder.trial_folder(9).path.exists()
    shown = optuna.load_study(
        study_name=None, storage=JournalStorage(JournalFileBackend(str(folder.path / "study.journal")))
    )
    assert [trial.params["pruning.amount"] for trial in shown.trials] == amounts
    assert {trial.state for trial in shown.trials} == {TrialState.COMPLETE}


def test_branches_are_not_trials_of_the_study(folder: ExperimentFolder) -> None:
    run_all(open_source(folder, settings()), folder)
    config = folder.trial_folder(6).read_record().config
    folder.trial_folder(11).create(TrialRecord(11, config, parent=Parent(number=6, epoch=1, alpha=0.5)))
    longer = open_source(folder, settings(trials=7))
    assert longer.planned_trials == 14
    assert run_all(longer, folder) == [11, 12, 13]
    assert (
        len(longer.study.trials) == sum(trial.read_record().kind == "searched" for trial in folder.trial_folders()) == 7
    )


def test_new_trials_do_not_take_the_numbers_of_later_controls(folder: ExperimentFolder) -> None:
    """A search interrupted after its first control still runs all the others."""
    chosen = settings()
    assert next_number(Snapshot.read(folder).numbers, chosen) == 6
    ask(open_source(folder, chosen))
    assert next_number(Snapshot.read(folder).numbers, chosen) == 6
    folder.trial_folder(6).create(
        TrialRecord(6, folder.trial_folder(0).read_record().config, confirms=0, control="one_shot")
    )
    assert next_number(Snapshot.read(folder).numbers, chosen) == 7
    numbers = run_all(open_source(folder, chosen), folder)
    assert sorted(numbers) == list(range(12))
    kinds = [folder.trial_folder(number).read_record().control for number in range(6)]
    assert kinds == [kind for kind, _ in control_configs(chosen)]
    assert sum(trial.read_record().kind == "searched" for trial in folder.trial_folders()) == 5


def test_a_search_whose_trials_all_fail_ends(folder: ExperimentFolder) -> None:
    source = open_source(folder, settings())
    for number in range(4):
        assert ask(source) == number
        assert source.common_error is None
        end(folder, number, "failed")
        source.tell_end(number)
    assert source.common_error == "error"
    assert ask(source) is None
    assert ask(open_source(folder, settings())) is None  # nor does a resume help
    folder.trial_folder(2).reopen()
    assert ask(open_source(folder, settings())) == 2


@pytest.mark.parametrize("first", ["failed", "complete"])
def test_one_trial_that_does_not_fail_keeps_the_search_going(folder: ExperimentFolder, first: str) -> None:
    """In any order: failed trials end first, and a resumed search reads them by number."""
    source = open_source(folder, settings())
    for number in range(5):
        assert ask(source) == number
    for number in range(4):
        end(folder, number, "failed")
        if first == "failed":
            source.tell_end(number)
    end(folder, 4, "complete")
    source.tell_end(4)
    assert source.common_error is None
    assert ask(source) == 5
    assert ask(open_source(folder, settings())) == 5


def test_a_rejection_by_the_space_is_reported_and_the_study_asked_again(
    folder: ExperimentFolder, warned: Callable[[], list[str]]
) -> None:
    def picky(trial: optuna.Trial, base: TrialConfig) -> TrialConfig:
        amount = trial.suggest_float("pruning.amount", 0.1, 0.9)
        if amount < 0.5:
            raise ValueError("that is\nnot enough")
        return replace(base, pruning=replace(base.pruning, amount=amount))

    source = open_source(folder, settings(trials=12), picky)
    assert run_all(source, folder) == list(range(18))
    refused = [line for line in warned() if "not enough" in line]
    assert refused
    assert all(line.endswith(": that is not enough") and "pruning.amount" in line for line in refused)


def test_the_sampler_goes_on_after_a_rejection(folder: ExperimentFolder, logged: Callable[[], list[str]]) -> None:
    """A single rejection must not turn a search at random."""

    def picky(trial: optuna.Trial, base: TrialConfig) -> TrialConfig:
        amount = trial.suggest_float("pruning.amount", 0.1, 0.9)
        if amount > 0.5 and trial.number % 3 == 0:
            raise ValueError("not this time")
        return replace(base, pruning=replace(base.pruning, amount=amount))

    source = open_source(folder, settings(trials=30), picky)
    run_all(source, folder)
    assert [line for line in logged() if "not this time" in line]
    assert not [line for line in logged() if "at random" in line]
    assert isinstance(source.study.sampler, optuna.samplers.TPESampler)
    later = [trial for trial in source.study.trials[20:] if trial.state == TrialState.COMPLETE]
    assert all(any(key.startswith("tpe:relative_params") for key in trial.system_attrs) for trial in later)


def test_drawing_at_random_is_said(folder: ExperimentFolder, logged: Callable[[], list[str]]) -> None:
    def narrow(trial: optuna.Trial, base: TrialConfig) -> TrialConfig:
        amount = trial.suggest_float("pruning.amount", 0.1, 0.9)
        if amount > 0.11:
            raise ValueError("too much")
        return replace(base, pruning=replace(base.pruning, amount=amount))

    source = open_source(folder, replace(settings(), controls=replace(settings().controls, kinds=())), narrow)
    number = ask(source)
    assert f"trial {number} is drawn at random: the sampler suggests nothing new" in logged()


def rejecting(trial: optuna.Trial, base: TrialConfig) -> TrialConfig:
    trial.suggest_float("rate", 0, 1)
    raise ValueError("none will do")


def breaking(trial: optuna.Trial, base: TrialConfig) -> TrialConfig:
    """It has a defect that few trials reach, which is Optuna's to notice."""
    name = trial.suggest_categorical("name", ["a", "b"])
    trial.suggest_float("rate", 0, 1, log=False) if name == "a" else trial.suggest_int("rate", 0, 9)
    return replace(base, seed=trial.number)


def failing(trial: optuna.Trial, base: TrialConfig) -> TrialConfig:
    if trial.suggest_categorical("name", ["a", "b"]) == "b":
        raise KeyError("b")
    return replace(base, seed=trial.number)


@pytest.mark.parametrize(
    ("space", "says"),
    [(breaking, "Optuna cannot suggest 'rate'"), (failing, "KeyError: 'b'"), (rejecting, "rejected all 200")],
)
def test_an_error_that_is_no_rejection_ends_the_search_and_is_kept(
    folder: ExperimentFolder,
    space: Callable[[optuna.Trial, TrialConfig], TrialConfig],
    says: str,
    warned: Callable[[], list[str]],
) -> None:
    chosen = replace(settings(trials=40), controls=replace(settings().controls, kinds=()))
    source = open_source(folder, chosen, space)
    assert len(run_all(source, folder)) < 40
    assert says in str(source.space_error)
    assert ask(source) is None
    assert not source.exhausted
    assert all("none will do" in line for line in warned())


DAMAGES = {
    "a name in the config": lambda text: text.replace('"epochs"', '"epocht"'),
    "a value in the config": lambda text: text.replace('"epochs": 9', '"epochs": "nine"'),
    "a distribution that is none": lambda text: text.replace("Distribution", "Distributiom"),
    "a name in a distribution": lambda text: text.replace('\\"attributes\\"', '\\"attributet\\"'),
    "parameters without distributions": lambda text: text.replace('"distributions"', '"distributiont"'),
    "a parameter without distribution": lambda text: text.replace('"params": {', '"params": {"more": 1, '),
    "a record cut short": lambda text: text[:-5],
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("state", ["complete", "running"])
def test_a_damaged_record_is_named_and_left_alone(
    folder: ExperimentFolder, damage: str, state: str, warned: Callable[[], list[str]]
) -> None:
    """Even if it is valid JSON: disks and people change single letters."""
    source = open_source(folder, settings())
    for number in range(9):
        assert ask(source) == number
    for number in range(8) if state == "running" else range(9):
        end(folder, number, "complete")
        source.tell_end(number)
    path = folder.trial_folder(8).record_path
    text = path.read_text()
    path.write_text(DAMAGES[damage](text))
    assert path.read_text() != text
    if state == "running":
        source.tell_end(8)  # it may be damaged while the trial runs
        assert str(path) in warned()[0]
    again = open_source(folder, settings())
    (problem,) = warned()
    assert problem.startswith(f"{path} is damaged: ")
    assert problem.endswith("; the trial is left alone")
    assert "http" not in problem
    assert run_all(again, folder) == [9, 10]
    assert path.read_text() == DAMAGES[damage](text)


@pytest.mark.parametrize("damage", ["rows", "cut"])
def test_a_complete_trial_that_lost_its_result_teaches_nothing(
    folder: ExperimentFolder, damage: str, warned: Callable[[], list[str]]
) -> None:
    run_all(open_source(folder, settings()), folder)
    trial = folder.trial_folder(7)
    if damage == "rows":
        text = trial.rows_path.read_bytes()
        trial.rows_path.write_bytes(text[: len(text) // 2])
    else:
        trial.write_record(replace(trial.read_record(), cut=None))
    again = open_source(folder, settings())
    assert [each.state for each in again.study.trials].count(TrialState.FAIL) == 1
    if damage == "rows":
        assert warned() == [f"{trial.rows_path} is damaged after epoch 4, so the trial's result is lost"]


@pytest.mark.parametrize("missing", ["macs", "parameters", "epoch", "widths", "channels"])
def test_a_record_with_an_incomplete_cut_is_damaged(
    folder: ExperimentFolder, missing: str, warned: Callable[[], list[str]]
) -> None:
    run_all(open_source(folder, settings()), folder)
    path = folder.trial_folder(7).record_path
    values = json.loads(path.read_text())
    del values["cut"][missing]
    path.write_text(json.dumps(values))
    again = open_source(folder, settings(trials=6))
    (problem,) = warned()
    assert problem.startswith(f"{path} is damaged: cut.{missing}: ")
    assert problem.endswith("; the trial is left alone")
    assert len(again.study.trials) == 4
    assert run_all(again, folder) == [11]  # its number is not reused, and it counts as one that the study suggested
    assert json.loads(path.read_text()) == values


class Noting(SearchObserver):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.asked: list[FrozenTrial] = []
        self.ended: list[tuple[int, TrialSnapshot | None, StudyResult | None]] = []

    def trial_asked(self, trial: FrozenTrial) -> None:
        self.asked.append(trial)

    def trial_ended(self, number: int, trial: TrialSnapshot | None, result: StudyResult | None) -> None:
        self.ended.append((number, trial, result))


def test_observers_are_told_what_the_study_is_told(folder: ExperimentFolder) -> None:
    noting = Noting()
    source = open_source(folder, settings(), observer=noting)
    for number in range(10):
        assert ask(source) == number
    assert [trial.params for trial in noting.asked] == [
        folder.trial_folder(number).read_record().params for number in range(6, 10)
    ]
    ends = {0: "complete", 6: "complete", 7: "stopped", 8: "failed"}
    for number, state in ends.items():
        end(folder, number, state, accuracy=0.7)
        source.tell_end(number)
    folder.trial_folder(9).record_path.write_text("{")
    source.tell_end(9)
    assert [(number, trial and trial.record.state) for number, trial, _ in noting.ended] == [*ends.items(), (9, None)]
    assert [result for _, _, result in noting.ended] == [
        None,
        StudyResult(0, TrialState.COMPLETE, [0.7, 1006.0]),
        StudyResult(1, TrialState.PRUNED, None),
        StudyResult(2, TrialState.FAIL, None),
        StudyResult(3, TrialState.FAIL, None),
    ]
    assert [trial and len(trial.rows) for _, trial, _ in noting.ended] == [9, 9, 9, 9, None]


def test_a_long_search_does_not_copy_its_study_for_each_trial(
    folder: ExperimentFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`Study.trials` deep-copies every trial, which takes seconds per call once there are thousands."""

    def copied(study: optuna.Study) -> list[FrozenTrial]:
        raise AssertionError("all trials of the study were copied")

    run_all(open_source(folder, settings()), folder)
    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "trials", property(copied))
        assert run_all(open_source(folder, settings(trials=8)), folder) == [11, 12, 13]


def test_the_seed_decides_the_first_suggestion(tmp_path: Path) -> None:
    def first(name: str, seed: int) -> list[dict[str, object]]:
        folder = ExperimentFolder(tmp_path / name)
        run_all(open_source(folder, settings(seed=seed)), folder)
        return [folder.trial_folder(number).read_record().params for number in range(6, 11)]

    assert first("a", 1) == first("b", 1)
    assert first("c", 1) != first("d", 2)


def test_a_record_matches_its_dataclass(folder: ExperimentFolder) -> None:
    ask(open_source(folder, settings()))
    assert isinstance(folder.trial_folder(0).read_record(), TrialRecord)
    assert isinstance(trial_config(folder.trial_folder(0).read_record().config), TrialConfig)


def test_the_trials_of_the_study_tell_the_numbers_of_the_records(folder: ExperimentFolder) -> None:
    """The study does not count the controls; a dashboard shows user attributes."""
    chosen = settings(trials=3)
    folder.path.mkdir()
    for _ in range(2):  # as they are asked for, and from the records of an earlier driver
        source = open_source(folder, chosen)
        run_all(source, folder)
        searched = [trial.number for trial in folder.trial_folders() if trial.read_record().kind == "searched"]
        assert [trial.user_attrs["number"] for trial in source.study.trials] == searched

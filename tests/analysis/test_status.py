import fcntl
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from experiments import ExperimentBuilder
from golden import assert_golden
from rich.console import Console

import analysis
from analysis.status import BestTrial, FailedTrial, RunningTrial, StateCounts, status, to_json
from analysis.terminal.experiment_list import experiment_list
from analysis.terminal.status_view import LONGEST_LIST, status_view
from records.driver import FILE_NAME, LOCK_NAME, DriverRecord, read_driver_state
from records.experiment import ExperimentFolder
from records.files import write_json
from records.trial import Parent
from trainable.schedules.alpha import Exponential

AT = datetime(2026, 1, 2, 3, 5, 5, tzinfo=UTC)
ALPHA = Exponential().alpha_at(0.5)


def write_driver(folder: ExperimentFolder, **fields: Any) -> None:
    """The record of a driver that was last alive four minutes before AT."""
    since = "2026-01-02T00:00:00+00:00"
    record = DriverRecord(
        **{"host": "node", "pid": 123, "user": "ann", "since": since, "options": ("--local",), **fields}
    )
    write_json(folder.path / FILE_NAME, asdict(record))
    os.utime(folder.path / FILE_NAME, (AT.timestamp() - 240,) * 2)


@contextmanager
def driven(folder: ExperimentFolder, **fields: Any) -> Iterator[None]:
    """A driver is at work."""
    write_driver(folder, **fields)
    with (folder.path / LOCK_NAME).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture
def half_way(builder: ExperimentBuilder) -> Iterator[ExperimentBuilder]:
    """Controls done, a trial complete, one stopped, one failed, one running, one about to."""
    with driven(builder.folder):
        yield add_half(builder)


def add_half(builder: ExperimentBuilder) -> ExperimentBuilder:
    builder.add_trial(0, control="one_shot")
    builder.add_trial(1, accuracies=(0.1, 0.2, 0.95))
    builder.add_trial(2, state="stopped", accuracies=(0.99,))
    builder.add_trial(3, state="failed", accuracies=(), error="RuntimeError: out of memory\n  at x\n")
    runs = builder.add_trial(4, state="running", accuracies=(0.5,), started="2026-01-02T00:00:00+00:00")
    os.utime(runs.rows_path, (AT.timestamp() - 12.5,) * 2)
    builder.add_trial(5, state="running", accuracies=(), started=None)
    return builder


def shown(path: Path, width: int = 100) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(status_view(status(analysis.load(path), AT)))
    return out.getvalue()


def test_what_stands_is_counted(half_way: ExperimentBuilder) -> None:
    found = status(analysis.load(half_way.path), AT)
    assert found.name == "demo"
    assert found.dense_val_accuracy == 0.94
    assert found.controls == StateCounts(planned=None, complete=1, running=0, stopped=0, failed=0)
    assert found.trials == StateCounts(planned=4, complete=1, running=2, stopped=1, failed=1)
    assert found.failed == (FailedTrial(3, "3 exponential 3", None, "RuntimeError: out of memory"),)
    assert found.front_size == 1
    assert found.problems == ()
    assert found.best == BestTrial(1, "1 exponential 3", None, 0.95, pytest.approx(-0.01), 0.75)


def test_what_runs_is_told(half_way: ExperimentBuilder) -> None:
    found = status(analysis.load(half_way.path), AT)
    assert found.running == (
        RunningTrial(4, "4 exponential 3", None, None, 1, 3, "alpha", ALPHA, 0.5, "node", "cpu", pytest.approx(12.5)),
        RunningTrial(5, "5 exponential 3", None, None, 0, 3, None, None, None, None, None, None),
    )


def test_repeats_are_neither_controls_nor_trials(half_way: ExperimentBuilder) -> None:
    half_way.add_trial(6, control="one_shot", confirms=0)
    half_way.add_trial(7, confirms=1, state="running", accuracies=())
    found = status(analysis.load(half_way.path), AT)
    before = [StateCounts(None, 1, 0, 0, 0), StateCounts(None, 0, 0, 0, 0), StateCounts(4, 1, 2, 1, 1)]
    assert [found.controls, found.branches, found.trials] == before
    assert found.repeats == StateCounts(None, 1, 1, 0, 0)
    assert found.running[-1].confirms == 1
    assert "7 exponential 3 (repeat of 1)" in shown(half_way.path)


def test_seconds_count_from_the_start_where_there_is_no_row(builder: ExperimentBuilder) -> None:
    builder.add_trial(0, state="running", accuracies=(), started=(AT - timedelta(seconds=90)).isoformat())
    builder.add_trial(1, state="running", accuracies=(), started=(AT + timedelta(seconds=90)).isoformat())
    with driven(builder.folder):
        found = status(analysis.load(builder.path), AT)
    assert [trial.seconds_since_row for trial in found.running] == [90, 0]


def test_an_experiment_that_has_only_begun(builder: ExperimentBuilder) -> None:
    (builder.folder.dense_path / "dense.json").unlink()
    builder.folder.dense_path.rmdir()
    found = status(analysis.load(builder.path), AT)
    assert found.dense_val_accuracy is None
    assert found.best is None
    assert (found.running, found.failed, found.front_size) == ((), (), 0)
    assert found.trials == StateCounts(4, 0, 0, 0, 0)
    assert "dense network: not trained yet" in shown(builder.path)


@pytest.mark.parametrize(
    "settings", [{}, {"search": None}, {"search": {"trials": "many"}}, {"search": {"trials": True}}]
)
def test_settings_that_do_not_say_how_many_trials(builder: ExperimentBuilder, settings: dict[str, Any]) -> None:
    builder.change_settings(settings)
    assert status(analysis.load(builder.path), AT).trials.planned is None


def test_a_foreign_configuration_that_does_not_say_how_many_epochs(builder: ExperimentBuilder) -> None:
    trial = builder.add_trial(0, state="running")
    write_json(trial.record_path, {"number": 0, "state": "running", "config": {"epochs": "many"}})
    [interrupted] = status(analysis.load(builder.path), AT).interrupted
    assert (interrupted.epoch, interrupted.epochs) == (3, None)
    assert "3/-" in shown(builder.path)


def test_a_complete_trial_of_unknown_outcome_is_not_the_best(builder: ExperimentBuilder) -> None:
    lost = builder.add_trial(0, accuracies=(0.99, 0.99, 0.99))
    lost.replace_rows(lost.read_rows()[:1])
    found = status(analysis.load(builder.path), AT)
    assert found.best is None
    assert found.front_size == 0
    assert len(found.problems) == 1


def test_a_control_can_be_the_best(builder: ExperimentBuilder) -> None:
    builder.add_trial(0, control="one_shot")
    assert "best so far: 0 one-shot (control), 90.00%, 4.00 points below dense" in shown(builder.path)


def test_the_best_is_the_one_of_the_ranking(builder: ExperimentBuilder) -> None:
    """As accurate as an earlier one, with fewer MACs."""
    builder.add_trial(0, control="one_shot", mac_sparsity=0.5)
    builder.add_trial(1, mac_sparsity=0.9)
    experiment = builder.load()
    best = status(experiment, AT).best
    assert best is not None
    assert best.number == experiment.best().name == 1


def test_rows_that_vanished_since_they_were_loaded(half_way: ExperimentBuilder) -> None:
    experiment = analysis.load(half_way.path)
    half_way.folder.trial_folder(4).rows_path.unlink()
    assert status(experiment, AT).running[0].seconds_since_row == 3 * 3600 + 5 * 60 + 5


def test_json_holds_all_of_it(half_way: ExperimentBuilder) -> None:
    found = status(analysis.load(half_way.path), AT)
    again = json.loads(to_json(found))
    counts = {"planned": 4, "complete": 1, "running": 2, "stopped": 1, "failed": 1, "interrupted": 0}
    assert again["trials"] == counts
    assert (again["state"], again["command"], again["interrupted"]) == ("running", None, [])
    assert again["driver"]["pid"] == 123
    assert again["controls"]["planned"] is None
    assert again["running"][0]["alpha"] == ALPHA
    assert again["running"][1]["phase"] is None
    assert again["best"]["pruned_val_accuracy"] == 0.95
    assert again["failed"] == [
        {"number": 3, "label": "3 exponential 3", "control": None, "error": "RuntimeError: out of memory"}
    ]


def test_what_a_person_reads(half_way: ExperimentBuilder) -> None:
    trial = half_way.folder.trial_folder(1)
    trial.rows_path.write_bytes(trial.rows_path.read_bytes() + b"{")
    half_way.add_trial(6, confirms=1, accuracies=(0.1, 0.2, 0.94))
    half_way.add_trial(7, parent=Parent(number=1, epoch=1), state="running", accuracies=(0.5,))
    os.utime(half_way.folder.trial_folder(7).rows_path, (AT.timestamp() - 7200,) * 2)
    texts = [f"{width} columns\n{shown(half_way.path, width)}" for width in (80, 120)]
    assert_golden("status.txt", "\n".join(texts))


@pytest.mark.parametrize("width", [80, 120])
def test_the_status_fits_the_terminal(half_way: ExperimentBuilder, width: int) -> None:
    text = shown(half_way.path, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for label in ("1 exponential 3", "3 exponential 3 failed: RuntimeError: out of memory", "4 exponential 3"):
        assert label in text


def test_long_lists_are_cut_for_people_only(builder: ExperimentBuilder) -> None:
    for number in range(LONGEST_LIST + 3):
        builder.add_trial(number, state="failed", accuracies=(), error="[bold]why\x1b[2J")
    text = shown(builder.path)
    assert text.count("failed: [bold]why�[2J") == LONGEST_LIST
    assert "and 3 more" in text
    assert len(status(analysis.load(builder.path), AT).failed) == LONGEST_LIST + 3


def test_trials_of_a_dead_driver_are_interrupted(builder: ExperimentBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    add_half(builder)
    write_driver(builder.folder)
    monkeypatch.chdir(builder.path.parent)
    experiment = analysis.load(builder.path.name)
    found = status(experiment, AT)
    assert (found.state, found.running) == ("interrupted", ())
    assert [trial.number for trial in found.interrupted] == [4, 5]
    assert found.trials == StateCounts(planned=4, complete=1, running=0, stopped=1, failed=1, interrupted=2)
    assert found.command == "alphaprune resume demo --storage . --local"
    text = shown(Path(builder.path.name))
    assert "interrupted 4 min ago (process 123 on node has died)\n" in text
    assert "\nto continue: alphaprune resume demo --storage . --local\n" in text
    assert "running" not in text


WHO = "process 123 on node since 2026-01-02T00:00:00+00:00"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, f"running: {WHO} (user ann)"),
        (
            {"to_measure": 7, "measured": 2},
            f"measuring (2 of 7 trials measured): {WHO} (user ann)",
        ),
        ({"user": "\x1b[31mann"}, f"running: {WHO} (user �[31mann)"),
    ],
)
def test_who_is_at_work_is_told(builder: ExperimentBuilder, fields: dict[str, Any], says: str) -> None:
    with driven(builder.folder, **fields):
        found, text = status(analysis.load(builder.path), AT), shown(builder.path)
    assert found.state == ("measuring" if "to_measure" in fields else "running")
    assert found.command is None
    assert f"\n{says}\n" in text


ENDED = "2026-01-02T03:01:05+00:00"


@pytest.mark.parametrize(
    ("fields", "state", "says"),
    [
        ({"ended": ENDED}, "finished", "finished 4 min ago"),
        ({"ended": ENDED, "to_measure": 7, "measured": 7}, "finished", "finished 4 min ago (7 of 7 trials measured)"),
        # One of the networks is damaged.
        ({"ended": ENDED, "to_measure": 7, "measured": 6}, "finished", "finished 4 min ago (6 of 7 trials measured)"),
        (
            {"ended": ENDED, "reason": "interrupted by SIGTERM", "to_measure": 7, "measured": 2},
            "not measured",
            "not measured yet: 5 of 7 trials missing; interrupted 4 min ago (by SIGTERM)",
        ),
        (
            {"to_measure": 7, "measured": 2},
            "not measured",
            "not measured yet: 5 of 7 trials missing; interrupted 4 min ago (process 123 on node has died)",
        ),
    ],
)
def test_a_search_that_has_tried_all_is_finished_once_it_is_measured(
    builder: ExperimentBuilder, fields: dict[str, Any], state: str, says: str
) -> None:
    """Of three trials, although four were planned: the space may have no more."""
    for number in range(3):
        builder.add_trial(number)
    write_driver(builder.folder, searched=True, **fields)
    found = status(analysis.load(builder.path), AT)
    assert found.state == state
    assert (found.command is None) == (state == "finished")
    assert f"\n{says}\n" in shown(builder.path, 200)


def test_a_measurement_that_was_interrupted_is_continued_by_its_own_command(builder: ExperimentBuilder) -> None:
    builder.add_trial(0)
    its = {"command": "measure", "options": ("--top", "3"), "to_measure": 3}
    write_driver(builder.folder, searched=True, **its)
    found = status(analysis.load(builder.path), AT)
    assert (found.state, found.command) == (
        "not measured",
        f"alphaprune measure demo --storage {builder.path.parent} --top 3",
    )
    write_driver(builder.folder, searched=False, **its)  # a search that was interrupted before
    found = status(analysis.load(builder.path), AT)
    assert (found.state, found.command) == (
        "interrupted",
        f"alphaprune resume demo --storage {builder.path.parent}",
    )


def test_a_trial_that_waits_keeps_an_experiment_from_being_finished(builder: ExperimentBuilder) -> None:
    """A branch that is only recorded (`branch --later`)."""
    builder.add_trial(0, state="running", accuracies=())
    write_driver(builder.folder, searched=True, ended=ENDED)
    assert status(analysis.load(builder.path), AT).state == "interrupted"


@pytest.mark.parametrize(("trials", "state"), [(3, "interrupted"), (4, "finished")])
def test_an_experiment_of_an_earlier_version_tells_by_its_trials(
    builder: ExperimentBuilder, trials: int, state: str
) -> None:
    for number in range(trials):
        builder.add_trial(number)
    found = status(analysis.load(builder.path), AT)
    assert (found.state, found.driver, found.seconds_since_driver) == (state, None, None)
    assert f"\n{state}\n" in shown(builder.path)


def test_a_search_that_ends_while_it_is_loaded_is_not_interrupted(builder: ExperimentBuilder) -> None:
    add_half(builder)
    with driven(builder.folder):
        driver = read_driver_state(builder.folder)
        experiment = builder.load()
    assert status(experiment, AT).state == "interrupted"
    assert status(experiment, AT, driver).state == "running"


def test_a_list_has_a_line_for_each(builder: ExperimentBuilder, other: ExperimentBuilder) -> None:
    add_half(builder)
    write_driver(builder.folder)
    builder.add_trial(6, control="one_shot", confirms=0)
    other.add_trial(0)
    with driven(other.folder, to_measure=7, measured=2):
        out = io.StringIO()
        statuses = [status(each.load(), AT) for each in (builder, other)]
        Console(file=out, width=100, color_system=None).print(experiment_list(statuses))
    _, _, *lines = (line.split() for line in out.getvalue().splitlines())
    assert lines == [
        ["demo", "interrupted", "5", "of", "7", "95.00%", "4", "min", "ago"],
        ["other", "measuring", "(2", "of", "7)", "1", "of", "4", "90.00%", "4", "min", "ago"],
    ]

import io
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from experiments import ExperimentBuilder
from golden import assert_golden
from rich.console import Console

import analysis
from analysis.status import BestTrial, FailedTrial, RunningTrial, StateCounts, status, to_json
from analysis.terminal.status_view import LONGEST_LIST, status_view
from records.files import write_json
from records.trial import Parent
from trainable.schedules.alpha import Exponential

AT = datetime(2026, 1, 2, 3, 5, 5, tzinfo=UTC)
ALPHA = Exponential().alpha_at(0.5)


@pytest.fixture
def half_way(builder: ExperimentBuilder) -> ExperimentBuilder:
    """Controls done, a trial complete, one stopped, one failed, one running, one about to."""
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
    [running] = status(analysis.load(builder.path), AT).running
    assert (running.epoch, running.epochs) == (3, None)
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
    assert again["trials"] == {"planned": 4, "complete": 1, "running": 2, "stopped": 1, "failed": 1}
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

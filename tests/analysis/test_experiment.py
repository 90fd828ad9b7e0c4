import math
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from experiments import ExperimentBuilder, make_measurement, write_measurement

import analysis
from analysis.rank.filter import rows_where
from records.epoch import METRICS
from records.experiment import FORMAT
from records.files import read_json, write_json
from records.trial import Parent
from trainable.config import PruningConfig
from trainable.schedules.alpha import Cosine, Exponential, Piecewise, TimeBased
from trainable.schedules.lr_policies import StagnationRestart


def test_what_the_records_say_is_in_the_frames(builder: ExperimentBuilder) -> None:
    builder.base = replace(builder.base, pruning=PruningConfig(amount=0.7))
    builder.add_trial(0, control="one_shot", accuracies=(0.4, 0.6, 0.7))
    builder.add_trial(1, alpha=TimeBased(rate=12.5), lr=StagnationRestart())

    experiment = analysis.load(builder.path)

    assert experiment.name == "demo"
    assert experiment.settings["search"]["trials"] == 4
    assert experiment.dense is not None
    assert experiment.dense.val_accuracy == 0.94
    assert experiment.problems == []
    assert experiment.trials.index.tolist() == [0, 1]
    assert experiment.controls.index.tolist() == [0]
    trial = experiment.trials.loc[1].to_dict()
    assert (
        trial
        | {
            "state": "complete",
            "alpha.family": "time_based",
            "alpha.rate": 12.5,
            "lr.policy": "stagnation_restart",
            "epochs_done": 3,
            "pruned_val_accuracy": 0.9,
            "val_accuracy": 0.9,
            "accuracy_at_cut": 0.6,
            "mac_sparsity": 0.75,
            "parameter_sparsity": 0.8,
            "channel_sparsity": 0.5,
            "macs": 250.0,
            "parameters": 100.0,
            "seconds": 6.75,
            "attempt": 1,
            "host": "node",
            "device": "cpu",
            "lr.rates": "[0.001, 0.01, 0.1]",
            "pruning.amount": 0.7,
            "optimizer.weight_decay": 5e-4,
            "epochs": 3,
            "started": pd.Timestamp("2026-01-02T03:04:05.678Z"),
            "finished": pd.Timestamp("2026-01-02T03:04:12.428Z"),
        }
        == trial
    )
    assert trial["accuracy_drop"] == pytest.approx(0.04)
    assert pd.isna(trial["control"])
    assert pd.isna(trial["error"])
    assert math.isnan(experiment.trials.loc[0, "alpha.rate"])
    assert math.isnan(experiment.trials.loc[1, "lr.peak"])


def test_epochs_hold_every_row(builder: ExperimentBuilder) -> None:
    builder.add_trial(1)
    builder.add_trial(0, state="stopped", accuracies=(0.1, 0.2))
    rows = [row for trial in builder.folder.trial_folders() for row in trial.read_rows()]
    epochs = analysis.load(builder.path).epochs
    assert epochs.index.tolist() == [0, 0, 1, 1, 1]
    assert epochs["epoch"].tolist() == [1, 2, 1, 2, 3]
    assert epochs["phase"].tolist() == ["alpha", "retrain", "alpha", "retrain", "retrain"]
    assert epochs["pruned_val_accuracy"].tolist() == [0.1, 0.2, 0.5, 0.8, 0.9]
    assert epochs["alpha"].tolist() == [Exponential().alpha_at(0.5), 0.0, Exponential().alpha_at(0.5), 0.0, 0.0]
    for name in METRICS:
        assert epochs[name].tolist() == [getattr(row, name) for row in rows]


def test_macs_and_parameters_follow_from_the_dense_network_before_the_cut(builder: ExperimentBuilder) -> None:
    builder.add_trial(0, state="running", accuracies=(0.5,))
    trial = analysis.load(builder.path).trials.loc[0]
    assert trial["macs"] == pytest.approx(1000 * (1 - 0.75))
    assert trial["parameters"] == pytest.approx(500 * (1 - 0.8))
    assert math.isnan(trial["accuracy_at_cut"])


def test_trials_are_in_the_order_of_their_numbers(builder: ExperimentBuilder) -> None:
    for number in (100_000, 7, 99_999):
        builder.add_trial(number)
    experiment = analysis.load(builder.path)
    assert experiment.trials.index.tolist() == [7, 99_999, 100_000]
    assert experiment.epochs.index.drop_duplicates().tolist() == [7, 99_999, 100_000]


def test_an_empty_experiment_has_the_columns_of_a_full_one(builder: ExperimentBuilder) -> None:
    empty = analysis.load(builder.path)
    builder.add_trial(0, alpha=Cosine())
    full = analysis.load(builder.path)
    fixed = list(empty.trials.columns)
    assert fixed == list(full.trials.columns)[: len(fixed)]
    assert empty.trials.dtypes.to_dict() == full.trials[fixed].dtypes.to_dict()
    assert empty.epochs.dtypes.to_dict() == full.epochs.dtypes.to_dict()
    assert (len(empty.trials), len(empty.epochs), len(empty.rank()), len(empty.pareto())) == (0, 0, 0, 0)
    assert len(full.rank()) == 1


def test_a_schedule_of_segments_is_kept_as_text(builder: ExperimentBuilder) -> None:
    builder.add_trial(0, alpha=Piecewise())
    trial = analysis.load(builder.path).trials.loc[0]
    assert trial["alpha.family"] == "piecewise"
    assert math.isnan(trial["alpha.rate"])
    assert '"ends_at": 0.4' in trial["alpha.segments"]


def test_without_a_dense_network_what_compares_with_it_is_unknown(builder: ExperimentBuilder) -> None:
    (builder.folder.dense_path / "dense.json").unlink()
    builder.add_trial(0, state="running", accuracies=(0.9,))
    experiment = analysis.load(builder.path)
    assert experiment.dense is None
    assert experiment.problems == []
    assert experiment.trials.loc[0, ["accuracy_drop", "macs", "parameters"]].isna().all()
    assert experiment.trials.loc[0, "pruned_val_accuracy"] == 0.9


def test_a_trial_that_has_no_row_yet(builder: ExperimentBuilder) -> None:
    builder.add_trial(0, state="running", accuracies=())
    experiment = analysis.load(builder.path)
    trial = experiment.trials.loc[0]
    assert (trial["epochs_done"], trial["seconds"]) == (0, 0.0)
    assert trial[["pruned_val_accuracy", "mac_sparsity", "macs"]].isna().all()
    assert experiment.problems == []


def test_a_folder_without_experiment_is_said_to_be_none(tmp_path: Path, builder: ExperimentBuilder) -> None:
    with pytest.raises(ValueError, match=r"holds no experiment.*choose one of those in it: demo$"):
        analysis.load(tmp_path)
    with pytest.raises(ValueError, match=r"nowhere' holds no experiment.*`alphaprune run` makes one$"):
        analysis.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "text", ["[]", "3", "{}", '{"name": 1, "settings": {}}', '{"name": "a"}', "", "[" * 100_000, "\x00\xff"]
)
def test_a_foreign_experiment_json_is_a_value_error_of_one_line(builder: ExperimentBuilder, text: str) -> None:
    builder.folder.record_path.write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"experiment\.json") as caught:
        analysis.load(builder.path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["[]", "", "{", "[" * 100_000, '{"val_accuracy": "high", "macs": 1000, "parameters": true}']
)
def test_a_foreign_dense_json_is_a_problem(builder: ExperimentBuilder, text: str) -> None:
    builder.add_trial(0)
    (builder.folder.dense_path / "dense.json").write_text(text)
    experiment = analysis.load(builder.path)
    [problem] = experiment.problems
    assert problem.startswith("dense/dense.json is damaged: ")
    assert experiment.dense is None
    assert math.isnan(experiment.trials.loc[0, "accuracy_drop"])


def foreign_records() -> list[Any]:
    good: dict[str, Any] = {"number": 0, "config": {}, "state": "complete"}
    return [
        [],
        {},
        good | {"number": "0"},
        good | {"number": True},
        good | {"config": []},
        good | {"state": "done"},
        good | {"cut": 3},
        good | {"attempt": 2**63},
        good | {"problems": "x"},
        good | {"error": ["x"]},
    ]


@pytest.mark.parametrize("record", foreign_records())
def test_a_foreign_trial_json_is_a_problem_and_costs_only_that_trial(builder: ExperimentBuilder, record: Any) -> None:
    write_json(builder.add_trial(0).record_path, record)
    builder.add_trial(1)
    experiment = analysis.load(builder.path)
    assert experiment.trials.index.tolist() == [1]
    assert set(experiment.epochs.index) == {1}
    [problem] = experiment.problems
    assert problem.startswith("trials/00000/trial.json is damaged: ")


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"alpha": 3, "lr": None, "epochs": "many"},
        {"alpha": {"family": 1, "rate": "fast"}, "state": "x", "number": 7},
        {"alpha": {"rate": 10**400, "segments": [[]]}, "a": {"b": {}}},
    ],
)
def test_a_foreign_configuration_leaves_its_columns_unknown(builder: ExperimentBuilder, config: dict[str, Any]) -> None:
    write_json(builder.add_trial(0).record_path, {"number": 0, "config": config, "state": "complete"})
    builder.add_trial(1)
    trials = analysis.load(builder.path).trials
    assert trials["state"].tolist() == ["complete", "complete"]
    assert pd.isna(trials.loc[0, "alpha.family"])
    assert math.isnan(trials.loc[0, "alpha.rate"])
    assert trials.loc[1, "alpha.family"] == "exponential"
    assert trials.columns.is_unique


def test_a_configuration_cannot_take_the_place_of_an_outcome(builder: ExperimentBuilder) -> None:
    write_json(builder.add_trial(0).record_path, {"number": 0, "config": {"host": "x"}, "state": "complete"})
    trials = analysis.load(builder.path).trials
    assert pd.isna(trials.loc[0, "host"])
    assert trials.loc[0, "config.host"] == "x"


def test_a_trial_folder_without_a_record_is_a_problem(builder: ExperimentBuilder) -> None:
    builder.add_trial(0).record_path.unlink()
    (builder.path / "trials" / "00007").write_text("a file")
    experiment = analysis.load(builder.path)
    assert len(experiment.trials) == 0
    assert experiment.problems == [
        "trials/00000/trial.json is missing",
        "trials/00007/trial.json cannot be read: Not a directory",
    ]


def test_a_copy_of_a_trial_is_not_read_as_another(builder: ExperimentBuilder) -> None:
    for copy in ("00004", "3"):
        trial = builder.add_trial(3)
        trial.path.rename(trial.path.with_name(copy))
    builder.add_trial(3)
    experiment = analysis.load(builder.path)
    assert experiment.trials.index.tolist() == [3]
    assert sorted(experiment.problems) == [
        "trials/00004/trial.json is damaged: it belongs to trial 3",
        "trials/3/trial.json is left out: trial 3 belongs in 00003",
    ]


def test_what_went_wrong_in_a_trial_is_a_problem(builder: ExperimentBuilder) -> None:
    builder.add_trial(0, problems=["the folder of logs could not be made"])
    assert analysis.load(builder.path).problems == ["trials/00000/trial.json: the folder of logs could not be made"]


def test_rows_that_are_no_file_are_a_problem(builder: ExperimentBuilder) -> None:
    rows = builder.add_trial(0, state="running").rows_path
    rows.unlink()
    rows.mkdir()
    experiment = analysis.load(builder.path)
    assert experiment.problems == ["trials/00000/epochs.jsonl cannot be read: Is a directory"]
    assert experiment.trials.loc[0, "epochs_done"] == 0


def test_a_complete_trial_whose_last_row_is_lost_has_no_outcome(builder: ExperimentBuilder) -> None:
    lost = builder.add_trial(0, accuracies=(0.5, 0.99, 0.99))
    lost.replace_rows(lost.read_rows()[:-1])
    builder.add_trial(1)
    experiment = analysis.load(builder.path)
    assert experiment.trials.loc[0, ["pruned_val_accuracy", "val_accuracy", "mac_sparsity"]].isna().all()
    assert experiment.rank().index.tolist() == [1, 0]
    assert experiment.pareto().index.tolist() == [1]
    [problem] = experiment.problems
    assert problem.startswith("trials/00000/epochs.jsonl ends at epoch 2 of 3 ")


def test_epochs_that_do_not_follow_one_another_are_a_problem(builder: ExperimentBuilder) -> None:
    trial = builder.add_trial(0)
    last = trial.read_rows()[-1]
    trial.append_row(last)
    trial.append_row(last)
    builder.add_trial(1)
    builder.add_trial(2).append_row(replace(last, epoch=5))
    assert analysis.load(builder.path).problems == [
        "trials/00000/epochs.jsonl: line 4 is damaged (`epoch` must be 4, but is 3); it and the 1 after it are left "
        "out",
        "trials/00002/epochs.jsonl: line 4 is damaged (`epoch` must be 4, but is 5); it is left out",
    ]


def test_a_time_that_is_none_is_a_problem(builder: ExperimentBuilder) -> None:
    path = builder.add_trial(0).record_path
    write_json(path, read_json(path) | {"finished": "yesterday"})
    experiment = analysis.load(builder.path)
    assert experiment.problems == ["trials/00000/trial.json: 'yesterday' is no time"]
    assert pd.isna(experiment.trials.loc[0, "finished"])


def test_problems_cannot_steer_a_terminal(builder: ExperimentBuilder) -> None:
    builder.add_trial(0, problems=["\x1b[2J\nred"])
    assert analysis.load(builder.path).problems == ["trials/00000/trial.json: �[2J red"]


@pytest.mark.parametrize("name", ["dense/dense.json", "trials/00001/trial.json", "trials/00001/epochs.jsonl"])
def test_a_file_cut_short_anywhere_is_a_problem_and_no_traceback(builder: ExperimentBuilder, name: str) -> None:
    builder.add_trial(0)
    builder.add_trial(1)
    path = builder.path / name
    whole = path.read_bytes()
    text = whole.removesuffix(b"\n")
    for length in [*range(0, len(text), max(1, len(text) // 20)), len(text) - 1]:
        path.write_bytes(text[:length])
        experiment = analysis.load(builder.path)
        assert [problem for problem in experiment.problems if problem.startswith(name)], length
        assert experiment.trials.loc[0, "pruned_val_accuracy"] == 0.9
        assert len(experiment.rank()) == len(experiment.trials)
    path.write_bytes(text)
    assert analysis.load(builder.path).problems == []


def test_trials_that_cannot_be_listed_are_a_problem(builder: ExperimentBuilder) -> None:
    (builder.path / "trials").write_text("a file")
    experiment = analysis.load(builder.path)
    assert experiment.problems == ["trials cannot be read: Not a directory"]
    assert len(experiment.trials) == 0


def test_an_experiment_of_a_newer_version_is_refused_by_name(builder: ExperimentBuilder) -> None:
    write_json(builder.folder.record_path, read_json(builder.folder.record_path) | {"format": FORMAT + 1, "more": 1})
    with pytest.raises(ValueError, match=r"experiment\.json was written by a newer version of alphaprune"):
        analysis.load(builder.path)


def test_an_experiment_json_cut_short_anywhere_is_a_value_error(builder: ExperimentBuilder) -> None:
    path = builder.folder.record_path
    text = path.read_bytes().removesuffix(b"\n")
    for length in range(len(text)):
        path.write_bytes(text[:length])
        with pytest.raises(ValueError, match=r"experiment\.json is damaged"):
            analysis.load(builder.path)


def make_older(folder: Path) -> None:
    """Dates all files back, so that tables of them are written."""
    for path in folder.rglob("*"):
        os.utime(path, (path.stat().st_atime - 100, path.stat().st_mtime - 100))


def snapshot(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def test_reading_writes_nothing_but_the_tables(builder: ExperimentBuilder) -> None:
    trial = builder.add_trial(0)
    builder.add_trial(1)
    trial.rows_path.write_bytes(trial.rows_path.read_bytes()[:-5])
    make_older(builder.path)
    before = snapshot(builder.path)
    analysis.load(builder.path, cache=False).rank()
    assert snapshot(builder.path) == before
    analysis.load(builder.path).rank()
    written = {path.relative_to(builder.path).as_posix() for path in snapshot(builder.path).keys() - before.keys()}
    assert written == {"tables", "tables/trials.parquet", "tables/epochs.parquet"}
    assert snapshot(builder.path).items() >= before.items()


def test_a_repeat_names_what_it_repeats(builder: ExperimentBuilder) -> None:
    builder.add_trial(0)
    builder.add_trial(1, confirms=0)
    trials = analysis.load(builder.path).trials
    assert math.isnan(trials.loc[0, "confirms"])
    assert trials.loc[1, "confirms"] == 0.0


def test_methods_give_what_the_modules_give(builder: ExperimentBuilder) -> None:
    builder.add_trial(0, accuracies=(0.5, 0.8, 0.9))
    builder.add_trial(1, accuracies=(0.5, 0.8, 0.95), mac_sparsity=0.5)
    builder.add_trial(2, control="one_shot", accuracies=(0.5, 0.8, 0.7))
    experiment = analysis.load(builder.path)
    assert experiment.rank(by="mac_sparsity", top=2).index.tolist() == [0, 2]
    assert experiment.rank(weights={"pruned_val_accuracy": 1.0})["score"].tolist() == [1.0, pytest.approx(0.8), 0.0]
    assert experiment.pareto(["pruned_val_accuracy", "mac_sparsity"]).index.tolist() == [1, 0]
    assert experiment.best(where="mac_sparsity >= 0.75").name == 0
    assert experiment.hypervolume() == pytest.approx(0.75 * 0.9 + 0.5 * 0.05 - 0 * 0.75)
    assert experiment.hypervolume(["pruned_val_accuracy"], [0.9]) == pytest.approx(0.05)
    assert isinstance(experiment.study(), optuna.Study)
    assert analysis.diff(experiment, experiment).best["number"].tolist() == [1, 1]


def test_a_trial_is_of_one_kind(builder: ExperimentBuilder) -> None:
    builder.add_trial(0, control="one_shot")
    builder.add_trial(1)
    builder.add_trial(2, parent=Parent(number=1, epoch=1))
    builder.add_trial(3, control="one_shot", confirms=0)
    experiment = analysis.load(builder.path)
    assert experiment.trials.columns[0] == "kind"
    assert experiment.trials["kind"].tolist() == ["control", "searched", "branch", "repeat"]


@pytest.mark.parametrize("from_tables", [False, True])
def test_records_and_measurements_are_there_besides_the_frames(builder: ExperimentBuilder, from_tables: bool) -> None:
    trials = [builder.add_trial(number) for number in range(3)]
    write_measurement(trials[0], make_measurement())
    make_older(builder.path)
    experiment = analysis.load(builder.path)
    if from_tables:
        experiment = analysis.load(builder.path)
        trials[2].record_path.unlink()
        with pytest.raises(ValueError, match=r"trial\.json is missing"):
            experiment.trial_record(2)
    assert experiment.trial_record(0) == trials[0].read_record()
    measurement = experiment.measurement(0)
    assert measurement is not None
    assert measurement.pruned == make_measurement().pruned
    assert experiment.measurement(1) is None
    for trial in trials[:2]:
        shutil.rmtree(trial.path)
    assert experiment.trial_record(0).number == 0
    assert experiment.measurement(0) is measurement


def test_the_repeats_of_a_control_are_no_controls(builder: ExperimentBuilder) -> None:
    builder.add_trial(0, control="one_shot")
    builder.add_trial(1, control="one_shot", confirms=0)
    assert analysis.load(builder.path).controls.index.tolist() == [0]
    assert analysis.load([builder.path]).controls.index.tolist() == [("demo", 0)]


def test_an_experiment_is_shown_on_one_line(builder: ExperimentBuilder, two: list[Path]) -> None:
    assert repr(analysis.load(two[1])) == "<Experiment 'other': 3 trials (3 complete), 0 problems>"
    builder.add_trial(4, state="stopped", problems=["it was cold"])
    assert repr(analysis.load(two[0])) == "<Experiment 'demo': 3 trials (2 complete, 1 stopped), 1 problem>"
    assert repr(analysis.load(two)) == "<Experiments 'demo', 'other': 6 trials (5 complete, 1 stopped), 1 problem>"
    builder.folder.write_record(replace(builder.folder.read_record(), name="a\nb\x1b[31m"))
    shutil.rmtree(builder.path / "trials")
    assert repr(analysis.load(builder.path)) == r"<Experiment 'a\nb\x1b[31m': 0 trials, 0 problems>"


def test_an_experiment_is_itself_and_no_other(two: list[Path]) -> None:
    for one, other in ((analysis.load(two[0]), analysis.load(two[0])), (analysis.load(two), analysis.load(two))):
        assert one == one
        assert one != other
        assert len({one, other, one}) == 2


def test_a_tilde_is_the_home(builder: ExperimentBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    builder.add_trial(0)
    monkeypatch.setenv("HOME", str(builder.path.parent))
    assert analysis.load("~/demo").path == builder.path
    assert len(analysis.load([Path("~/demo")]).trials) == 1
    with pytest.raises(ValueError, match="holds no experiment"):
        analysis.load("~nobody-of-this-name/demo")


def test_an_experiment_can_be_sent_to_another_process(builder: ExperimentBuilder) -> None:
    builder.add_trial(0)
    analysis.load(builder.path)
    experiment = analysis.load(builder.path)
    copy = pickle.loads(pickle.dumps(experiment))
    pd.testing.assert_frame_equal(copy.epochs, experiment.epochs)
    pd.testing.assert_frame_equal(copy.trials, experiment.trials)


@pytest.fixture
def two(builder: ExperimentBuilder, other: ExperimentBuilder) -> list[Path]:
    """Experiments `demo` and `other`; trial 1 of each repeats its trial 0."""
    for each, accuracies in ((builder, (0.5, 0.8, 0.9)), (other, (0.5, 0.8, 0.95))):
        each.add_trial(0, accuracies=accuracies)
        each.add_trial(1, accuracies=accuracies, confirms=0)
    other.add_trial(3, accuracies=(0.1, 0.2, 0.3), mac_sparsity=0.9)
    return [builder.path, other.path]


def test_several_experiments_are_one_frame(two: list[Path]) -> None:
    experiments = analysis.load(two)
    assert experiments.trials.index.tolist() == [("demo", 0), ("demo", 1), ("other", 0), ("other", 1), ("other", 3)]
    assert experiments.trials.index.names == ["experiment", "number"]
    assert [*experiments.epochs.index.names, experiments.epochs.columns[0]] == ["experiment", "number", "epoch"]
    assert experiments.epochs.index.get_level_values("experiment").tolist() == ["demo"] * 6 + ["other"] * 9
    assert experiments.problems == []
    for path in two:
        alone = analysis.load(path)
        pd.testing.assert_frame_equal(experiments.trials.loc[alone.name], alone.trials)
    assert [each.name for each in experiments.by_name.values()] == ["demo", "other"]
    fits = rows_where(experiments.trials, 'experiment == "other" and number >= 1')
    assert experiments.trials.index[fits].tolist() == [("other", 1), ("other", 3)]


def test_several_experiments_rank_as_one(two: list[Path]) -> None:
    experiments = analysis.load(two)
    ranked = experiments.rank()
    assert ranked.index.tolist() == [("other", 0), ("other", 3), ("demo", 0)]
    assert ranked["seeds"].tolist() == [1, 0, 1]
    assert ranked["pruned_val_accuracy"].tolist() == [0.95, 0.3, 0.9]
    assert ranked["on_front"].tolist() == [True, True, False]
    assert experiments.rank(where='experiment == "demo" or number > 1').index.tolist() == [("demo", 0), ("other", 3)]
    assert experiments.pareto().index.tolist() == [("other", 0), ("other", 3)]
    best = experiments.best(by="macs")
    assert (best.name, best["macs"]) == (("other", 3), 100.0)
    assert experiments.hypervolume() == pytest.approx(0.75 * 0.95 + 0.15 * 0.3)


def test_a_repeat_of_a_trial_that_is_not_there_is_no_result(two: list[Path], builder: ExperimentBuilder) -> None:
    builder.add_trial(7, confirms=3)  # there is a trial 3 in the other experiment
    ranked = analysis.load(two).rank()
    assert ranked.index.tolist() == [("other", 0), ("other", 3), ("demo", 0)]
    assert ranked["seeds"].tolist() == [1, 0, 1]


def test_experiments_of_one_name_are_told_apart_by_their_paths(builder: ExperimentBuilder, tmp_path: Path) -> None:
    builder.add_trial(0)
    elsewhere = tmp_path / "elsewhere" / "demo"
    shutil.copytree(builder.path, elsewhere)
    (elsewhere / "trials" / "00000" / "trial.json").unlink()
    experiments = analysis.load(path for path in (builder.path, elsewhere))
    assert list(experiments.by_name) == [str(builder.path), str(elsewhere)]
    assert experiments.trials.index.tolist() == [(str(builder.path), 0)]
    assert experiments.problems == [f"{elsewhere}: trials/00000/trial.json is missing"]


def test_which_experiments_must_be_said_and_once(builder: ExperimentBuilder) -> None:
    with pytest.raises(ValueError, match="at least one folder"):
        analysis.load([])
    with pytest.raises(ValueError, match="is given twice"):
        analysis.load([builder.path, f"{builder.path}/../demo"])
    with pytest.raises(ValueError, match="holds no experiment"):
        analysis.load([builder.path, builder.path.parent])


def test_importing_is_light() -> None:
    code = (
        "import sys, analysis, analysis.terminal.ranking_table, analysis.terminal.status_view\n"
        "print(*{'ray', 'torch', 'torchvision', 'optuna', 'plotly', 'sklearn'} & set(sys.modules))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(analysis.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == ""

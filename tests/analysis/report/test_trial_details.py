import json

import pytest
from experiments import ExperimentBuilder

from analysis import Experiment
from analysis.report import trial_details as module
from analysis.report.trial_details import trial_details


def test_a_trial_has_its_curve_its_settings_and_commands(rich: Experiment) -> None:
    details = trial_details(rich, (34, 0))
    assert len(details["trials"]) == len(rich.trials)
    trial = details["trials"][34]
    rows = rich.epochs.loc[34]
    assert trial["label"].startswith("34 ")
    assert trial["epoch"] == list(range(1, 13))
    assert trial["alpha"] == [round(alpha, 4) for alpha in rows["alpha"]]
    settings = dict(trial["settings"])
    assert {"alpha.family", "lr.policy", "alpha_lr"} <= set(settings)
    # The same for all trials.
    assert "optimizer.momentum" not in settings
    assert set(dict(details["trials"][0]["settings"])) < set(settings) | {"pruning.criterion", "initial", "seed"}
    [export, again] = details["commands"].values()
    assert export.endswith(" NUMBER --to cifar10-autumn-NUMBER")
    assert again.startswith("alphaprune trial cifar10-autumn --storage ")
    json.dumps(details, allow_nan=False)


def test_a_trial_can_be_branched_from_where_checkpoints_were_kept(untrained: ExperimentBuilder) -> None:
    untrained.change_settings({"search": {"keep_at_alpha": [0.4, 0.05]}})
    commands = trial_details(untrained.load(), ())["commands"]
    assert [command.split(" NUMBER ")[1] for command in commands.values() if " branch " in command] == [
        "--at-alpha 0.4 --set optimizer.weight_decay=0.001",
        "--at-alpha 0.05 --set optimizer.weight_decay=0.001",
    ]
    untrained.change_settings({"search": {"keep_at_alpha": 3}})
    assert len(trial_details(untrained.load(), ())["commands"]) == 2


def test_of_very_many_trials_those_of_the_table_come_first(
    untrained: ExperimentBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        untrained.add_searched(0.9)
    experiment = untrained.load()
    monkeypatch.setattr(module, "MOST_DETAILS", 3)
    assert list(trial_details(experiment, (4,))["trials"]) == [4, 0, 1]
    assert list(trial_details(experiment, (4, 3, 2, 1))["trials"]) == [4, 3, 2, 1]


def test_an_experiment_without_trials_has_only_commands(untrained: ExperimentBuilder) -> None:
    assert trial_details(untrained.load(), ())["trials"] == {}

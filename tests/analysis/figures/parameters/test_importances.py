from dataclasses import replace

import pytest
from experiments import ExperimentBuilder

from analysis import Experiment
from analysis.figures import importances
from analysis.figures.parameters.importances import FEWEST, importances_info


def test_they_are_ordered_and_sum_to_one(full: Experiment) -> None:
    values = [value for _, value in importances_info(full).importances]
    assert values == sorted(values, reverse=True)
    assert sum(values) == pytest.approx(1)
    names = {name for name, _ in importances_info(full).importances}
    assert {"alpha.family", "alpha_lr", "lr.policy", "pruning.amount"} <= names


def test_each_has_a_standard_error(full: Experiment) -> None:
    info, figure = importances_info(full), importances(full)
    assert len(info.errors) == len(info.importances)
    assert all(0 <= error < 0.5 for error in info.errors)
    assert any(error > 0.01 for error in info.errors)
    assert tuple(figure.data[0].error_x.array) == info.errors[::-1]
    assert importances_info(full).errors == info.errors


def test_what_decides_comes_first(synthetic: ExperimentBuilder) -> None:
    synthetic.change_settings({"search": {"trials": 30, "objectives": ["pruned_val_accuracy"]}})
    for _ in range(60):
        synthetic.add_searched()
    experiment = synthetic.load()
    decided = 0.9 - experiment.trials["optimizer.label_smoothing"]
    info = importances_info(replace(experiment, trials=experiment.trials.assign(pruned_val_accuracy=decided)))
    assert info.importances[0][0] == "optimizer.label_smoothing"
    assert "optimizer.label_smoothing matters most" in info.title


def test_a_foreign_parameters_name_is_no_markup(synthetic: ExperimentBuilder) -> None:
    name = "<a href='http://example.org'>x</a>"
    for index in range(FEWEST):
        folder = synthetic.add_searched()
        record = folder.read_record()
        low_high = '{"name": "FloatDistribution", "attributes": {"low": 0, "high": 1, "log": false, "step": null}}'
        params = {name: index / FEWEST, "lr.peak": record.params["lr.peak"]}
        distributions = {name: low_high, "lr.peak": record.distributions["lr.peak"]}
        folder.write_record(replace(record, params=params, distributions=distributions))
    assert len(importances_info(synthetic.load()).importances) == 2
    assert "<a" not in importances(synthetic.load()).to_json().replace("\\u003c", "<")


def test_the_drawing_has_the_bars_most_important_on_top(full: Experiment) -> None:
    info, figure = importances_info(full), importances(full)
    assert tuple(figure.data[0].x[::-1]) == tuple(value for _, value in info.importances)
    assert figure.layout.yaxis.ticktext[-1] == info.importances[0][0]


def test_too_few_trials_are_said_in_words(synthetic: ExperimentBuilder) -> None:
    for _ in range(FEWEST - 1):
        synthetic.add_searched()
    synthetic.add_control("one_shot")
    info = importances_info(synthetic.load())
    assert info.importances == ()
    assert info.title.startswith(f"{FEWEST - 1} complete trials cannot show")
    synthetic.add_searched()
    assert importances_info(synthetic.load()).importances


def test_settings_without_objectives_that_exist(full: Experiment) -> None:
    record = replace(full.record, settings={"search": {"objectives": ["beauty"]}})
    info = importances_info(replace(full, record=record))
    assert info.importances == ()
    assert "beauty" in info.title

from dataclasses import replace

import pytest
from experiments import ExperimentBuilder

from analysis import Experiment
from analysis.figures import hypervolume_history
from analysis.figures.hypervolume_history import hypervolume_history_info


def test_the_history_of_two_trials_by_hand(synthetic: ExperimentBuilder) -> None:
    synthetic.add_searched()
    synthetic.add_searched()
    experiment = synthetic.load()
    assert experiment.dense is not None
    macs = experiment.dense.macs
    trials = experiment.trials.assign(pruned_val_accuracy=[0.8, 0.9], macs=[0.25 * macs, 0.5 * macs])
    info = hypervolume_history_info(replace(experiment, trials=trials))
    # 0.8 at three quarters of the MACs saved; then 0.1 more at a half.
    assert info.values == pytest.approx((0.8 * 0.75, 0.8 * 0.75 + 0.1 * 0.5))
    assert "0.650" in info.title


def test_the_training_cost_counts_up_to_that_of_dense_epochs(synthetic: ExperimentBuilder) -> None:
    synthetic.change_settings({"search": {"objectives": ["pruned_val_accuracy", "training_cost"]}})
    synthetic.add_searched()
    experiment = synthetic.load()
    trials = experiment.trials.assign(pruned_val_accuracy=0.8, training_cost=5.0)  # of twenty epochs
    info = hypervolume_history_info(replace(experiment, trials=trials))
    assert info.values == pytest.approx((0.8 * 0.75,))
    assert info.note.endswith("0 = 0% accuracy at a training cost of 20 dense epochs.")


def test_it_never_falls_and_lies_between_0_and_1(full: Experiment) -> None:
    values = hypervolume_history_info(full).values
    assert len(values) == 31
    assert list(values) == sorted(values)
    assert 0 < values[0] <= values[-1] < 1


def test_the_drawing_has_the_values(full: Experiment) -> None:
    info, figure = hypervolume_history_info(full), hypervolume_history(full)
    assert tuple(figure.data[0].y) == info.values
    assert tuple(figure.data[0].x) == tuple(range(1, 32))


def test_one_objective_has_no_front(full: Experiment) -> None:
    record = replace(full.record, settings={"search": {"objectives": ["pruned_val_accuracy"]}})
    assert "one objective" in hypervolume_history_info(replace(full, record=record)).title


def test_without_a_dense_network_it_is_not_known(full: Experiment) -> None:
    info = hypervolume_history_info(replace(full, dense=None))
    assert info.values == ()
    assert "The dense network's costs are unknown" in info.title


def test_settings_with_objectives_that_are_none(full: Experiment) -> None:
    record = replace(full.record, settings={"search": {"objectives": ["macs", "beauty"]}})
    info = hypervolume_history_info(replace(full, record=record))
    assert info.values == ()
    assert "beauty" in info.title

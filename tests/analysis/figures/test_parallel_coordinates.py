import sys
from dataclasses import replace

import pytest
from experiments import ExperimentBuilder
from hypothesis import given
from hypothesis import strategies as st

from analysis import Experiment
from analysis.figures import parallel_coordinates
from analysis.figures.parallel_coordinates import _number_axis, _parameter_axis, parallel_coordinates_info


def test_axes_are_the_parameters_that_all_have_and_that_differ(full: Experiment) -> None:
    info = parallel_coordinates_info(full)
    names = [axis.name for axis in info.axes]
    assert {"alpha.family", "alpha_lr", "lr.policy", "pruning.amount", "optimizer.weight_decay"} <= set(names)
    assert names[-2:] == ["MACs, % of the dense network's", "validation accuracy"]
    # The same for all, or of some families only.
    assert not {"optimizer.momentum", "epochs_per_alpha", "alpha.rate", "lr.factor"} & set(names)
    assert [one.number for one in info.trials] == [*range(6, 36), 52]
    assert all(len(axis.positions) == len(axis.texts) == len(info.trials) for axis in info.axes)


def test_the_front_is_that_of_the_search_alone(full: Experiment) -> None:
    info = parallel_coordinates_info(full)
    ranked = full.rank(where="control == None and parent == None")
    on_front = {one.number for one, on in zip(info.trials, info.on_front, strict=True) if on}
    assert on_front == set(ranked.index[ranked["on_front"]])
    assert f"{len(on_front)} trials on their Pareto front" in info.title


def test_the_drawing_has_every_trial_once(full: Experiment) -> None:
    info, figure = parallel_coordinates_info(full), parallel_coordinates(full)
    lines = []
    for trace in figure.data:
        step = len(info.axes) + 1
        lines += [tuple(trace.x[start : start + step - 1]) for start in range(0, len(trace.x), step)]
    expected = [tuple(axis.positions[index] for axis in info.axes) for index in range(len(info.trials))]
    assert sorted(lines) == sorted(expected)


@given(st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=9), st.booleans())
def test_positions_keep_the_order_of_the_values(values: list[float], percent: bool) -> None:
    axis = _number_axis("x", values, 1, percent)
    assert all(-1e-9 <= position <= 1 + 1e-9 for position in axis.positions)
    pairs = sorted(zip(values, axis.positions, strict=True))
    assert [position for _, position in pairs] == sorted(axis.positions)
    assert all(-1e-9 <= place <= 1 + 1e-9 for place, _ in axis.ticks)


def test_a_wide_range_is_logarithmic() -> None:
    assert _number_axis("x", [1e-4, 1e-3, 1e-2]).positions == pytest.approx((0, 0.5, 1))
    assert _number_axis("x", [1.0, 2.0, 3.0]).positions == pytest.approx((0, 0.5, 1))
    assert _number_axis("x", [0.01, 0.505, 1.0], percent=True).positions == pytest.approx((0, 0.5, 1))


def test_choices_are_places_in_the_order_of_their_names() -> None:
    axis = _parameter_axis("scope", ["uniform", "global", "uniform", True])
    assert axis is not None
    assert axis.ticks == ((0.0, "True"), (0.5, "global"), (1.0, "uniform"))
    assert axis.positions == (1.0, 0.5, 1.0, 0.0)
    assert _parameter_axis("scope", ["global", "global"]) is None
    assert _parameter_axis("scope", ["global", None]) is None
    assert _parameter_axis("rate", [1.0, float("nan")]) is None


def test_one_trial_compares_with_nothing(synthetic: ExperimentBuilder) -> None:
    synthetic.add_searched()
    synthetic.add_control("one_shot")
    assert parallel_coordinates_info(synthetic.load()).title.startswith("Fewer than two trials")


def test_without_a_dense_network_macs_are_millions(synthetic: ExperimentBuilder) -> None:
    synthetic.add_searched()
    synthetic.add_searched()
    experiment = replace(synthetic.load(), dense=None)
    assert parallel_coordinates_info(experiment).axes[-2].name == "MACs, millions"


def test_of_very_many_trials_some_are_drawn_and_the_rest_counted(
    full: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = parallel_coordinates_info(full)
    monkeypatch.setattr(sys.modules[parallel_coordinates.__module__], "MOST_LINES", 15)
    info = parallel_coordinates_info(full)
    numbers = [trial.number for trial in whole.trials]
    places = [numbers.index(trial.number) for trial in info.trials]
    assert {trial.number for trial, on in zip(whole.trials, whole.on_front, strict=True) if on} <= {
        trial.number for trial in info.trials
    }
    assert len(places) <= 16 < len(numbers)
    assert [axis.positions for axis in info.axes] == [
        tuple(axis.positions[place] for place in places) for axis in whole.axes
    ]
    assert info.title == whole.title
    assert f"Left out: {len(numbers) - len(places)} trials evenly" in info.note

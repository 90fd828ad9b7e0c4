import sys

import pytest
from experiments import ExperimentBuilder
from hypothesis import given
from hypothesis import strategies as st

from analysis import Experiment
from analysis.figures import parallel_coordinates
from analysis.figures.parameters.parallel_coordinates import (
    _number_axis,
    _parameter_axis,
    _split_by_accuracy,
    parallel_coordinates_info,
)
from analysis.figures.style import SCALE_COLOURS


def test_axes_are_the_parameters_that_all_have_and_that_differ(full: Experiment) -> None:
    info = parallel_coordinates_info(full)
    names = [axis.name for axis in info.axes]
    assert {"alpha.family", "alpha_lr", "lr.policy", "pruning.amount", "optimizer.weight_decay"} <= set(names)
    assert names[-2:] == ["MACs cut", "validation accuracy"]
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
        lines += [tuple(trace.y[start : start + step - 1]) for start in range(0, len(trace.y), step)]
        assert tuple(trace.x[:step]) == (*range(step - 1), None)
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
    axis = _parameter_axis("scope", ["uniform", "one_shot", "uniform", True])
    assert axis is not None
    assert axis.ticks == ((0.0, "True"), (0.5, "one-shot"), (1.0, "uniform"))
    assert axis.positions == (1.0, 0.5, 1.0, 0.0)
    assert _parameter_axis("scope", ["global", "global"]) is None
    assert _parameter_axis("scope", ["global", None]) is None
    assert _parameter_axis("rate", [1.0, float("nan")]) is None


def test_one_trial_compares_with_nothing(synthetic: ExperimentBuilder) -> None:
    synthetic.add_searched()
    synthetic.add_control("one_shot")
    assert parallel_coordinates_info(synthetic.load()).title.startswith("Fewer than two trials")


def test_colours_follow_the_accuracy(full: Experiment) -> None:
    info, figure = parallel_coordinates_info(full), parallel_coordinates(full)
    accuracy_of = {trial.number: accuracy for trial, accuracy in zip(info.trials, info.accuracies, strict=True)}
    drawn = [
        (SCALE_COLOURS.index(trace.line.color), accuracy_of[number])
        for trace in figure.data
        for number in set(trace.customdata)
    ]
    assert len(drawn) == len(info.trials)
    assert [accuracy for _, accuracy in sorted(drawn)] == sorted(info.accuracies)
    thick = {number for trace in figure.data if trace.line.width > 2 for number in trace.customdata}
    assert thick == {trial.number for trial, on_front in zip(info.trials, info.on_front, strict=True) if on_front}


def test_equal_accuracies_have_one_colour_and_the_highest_the_last() -> None:
    assert _split_by_accuracy([0.9]) == ([0], ["90.0%"])
    assert _split_by_accuracy([0.9, 0.9, 0.9]) == ([0, 0, 0], ["90.0%"])
    assert _split_by_accuracy([0.8, 0.9, 0.9, 0.95]) == ([0, 1, 1, 2], ["80.0%", "90.0%", "95.0%"])
    places, names = _split_by_accuracy([index / 100 for index in range(100)])
    assert [places.count(place) for place in range(5)] == [20] * 5
    assert names[0] == "0.0% to 19.0%"


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

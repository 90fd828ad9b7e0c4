import math
import sys
from collections import Counter
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from experiments import ExperimentBuilder, make_measurement, write_measurement
from hypothesis import given
from hypothesis import strategies as st

from analysis import Experiment
from analysis.figures import accuracy_against_macs, accuracy_against_measured
from analysis.figures.accuracy_against import (
    MEASURED,
    TrialPoint,
    _find_front,
    accuracy_against_macs_info,
    accuracy_against_measured_info,
)
from analysis.figures.selection import view_floor
from analysis.labels import TrialLabel, label_trial


def drawn_points(figure: Any) -> Counter[tuple[float, float]]:
    return Counter(
        (x, y) for trace in figure.data if trace.mode == "markers" for x, y in zip(trace.x, trace.y, strict=True)
    )


def test_every_complete_trial_but_repeats_is_a_point(full: Experiment) -> None:
    info = accuracy_against_macs_info(full)
    ranked = full.rank()
    assert sorted(point.trial.number for point in info.points) == sorted(ranked.index)
    assert not {point.trial.number for point in info.points} & set(range(36, 52))
    point = next(point for point in info.points if point.trial.number == 7)
    assert point.x == pytest.approx(100 * full.trials.loc[7, "mac_sparsity"])
    assert point.accuracy == full.trials.loc[7, "pruned_val_accuracy"]
    assert (point.std, point.seeds) == (None, 0)
    assert info.dense == (0.0, 0.94)
    assert info.x_title == "MACs cut, %"


def test_a_confirmed_trial_is_the_mean_of_its_repeats(full: Experiment) -> None:
    point = next(point for point in accuracy_against_macs_info(full).points if point.trial.number == 9)
    repeats = full.trials.loc[[46, 47, 48], "pruned_val_accuracy"]
    assert point.accuracy == pytest.approx(repeats.mean())
    assert point.std == pytest.approx(repeats.std(ddof=1))
    assert point.seeds == 3


def test_the_front_is_that_of_the_ranking(full: Experiment) -> None:
    ranked = full.rank()
    assert set(accuracy_against_macs_info(full).front) == set(ranked.index[ranked["on_front"]])


def test_the_drawing_has_the_points_of_the_info(full: Experiment) -> None:
    info, figure = accuracy_against_macs_info(full), accuracy_against_macs(full)
    assert drawn_points(figure) == Counter((point.x, point.accuracy) for point in info.points)
    front = next(trace for trace in figure.data if trace.name == "Pareto front")
    of_number = {point.trial.number: point for point in info.points}
    assert list(front.y) == [of_number[number].accuracy for number in info.front]
    errors = [
        error for trace in figure.data if trace.error_y.array for error in trace.error_y.array if error is not None
    ]
    assert sorted(errors) == sorted(point.std for point in info.points if point.std is not None)
    [line] = figure.layout.shapes
    assert (line.y0, line.y1) == (0.94, 0.94)


def test_hollow_marks_are_those_of_one_seed(full: Experiment) -> None:
    confirmed = {(point.x, point.accuracy) for point in accuracy_against_macs_info(full).points if point.seeds}
    for trace in accuracy_against_macs(full).data:
        if trace.mode == "markers":
            filled = trace.marker.color == trace.marker.line.color
            assert {filled} == {(x, y) in confirmed for x, y in zip(trace.x, trace.y, strict=True)}


def test_a_family_is_once_in_the_legend(full: Experiment) -> None:
    names = [trace.name for trace in accuracy_against_macs(full).data if trace.showlegend is not False]
    assert len(names) == len(set(names))
    assert {"one-shot (control)", "cosine", "Pareto front"} <= set(names)


def test_without_the_dense_networks_record_its_line_is_missing(synthetic: ExperimentBuilder) -> None:
    synthetic.add_searched()
    (synthetic.folder.dense_path / "dense.json").unlink()
    info = accuracy_against_macs_info(synthetic.load())
    assert info.points[0].x == pytest.approx(100 * synthetic.load().trials.loc[0, "mac_sparsity"])
    assert info.dense == (0.0, None)
    assert accuracy_against_macs(synthetic.load()).layout.shapes == ()


def test_where_nothing_was_repeated_all_marks_are_filled(synthetic: ExperimentBuilder) -> None:
    synthetic.add_searched()
    experiment = synthetic.load()
    assert accuracy_against_macs_info(experiment).note == ""
    [marks] = [trace for trace in accuracy_against_macs(experiment).data if trace.mode == "markers"]
    assert marks.marker.color == marks.marker.line.color


def test_measured_on_one_device_only(full: Experiment) -> None:
    info = accuracy_against_measured_info(full)
    assert {point.trial.number for point in info.points} == set(range(18))
    assert "on AMD EPYC 7B13, 2 threads." in info.title
    assert "1 trial measured on other devices" in info.note
    point = next(point for point in info.points if point.trial.number == 3)
    assert point.x == full.trials.loc[3, "batch256_latency_ms"]
    # The dense network's latency is a median over both devices.
    assert info.dense == (None, 0.94)


def test_a_size_is_the_same_on_all_devices(full: Experiment) -> None:
    info = accuracy_against_measured_info(full, "size_bytes")
    assert {point.trial.number for point in info.points} == set(range(19))
    assert info.dense == (60.0, 0.94)
    assert "EPYC" not in info.title


def test_the_dense_network_is_a_point_among_what_was_measured(synthetic: ExperimentBuilder) -> None:
    write_measurement(synthetic.add_searched(), make_measurement())
    info = accuracy_against_measured_info(synthetic.load(), "peak_memory_bytes")
    assert info.dense == (pytest.approx(300.0), 0.94)
    figure = accuracy_against_measured(synthetic.load(), "peak_memory_bytes")
    star = next(trace for trace in figure.data if trace.name == "dense network")
    assert (star.x[0], star.y[0]) == info.dense
    assert figure.layout.xaxis.title.text == "peak memory on the test set, MB"


def test_a_training_cost_needs_no_measurement(synthetic: ExperimentBuilder) -> None:
    trial = synthetic.add_searched()
    info = accuracy_against_measured_info(synthetic.load(), "training_cost")
    [point] = info.points
    assert point.x == pytest.approx(sum(row.training_cost or 0 for row in trial.read_rows()))
    assert info.x_title == "training cost, dense epochs"
    assert info.dense[0] is None


def test_a_trial_of_the_search_that_cuts_in_one_shot_is_no_trial_with_alpha(synthetic: ExperimentBuilder) -> None:
    synthetic.add_searched(0.95, families=("one_shot",))
    assert "Only 0 one-shot is on" in (alone := accuracy_against_macs_info(synthetic.load()).title)
    assert "with alpha" not in alone
    synthetic.add_searched(0.9, amounts=(0.9,), families=("cosine",))
    title = accuracy_against_macs_info(synthetic.load()).title
    assert title.startswith(
        "Trials with alpha hold 1 of the 2 places on the Pareto front; the best trial with alpha, 1"
    )


@pytest.mark.parametrize("column", [column for column in MEASURED if column != "training_cost"])
def test_nothing_measured_is_said_in_words(synthetic: ExperimentBuilder, column: str) -> None:
    synthetic.add_searched()
    info = accuracy_against_measured_info(synthetic.load(), column)
    assert info.points == ()
    assert info.title.startswith("Nothing has been measured yet")
    assert accuracy_against_measured(synthetic.load(), column).data == ()


def test_a_column_that_is_not_measured_is_a_value_error(full: Experiment) -> None:
    with pytest.raises(ValueError, match=r"`column` must be one of size_bytes, batch1_latency_ms, .*, but got 'macs'"):
        accuracy_against_measured(full, "macs")


def test_the_title_counts_places_on_the_front(synthetic: ExperimentBuilder) -> None:
    trials = pd.DataFrame({"pruned_val_accuracy": [0.9, 0.8, 0.7], "mac_sparsity": [0.044, 0.68, 0.36]})
    for _ in range(2):
        synthetic.add_searched()
    synthetic.add_control("one_shot", amount=0.9)
    experiment = synthetic.load()
    experiment = replace(experiment, trials=experiment.trials.assign(**trials))
    info = accuracy_against_macs_info(experiment)
    assert info.front == (1, 0)
    assert "hold 2 of the 2 places" in info.title
    assert (
        f"{label_trial(experiment.trials, 0)}, reaches a validation accuracy of 90.00% with 4.4% fewer MACs"
        in info.title
    )


def test_trials_in_the_same_place_share_the_front_as_in_the_ranking(synthetic: ExperimentBuilder) -> None:
    trials = pd.DataFrame({"pruned_val_accuracy": [0.9, 0.9], "mac_sparsity": [0.75, 0.75], "macs": [9, 9]})
    synthetic.add_control("one_shot")
    synthetic.add_searched(families=("cosine",))
    experiment = synthetic.load()
    experiment = replace(experiment, trials=experiment.trials.assign(**trials))
    info = accuracy_against_macs_info(experiment)
    assert info.front == (0, 1)
    assert experiment.ranked["on_front"].all()
    assert "hold 1 of the 2 places" in info.title


def test_the_title_of_a_front_of_one(synthetic: ExperimentBuilder) -> None:
    synthetic.add_control("one_shot")
    assert accuracy_against_macs_info(synthetic.load()).title.startswith("Only 0 one-shot (control) is on the Pareto")


def test_the_best_trial_is_the_one_of_the_ranking(synthetic: ExperimentBuilder) -> None:
    """As accurate as another, with fewer MACs."""
    for _ in range(2):
        synthetic.add_searched()
    experiment = synthetic.load()
    trials = experiment.trials.assign(pruned_val_accuracy=[0.9, 0.9], macs=[3e8, 1e8])
    assert str(label_trial(trials, 1)) in accuracy_against_macs_info(replace(experiment, trials=trials)).title


def test_what_did_not_learn_is_out_of_view_but_there(synthetic: ExperimentBuilder) -> None:
    for _ in range(8):
        synthetic.add_searched()
    experiment = synthetic.load()
    accuracies = [0.1, 0.9, 0.91, 0.92, 0.9, 0.91, 0.92, 0.905]
    experiment = replace(experiment, trials=experiment.trials.assign(pruned_val_accuracy=accuracies))
    info = accuracy_against_macs_info(experiment)
    assert info.floor == 0.9
    assert "1 trial below 90.0% out of view" in info.note
    figure = accuracy_against_macs(experiment)
    assert 0.85 < figure.layout.yaxis.range[0] < 0.9
    assert figure.layout.yaxis.range[1] > 0.94
    assert min(y for _, y in drawn_points(figure)) == 0.1


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_the_front_is_what_none_beats(values: list[tuple[int, int]]) -> None:
    points = [TrialPoint(TrialLabel(n, None, None, ""), x, y, None, 0, "") for n, (x, y) in enumerate(values)]
    points.sort(key=lambda point: (point.x, -point.accuracy, point.trial.number))
    front = {(p.x, p.accuracy) for p in points if p.trial.number in _find_front(points)}
    assert front == {(x, y) for x, y in values if not any((u, -v) != (x, -y) and u <= x and v >= y for u, v in values)}


@given(st.lists(st.floats(0, 1), max_size=20))
def test_a_floor_is_an_accuracy_that_some_are_below(accuracies: list[float]) -> None:
    floor = view_floor(accuracies)
    if floor is not None:
        assert floor in accuracies
        # Never more than a quarter of them.
        assert 0 < sum(accuracy < floor for accuracy in accuracies) <= math.ceil(len(accuracies) / 4)


def test_of_very_many_trials_some_are_drawn_and_the_rest_counted(
    full: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = accuracy_against_macs_info(full)
    monkeypatch.setattr(sys.modules[accuracy_against_macs.__module__], "MOST_POINTS", 20)
    info = accuracy_against_macs_info(full)
    drawn = {point.trial.number for point in info.points}
    must = {point.trial.number for point in whole.points if point.trial.control or point.seeds} | set(whole.front)
    assert must <= drawn
    assert len(drawn) <= max(20, len(must) + 1) < len(whole.points)
    assert f"Left out: {len(whole.points) - len(drawn)} trials evenly" in info.note
    assert (info.title, info.front, info.floor) == (whole.title, whole.front, whole.floor)

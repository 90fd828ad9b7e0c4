import pytest
from experiments import ExperimentBuilder

from analysis import Experiment
from analysis.figures import slices
from analysis.figures.parameters.parallel_coordinates import parallel_coordinates_info
from analysis.figures.parameters.slices import slices_info


def test_a_panel_for_each_parameter_with_every_trial_in_it(full: Experiment) -> None:
    info, figure = slices_info(full), slices(full)
    lines = parallel_coordinates_info(full)
    assert info.axes == lines.axes[:-2]
    assert (info.trials, info.accuracies) == (lines.trials, lines.accuracies)
    drawn = [(x, y) for trace in figure.data for x, y in zip(trace.x, trace.y, strict=True)]
    expected = [pair for axis in info.axes for pair in zip(axis.positions, info.accuracies, strict=True)]
    assert sorted(drawn) == sorted(expected)
    assert [title.text for title in figure.layout.annotations] == [axis.name for axis in info.axes]
    names = [trace.name for trace in figure.data if trace.showlegend]
    assert len(names) == len(set(names))


def test_a_mark_knows_its_trial(full: Experiment) -> None:
    accuracies = dict(
        zip((trial.number for trial in slices_info(full).trials), slices_info(full).accuracies, strict=True)
    )
    for trace in slices(full).data:
        assert tuple(trace.y) == tuple(accuracies[number] for number in trace.customdata)


def test_what_did_not_learn_is_out_of_view(synthetic: ExperimentBuilder) -> None:
    for accuracy in (0.1, 0.9, 0.91, 0.92, 0.9, 0.91, 0.92, 0.905):
        synthetic.add_searched(accuracy)
    experiment = synthetic.load()
    assert slices_info(experiment).floor == pytest.approx(0.9)
    assert "1 trial below 90.0% out of view" in slices_info(experiment).note
    assert slices(experiment).layout.yaxis.range[0] > 0.8


def test_nothing_varies(synthetic: ExperimentBuilder) -> None:
    synthetic.add_searched()
    assert slices_info(synthetic.load()).title.startswith("Fewer than two trials")

import pytest
from experiments import ExperimentBuilder

from analysis import Experiment
from analysis.figures import epochs_of
from analysis.figures.epochs_of import SERIES, STEPS, epochs_of_info
from analysis.figures.selection import choose_trials


def test_the_curves_are_the_rows(full: Experiment) -> None:
    [curves] = epochs_of_info(full, [8]).curves
    rows = full.epochs[full.epochs.index == 8]
    assert curves.epochs == tuple(range(1, 21))
    for column in SERIES:
        assert curves.series[column] == tuple(rows[column])
    assert curves.cut == (rows["phase"] == "alpha").sum()


def test_by_default_the_best_of_each_family(full: Experiment) -> None:
    assert tuple(curves.trial for curves in epochs_of_info(full).curves) == choose_trials(full)


def test_a_one_shot_cut_is_before_the_first_epoch(full: Experiment) -> None:
    [curves] = epochs_of_info(full, [0]).curves
    assert curves.cut == 0


def test_a_trial_that_is_not_cut_yet(synthetic: ExperimentBuilder) -> None:
    synthetic.add_searched(state="running", epochs=1)
    [curves] = epochs_of_info(synthetic.load(), [0]).curves
    assert curves.cut is None
    assert epochs_of(synthetic.load(), [0]).layout.shapes == ()


def test_the_drawing_has_all_curves_and_cuts(full: Experiment) -> None:
    info, figure = epochs_of_info(full, [0, 8]), epochs_of(full, [0, 8])
    drawn = [tuple(trace.y)[: len(each.epochs)] for trace in figure.data for each in info.curves[:1]]
    assert sorted(map(str, drawn)) == sorted(str(each.series[column]) for each in info.curves for column in SERIES)
    steps = [trace for trace in figure.data if trace.line.shape == "hv"]
    assert len(steps) == len(info.curves) * len(STEPS)
    assert all(tuple(trace.x) == tuple(range(21)) for trace in steps)
    # Epoch e reaches from e - 1 to e, and the cut comes after the last epoch with alpha.
    assert [shape.x0 for shape in figure.layout.shapes] == [each.cut for each in info.curves if each.cut is not None]
    assert [trace.name for trace in figure.data if trace.showlegend] == [each.trial.text for each in info.curves]


def test_trials_of_one_family_are_told_apart(full: Experiment) -> None:
    family = full.trials.loc[8, "alpha.family"]
    same = full.rank(where=f"alpha.family == '{family}' and control == None").index[:3].tolist()
    colours = [trace.line.color for trace in epochs_of(full, same).data if trace.showlegend]
    assert len(set(colours)) == 3


def test_the_title_names_the_highest_end(full: Experiment) -> None:
    best = full.trials.loc[[6, 7, 8], "pruned_val_accuracy"].idxmax()
    assert f"{choose_trials(full, [best])[0]} ends highest, at " in epochs_of_info(full, [6, 7, 8]).title


def test_a_trial_without_epochs_is_left_out(synthetic: ExperimentBuilder) -> None:
    synthetic.add_searched(state="running", epochs=0)
    assert epochs_of_info(synthetic.load(), [0]).curves == ()
    assert "no epochs yet" in epochs_of_info(synthetic.load(), [0]).title


def test_a_number_that_no_trial_has_is_a_value_error(full: Experiment) -> None:
    with pytest.raises(ValueError, match="but got 99"):
        epochs_of(full, [99])

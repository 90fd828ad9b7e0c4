from itertools import pairwise

import pytest
from experiments import ExperimentBuilder
from hypothesis import given
from hypothesis import strategies as st

from analysis import Experiment
from analysis.columns import row_of
from analysis.figures.selection import choose_trials, describe_configuration, thin_out


def test_a_configuration_in_short(full: Experiment) -> None:
    assert describe_configuration(row_of(full.trials, 0)) == "cosine peak 0.05; l1 global; alpha_lr 0.01"


def test_the_default_choice_is_the_best_of_each_family_and_the_best_control(full: Experiment) -> None:
    trials = choose_trials(full)
    plain = [trial for trial in trials if trial.control is None]
    assert len(trials) == len(plain) + 1
    assert sorted(trial.family or "" for trial in plain) == sorted(
        set(full.rank(where="control == None")["alpha.family"])
    )
    accuracies = full.ranked["pruned_val_accuracy"]
    for trial in plain:
        of_family = accuracies[full.rank(where=f"control == None and alpha.family == '{trial.family}'").index]
        assert accuracies[trial.number] == of_family.max()
    [control] = [trial for trial in trials if trial.control is not None]
    assert accuracies[control.number] == accuracies[full.rank(where="control != None").index].max()


def test_chosen_trials_come_in_the_order_asked_for_and_once(full: Experiment) -> None:
    assert [trial.number for trial in choose_trials(full, [9, 7, 9])] == [9, 7]


def test_a_number_that_no_trial_has_is_a_value_error(full: Experiment, synthetic: ExperimentBuilder) -> None:
    with pytest.raises(ValueError, match=r"\(there are 0 to 66\), but got 99"):
        choose_trials(full, [99])
    with pytest.raises(ValueError, match=r"\(there are none yet\), but got 0"):
        choose_trials(synthetic.load(), [0])


@given(st.integers(0, 300), st.integers(1, 60), st.sets(st.integers(0, 299), max_size=80))
def test_marks_are_thinned_out_evenly_and_none_that_must_stay(count: int, most: int, kept: set[int]) -> None:
    kept = {place for place in kept if place < count}
    drawn = thin_out(count, most, kept)
    assert drawn == sorted(set(drawn))
    assert kept <= set(drawn) <= set(range(count))
    assert len(drawn) <= max(most, len(kept) + 1)
    if count <= most:
        assert drawn == list(range(count))
    others = [place for place in range(count) if place not in kept]
    steps = [others.index(place) for place in drawn if place not in kept]
    assert len({after - before for before, after in pairwise(steps)}) <= 1

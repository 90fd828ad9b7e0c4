import math

import pandas as pd
import pytest
from experiments import ExperimentBuilder

from analysis import Experiment
from analysis.labels import chosen, configuration, count, known, numbers_in, percentage, searched, who


def test_names_say_what_a_trial_is(full: Experiment) -> None:
    assert who(full.trials, 0).label == "0 one_shot control"
    assert who(full.trials, 43).label == "43 one_shot control, repeats 0"
    assert who(full.trials, 52).label == "52 piecewise"
    assert who(full.trials, 53).label == "53 piecewise, from 52"
    rate = full.trials.loc[8, "rate"]
    assert who(full.trials, 8).label == f"8 {full.trials.loc[8, 'family']} {rate:.3g}"


def test_a_configuration_in_short(full: Experiment) -> None:
    assert configuration(full.trials, 0) == "cosine peak 0.05; l1 global; alpha_lr 0.01"


def test_the_default_choice_is_the_best_of_each_family_and_the_best_control(full: Experiment) -> None:
    picked = chosen(full)
    plain = [one for one in picked if one.control is None]
    assert len(picked) == len(plain) + 1
    assert sorted(one.family or "" for one in plain) == sorted(set(full.rank(where="control == None")["family"]))
    accuracies = full.rank()["pruned_val_accuracy"]
    for one in plain:
        of_family = accuracies[full.rank(where=f"control == None and family == '{one.family}'").index]
        assert accuracies[one.number] == of_family.max()
    [control] = [one for one in picked if one.control is not None]
    assert accuracies[control.number] == accuracies[full.rank(where="control != None").index].max()


def test_chosen_trials_come_in_the_order_asked_for_and_once(full: Experiment) -> None:
    assert [one.number for one in chosen(full, [9, 7, 9])] == [9, 7]


def test_a_number_that_no_trial_has_is_a_value_error(full: Experiment, synthetic: ExperimentBuilder) -> None:
    with pytest.raises(ValueError, match=r"\(there are 0 to 54\), but got 99"):
        chosen(full, [99])
    with pytest.raises(ValueError, match=r"\(there are none yet\), but got 0"):
        chosen(synthetic.load(), [0])


def test_only_what_the_study_asked_for_was_searched(full: Experiment) -> None:
    assert searched(full.trials).index.tolist() == [*range(6, 43), 52]


def test_columns_that_are_missing_or_no_numbers_are_unknown() -> None:
    frame = pd.DataFrame({"a": ["1.5", "x", None]})
    assert known(numbers_in(frame, "a")) == (1.5, None, None)
    assert known(numbers_in(frame, "b")) == (None, None, None)


def test_numbers_as_people_read_them() -> None:
    assert percentage(0.9965) == "99.65 %"
    assert percentage(0.5, 0) == "50 %"
    assert percentage(math.nan) == "- %"
    assert [count(1, "trial"), count(1200, "trial")] == ["1 trial", "1,200 trials"]

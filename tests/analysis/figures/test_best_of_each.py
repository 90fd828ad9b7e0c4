import math
from dataclasses import replace

import pandas as pd
import pytest
from experiments import ExperimentBuilder

from analysis import Experiment
from analysis.figures import best_of_each_family, best_of_each_policy
from analysis.figures.best_of_each import (
    MOST_AMOUNTS,
    BestOfEachInfo,
    GroupBest,
    best_of_each_family_info,
    best_of_each_policy_info,
)


@pytest.fixture
def compared(synthetic: ExperimentBuilder) -> Experiment:
    """At 75%: cosine, thrice, the second best of which was repeated, one-shot, and controls; at 90%: cosine."""
    control = synthetic.add_control("one_shot", 0.90)
    synthetic.add_control("from_scratch", 0.95)
    synthetic.add_searched(0.91, families=("cosine",))
    second = synthetic.add_searched(0.90, families=("cosine",))
    synthetic.add_searched(0.5, families=("cosine",), state="stopped", epochs=6)
    synthetic.add_searched(0.99, families=("cosine",), state="failed", epochs=6, error="lost")
    synthetic.add_searched(0.92, families=("one_shot",))
    synthetic.add_searched(0.80, amounts=(0.9,), families=("cosine",))
    for seed, accuracy in enumerate((0.89, 0.90, 0.91), start=1):
        synthetic.add_repeat(second, seed, accuracy)
    synthetic.add_repeat(control, 1, 0.88)
    return synthetic.load()


def groups(info: BestOfEachInfo) -> dict[str, dict[str, GroupBest]]:
    return {amount: {one.group: one for one in bests} for amount, bests in info.amounts}


def test_each_family_has_its_best_its_trials_and_its_repeats(compared: Experiment) -> None:
    found = groups(best_of_each_family_info(compared))
    assert list(found) == ["75% fewer MACs", "90% fewer MACs"]
    at_75 = found["75% fewer MACs"]
    assert list(at_75) == ["one-shot", "cosine", "one-shot (control)"]
    cosine, control = at_75["cosine"], at_75["one-shot (control)"]
    assert (cosine.tried, cosine.best.number, cosine.accuracy) == (3, 2, 0.91)
    # Of 0.89, 0.90 and 0.91: s = 0.01, and Student's t is 4.303.
    again = cosine.repeated
    assert again is not None
    assert again.trial.number == 3  # not the best
    assert (again.seeds, again.mean, again.margin) == (3, pytest.approx(0.9), pytest.approx(0.02484, abs=1e-5))
    assert control.repeated is not None
    assert (control.tried, control.repeated.seeds, control.repeated.mean) == (1, 1, 0.88)
    assert math.isnan(control.repeated.margin)
    assert (at_75["one-shot"].tried, at_75["one-shot"].repeated) == (1, None)
    assert found["90% fewer MACs"]["cosine"].accuracy == 0.8


def test_policies_are_those_of_the_search(compared: Experiment) -> None:
    info = best_of_each_policy_info(compared)
    assert sum(one.tried for _, bests in info.amounts for one in bests) == 5
    assert max(one.accuracy for _, bests in info.amounts for one in bests) == 0.92


def test_the_title_names_the_best_of_all(compared: Experiment) -> None:
    title = best_of_each_family_info(compared).title
    assert "one-shot leads at 75% fewer MACs; cosine leads at 90% fewer MACs" in title


def test_the_drawing_has_a_row_for_each_family_with_its_trials_counted(compared: Experiment) -> None:
    figure = best_of_each_family(compared)
    assert figure.layout.yaxis.ticktext == ("one-shot (control) (1)", "cosine (3)", "one-shot (1)")
    assert figure.layout.yaxis2.ticktext == ("cosine (1)",)
    marks = [(trace.x[0], trace.customdata[0], trace.error_x.array) for trace in figure.data]
    assert (0.91, 2, None) in marks
    (repeated,) = [trace for trace in figure.data if trace.x[0] == pytest.approx(0.9) and trace.customdata[0] == 3]
    assert "3 cosine" in repeated.hovertext[0].replace("<br>", " ")
    assert len(marks) == 6
    assert len(best_of_each_policy(compared).data) >= 2


def test_of_many_amounts_those_with_the_most_trials_are_shown(compared: Experiment) -> None:
    searched = compared.trials[compared.trials["kind"] == "searched"].iloc[[0]]
    many = pd.concat([searched] * 9, ignore_index=True).rename_axis("number")
    many["pruning.amount"] = [0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.65]
    info = best_of_each_family_info(replace(compared, trials=many))
    assert len(info.amounts) == MOST_AMOUNTS
    assert "65% fewer MACs" in groups(info)
    assert f"the {MOST_AMOUNTS} amounts with the most trials" in info.note

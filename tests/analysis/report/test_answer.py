import math
import re
from dataclasses import replace
from typing import Any

import pytest
from experiments import DATA, DENSE, make_trials
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.report.answer import Answer, answer
from records.dense import DenseRecord
from records.experiment import DataRecord

ONE_SHOT = {"control": "one_shot", "accuracy": 0.9}


def answered(
    trials: Any, dense: DenseRecord | None = DENSE, dense_measure: Any = None, data: DataRecord = DATA
) -> Answer:
    return answer(trials, data, dense, dense_measure or {})


def test_alpha_that_is_better_over_seeds() -> None:
    found = answered(
        make_trials(
            ONE_SHOT | {"repeats": [0.902, 0.9, 0.901]},
            {"accuracy": 0.95, "repeats": [0.911, 0.912, 0.91]},
        )
    )
    assert found.headline == (
        "The best exponential trial (1) beats the best control, one-shot pruning, by 1.0 ± 0.2 points at 75 % fewer "
        "MACs, over 3 seeds each."
    )
    assert found.findings == (
        "In numbers: validation accuracy with alpha 91.10 %, of the control 90.10 %; the dense network: 94.00 %.",
    )
    assert "± is the 95 % interval of the difference from the spread over seeds" in found.trust
    assert "told by its repeats alone" in found.trust
    assert "until" not in found.trust


def test_a_control_that_is_better_is_said_first() -> None:
    found = answered(
        make_trials({"control": "from_scratch", "accuracy": 0.95}, {"accuracy": 0.9, "family": "time_based"})
    )
    assert found.headline == (
        "Training from scratch, a control, beats the best trial with alpha (1, time-based) by 5.0 ± 1.0 points at "
        "75 % fewer MACs, one seed each."
    )


def test_a_difference_within_noise_is_called_noise() -> None:
    found = answered(make_trials(ONE_SHOT, {"accuracy": 0.905}, {"accuracy": 0.904}))
    assert found.headline == (
        "No alpha schedule is seen to beat the controls: at 75 % fewer MACs the best trial with alpha (1, exponential) "
        "is 0.5 ± 1.2 points above the best control, one-shot pruning, one seed each: that is within noise."
    )
    assert "that 5,000 validation images allow (binomial)" in found.trust
    assert "the best of up to 2 on 5,000 validation images" in found.trust
    assert "`alphaprune confirm`" in found.trust


def test_no_difference_at_all() -> None:
    found = answered(make_trials(ONE_SHOT, {"accuracy": 0.9}))
    assert "is as accurate as the best control, one-shot pruning, one seed each." in found.headline
    assert found.headline.startswith("No alpha schedule is seen to beat the controls")


def test_a_small_but_sure_difference_has_digits_enough() -> None:
    repeats = [0.9, 0.90001, 0.90002]
    found = answered(
        make_trials(ONE_SHOT | {"repeats": repeats}, {"accuracy": 0.9, "repeats": [r + 4e-4 for r in repeats]})
    )
    assert "by 0.04 ± 0.00 points" in found.headline


def test_noise_of_unknown_size_is_no_success() -> None:
    found = answered(make_trials(ONE_SHOT, {"accuracy": 0.95}), data=replace(DATA, validation_images=0))
    assert found.headline.startswith("No alpha schedule is seen to beat the controls: at 75 % fewer MACs the best")
    assert "5.0 points above" in found.headline
    assert found.headline.endswith("how much of that is noise is not known.")
    assert "±" not in found.headline + found.trust


def test_the_test_set_is_named_where_it_decides() -> None:
    found = answered(
        make_trials(ONE_SHOT | {"test_accuracy": 0.88}, {"accuracy": 0.95, "test_accuracy": 0.93}),
        dense_measure={"test_accuracy": 0.935},
    )
    assert found.findings == (
        "In numbers: test accuracy with alpha 93.00 %, of the control 88.00 %; the dense network: 93.50 %.",
    )
    assert "that 10,000 test images allow" in found.trust


def test_a_trial_that_won_among_several_by_validation_is_not_trusted_for_it() -> None:
    trials = [ONE_SHOT, {"accuracy": 0.95}, {"accuracy": 0.94, "state": "stopped"}]
    assert "it looks better than it is" in answered(make_trials(*trials)).trust
    tested = answered(make_trials(*({**trial, "test_accuracy": 0.9} for trial in trials))).trust
    assert "the test images had no say in the choice" in tested
    assert "looks better than it is" not in tested
    assert "the best of up to" not in answered(make_trials(*trials[:2])).trust


def test_several_cuts_are_summed_up() -> None:
    won = ({"control": "one_shot", "accuracy": 0.8, "cut": 0.5}, {"accuracy": 0.95, "cut": 0.5})
    even = ({"control": "one_shot", "accuracy": 0.75, "cut": 0.75}, {"accuracy": 0.751, "cut": 0.75})
    lost = ({"control": "one_shot", "accuracy": 0.7, "cut": 0.9}, {"accuracy": 0.6, "cut": 0.9})
    lost_too = ({"control": "one_shot", "accuracy": 0.3, "cut": 0.95}, {"accuracy": 0.2, "cut": 0.95})
    won, even, lost, lost_too = (
        tuple(trial | {"test_accuracy": trial["accuracy"]} for trial in trials)
        for trials in (won, even, lost, lost_too)
    )
    for trials, headline in (
        (
            won + lost,
            "A control beats alpha at 90 % fewer MACs; alpha beats the best control at 50 % fewer MACs.",
        ),
        (lost + lost_too, "A control beats alpha at 90 % and 95 % fewer MACs."),
        (
            even + lost,
            "A control beats alpha at 90 % fewer MACs; at the other cuts alpha is not seen to beat the controls.",
        ),
        (
            won + even,
            "Alpha beats the best control at 50 % fewer MACs; at the other cuts alpha is not seen to beat the "
            "controls.",
        ),
    ):
        found = answered(make_trials(*trials))
        assert found.headline == headline
        assert len(found.findings) == 2
    both = answered(
        make_trials(
            *won,
            {"control": "one_shot", "accuracy": 0.4, "test_accuracy": 0.4, "cut": 0.9},
            {"accuracy": 0.5, "test_accuracy": 0.5, "cut": 0.9},
        )
    )
    assert both.headline == "Alpha beats the best control at 50 % and 90 % fewer MACs."
    first = answered(make_trials(*won, *lost)).findings[0]
    assert first.startswith("One-shot pruning, a control, beats the best trial with alpha (3, exponential) by 10.0 ±")
    even_too = ({"control": "one_shot", "accuracy": 0.6, "cut": 0.9}, {"accuracy": 0.599, "cut": 0.9})
    assert answered(make_trials(*even, *even_too)).headline == (
        "No alpha schedule is seen to beat the controls at any of the cuts compared."
    )


def test_the_best_of_many_single_runs_beats_nobody() -> None:
    """The highest of ten equally good trials is often above an interval that is made for one."""
    many = [{"accuracy": accuracy} for accuracy in (0.95, *(0.9 - 0.01 * index for index in range(9)))]
    found = answered(make_trials(ONE_SHOT, *many))
    assert found.headline == (
        "The best exponential trial (1) is ahead of the best control, one-shot pruning, by 5.0 ± 1.0 points at 75 % "
        "fewer MACs, one seed each, not confirmed over seeds."
    )
    found = answered(make_trials(ONE_SHOT | {"accuracy": 0.99}, *many))
    assert found.headline == (
        "One-shot pruning, a control, is ahead of the best trial with alpha (1, exponential) by 4.0 ± 0.7 points at "
        "75 % fewer MACs, one seed each, not confirmed over seeds."
    )
    repeated = [
        ONE_SHOT | {"repeats": [0.9, 0.901, 0.902]},
        {"control": "one_shot", "accuracy": 0.8, "cut": 0.9, "repeats": [0.8, 0.801, 0.802]},
        {"accuracy": 0.7, "cut": 0.9, "repeats": [0.7, 0.701, 0.702]},
    ]
    found = answered(make_trials(*repeated, *many))
    assert found.headline == (
        "A control beats alpha at 90 % fewer MACs; alpha is ahead of the best control at 75 % fewer MACs, not "
        "confirmed over seeds."
    )
    assert [" beats " in finding for finding in found.findings] == [True, False]


def test_how_many_seeds_are_behind_each_side() -> None:
    def over(ours: list[float], theirs: list[float], **more: Any) -> str:
        trials = make_trials({"accuracy": 0.95, "repeats": ours} | more, ONE_SHOT | {"repeats": theirs} | more)
        return answered(trials).headline

    two, three = [0.95, 0.951], [0.9, 0.902, 0.901]
    assert over(two, three).endswith(", over 2 and 3 seeds.")
    assert over([], []).endswith(", one seed each.")
    assert over([0.95], []).endswith(", one seed each.")
    assert over([0.95], three).endswith(", over 1 and 3 seeds.")
    tested = over(three, three, test_repeats=[0.9, math.nan, 0.91])
    assert ", over 2 seeds each" in tested


def test_cuts_that_differ_are_named() -> None:
    for alpha, numbers in (
        (0.755, "with alpha 95.00 % at 75.5 % fewer MACs, of the control 90.00 % at 75 % fewer MACs"),
        (0.751, "with alpha 95.00 %, of the control 90.00 %;"),
    ):
        assert numbers in answered(make_trials(ONE_SHOT, {"accuracy": 0.95, "cut": alpha})).findings[0]
    found = answered(make_trials(ONE_SHOT, {"accuracy": 0.95, "cut": 0.9}))
    assert "with alpha 95.00 % at 90 % fewer MACs, of the control 90.00 % at 75 % fewer MACs" in found.findings[0]


def test_what_has_no_comparable_control_is_said() -> None:
    found = answered(
        make_trials(ONE_SHOT, {"accuracy": 0.91}, {"accuracy": 0.95, "cut": 0.5}, {"accuracy": 0.94, "cut": 0.6})
    )
    assert found.findings[1:] == (
        "No control is comparable to 2 trials with alpha at 50 % to 60 % fewer MACs: the controls cut 75 % or more.",
    )
    found = answered(make_trials(ONE_SHOT, {"accuracy": 0.91}, {**ONE_SHOT, "cut": 0.95}))
    assert found.findings[1:] == ("No trial with alpha is comparable to the controls at 95 % fewer MACs.",)
    found = answered(make_trials(ONE_SHOT, {"accuracy": 0.95, "cut": 0.5}))
    assert found.headline == (
        "Whether alpha helps is not known: there is no comparable control: the trials with alpha cut 50 % of the MACs, "
        "the controls 75 %."
    )


def test_without_controls() -> None:
    found = answered(make_trials({"accuracy": 0.92}, {"accuracy": 0.91}))
    assert found.headline == (
        "Whether alpha helps is not known: no control is complete, so there is nothing to compare with."
    )
    assert found.findings == (
        "The best trial with alpha (0, exponential) reaches 92.00 % of the validation images at 75 % fewer MACs; the "
        "dense network has 94.00 %.",
    )
    assert found.trust == (
        "The best trial with alpha is the best of 2 on 5,000 validation images, so it looks better than it is."
    )


def test_controls_only() -> None:
    found = answered(make_trials(ONE_SHOT), dense=None)
    assert found.headline == (
        "No trial with an alpha schedule is complete, so alpha cannot be judged yet: only controls are."
    )
    assert found.findings == (
        "The best control, one-shot pruning, reaches 90.00 % of the validation images at 75 % fewer MACs.",
    )


def test_a_single_trial() -> None:
    found = answered(make_trials({"accuracy": 0.92}))
    assert found.trust == "It is the accuracy of one run on 5,000 validation images."


@pytest.mark.parametrize(
    ("states", "headline"),
    [
        ([], "There is no answer yet: no trial has been started."),
        (["failed"], "There is no answer: the only trial failed."),
        (["failed"] * 1200, "There is no answer: all 1,200 trials failed."),
        (["running", "failed"], "There is no answer yet: no trial is complete (1 has not ended and 1 failed)."),
        (["stopped"], "There is no answer yet: no trial is complete (1 was stopped early)."),
        (["complete", "running"], "There is no answer: the accuracy of the complete trials is lost."),
    ],
)
def test_without_an_outcome(states: list[str], headline: str) -> None:
    found = answered(make_trials(*({"state": state} for state in states)))
    assert found.headline == headline
    assert found.findings == ()
    assert "nothing yet that could be trusted" in found.trust
    assert ("1 trial has not ended" in found.trust) == ("running" in states)


def test_a_one_shot_trial_of_the_search_is_no_alpha_schedule() -> None:
    found = answered(make_trials(ONE_SHOT, {"accuracy": 0.99, "family": "one_shot"}, {"accuracy": 0.5}))
    assert found.headline.startswith("One-shot pruning, a control, beats the best trial with alpha (2,")


accuracies = st.floats(0, 1)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(accuracies, st.sampled_from([0.5, 0.75, 0.9])), min_size=1, max_size=4),
    st.lists(st.tuples(accuracies, st.sampled_from([0.5, 0.75, 0.9])), min_size=1, max_size=4),
    st.lists(accuracies, max_size=3),
    st.integers(1, 10_000),
)
def test_words_agree_with_the_numbers(ours: Any, theirs: Any, repeats: Any, images: int) -> None:
    trials = [{"accuracy": accuracy, "cut": cut, "repeats": repeats} for accuracy, cut in ours]
    trials += [{"accuracy": a, "cut": cut, "control": "one_shot", "repeats": repeats[::-1]} for a, cut in theirs]
    found = answered(make_trials(*trials), data=replace(DATA, validation_images=images))
    for text in (found.headline, *found.findings):
        assert "nan" not in text
    texts = found.findings if len(found.findings) > 1 else (f"{found.headline} {' '.join(found.findings)}",)
    for text in texts:
        numbers = re.search(r"with alpha ([0-9.]+) %.*of the control ([0-9.]+) %", text)
        if numbers is None:
            continue
        alpha, control = map(float, numbers.groups())
        if "beats the best control" in text or "is ahead of the best control" in text:
            assert alpha >= control
        if "a control, beats" in text or "a control, is ahead" in text or "points below" in text:
            assert alpha <= control
        if "points above" in text:
            assert alpha >= control
        if "as accurate as" in text:
            assert abs(alpha - control) <= 0.06
        size = re.search(r"([0-9.]+) ± ([0-9.]+) points", text)
        if size is not None:
            difference, margin = map(float, size.groups())
            assert difference == pytest.approx(abs(alpha - control), abs=0.07)
            assert difference <= margin + 0.1 if "within noise" in text else difference >= margin - 0.1


def test_nothing_is_said_of_a_trial_without_a_cut() -> None:
    found = answered(make_trials({"accuracy": 0.9, "cut": math.nan}))
    assert found.findings[0].startswith("The best trial with alpha (0, exponential) reaches 90.00 %")
    assert "MACs" not in found.findings[0]

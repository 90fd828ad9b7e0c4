import math
import re
import statistics
from dataclasses import replace
from typing import Any

import pytest
from experiments import DATA, DENSE, make_trials
from golden import assert_golden
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.rank.intervals import LEAST_SPREAD, mean_margin
from analysis.rank.ranking import rank
from analysis.report.answer import ReportAnswer, find_answer
from records.dense import DenseRecord
from records.experiment import DataRecord

ONE_SHOT = {"control": "one_shot", "accuracy": 0.9}


def answered(
    *trials: dict[str, Any], dense: DenseRecord | None = DENSE, dense_measure: Any = None, data: DataRecord = DATA
) -> ReportAnswer:
    made = make_trials(*trials)
    return find_answer(made, rank(made), data, dense, dense_measure or {}, "alphaprune confirm demo")


def at_cut(control: float, alpha: float, cut: float, alpha_cut: float | None = None) -> tuple[dict[str, Any], ...]:
    """A control and a trial with alpha of these accuracies, tested, so that one run each can say something."""
    trials = ({"control": "one_shot", "accuracy": control, "cut": cut}, {"accuracy": alpha, "cut": alpha_cut or cut})
    return tuple(trial | {"test_accuracy": trial["accuracy"]} for trial in trials)


# The best of ten equally good trials is often above an interval that is made for one.
MANY = [{"accuracy": accuracy} for accuracy in (0.95, *(0.9 - 0.01 * index for index in range(9)))]
ANSWERS: dict[str, list[dict[str, Any]]] = {
    "alpha is better over seeds": [
        ONE_SHOT | {"repeats": [0.902, 0.9, 0.901]},
        {"accuracy": 0.95, "repeats": [0.911, 0.912, 0.91]},
    ],
    "a control is better": [
        {"control": "from_scratch", "accuracy": 0.95},
        {"accuracy": 0.9, "alpha.family": "time_based", "alpha.rate": 2.0},
    ],
    "within noise": [ONE_SHOT, {"accuracy": 0.905}, {"accuracy": 0.904}],
    "no difference": [ONE_SHOT, {"accuracy": 0.9}],
    "as accurate while cutting more": [
        *at_cut(0.9930, 0.9930, 0.75, 0.933),
        {"accuracy": 0.98, "test_accuracy": 0.98, "cut": 0.75},
        {"control": "one_shot", "accuracy": 0.97, "test_accuracy": 0.97, "cut": 0.9},
    ],
    "the best of many single runs": [ONE_SHOT, *MANY],
    "a control before the best of many single runs": [ONE_SHOT | {"accuracy": 0.99}, *MANY],
    "better at one cut, worse at another": [*at_cut(0.8, 0.95, 0.5), *at_cut(0.7, 0.6, 0.9)],
    "worse at both": [*at_cut(0.7, 0.6, 0.9), *at_cut(0.3, 0.2, 0.95)],
    "better at both": [*at_cut(0.8, 0.95, 0.5), *at_cut(0.4, 0.5, 0.9)],
    "level at one cut, worse at another": [*at_cut(0.75, 0.751, 0.75), *at_cut(0.7, 0.6, 0.9)],
    "level at both": [*at_cut(0.75, 0.751, 0.75), *at_cut(0.6, 0.599, 0.9)],
    "repeated and not": [
        ONE_SHOT | {"repeats": [0.9, 0.901, 0.902]},
        {"control": "one_shot", "accuracy": 0.8, "cut": 0.9, "repeats": [0.8, 0.801, 0.802]},
        {"accuracy": 0.7, "cut": 0.9, "repeats": [0.7, 0.701, 0.702]},
        *MANY,
    ],
    "what has no comparable control": [
        ONE_SHOT,
        {"accuracy": 0.91},
        {"accuracy": 0.95, "cut": 0.5},
        {"accuracy": 0.94, "cut": 0.6},
    ],
    "controls that nothing compares with": [ONE_SHOT, {"accuracy": 0.91}, ONE_SHOT | {"cut": 0.95}],
    "nothing comparable": [ONE_SHOT, {"accuracy": 0.95, "cut": 0.5}],
    "no controls": [{"accuracy": 0.92}, {"accuracy": 0.91}],
    "only controls": [ONE_SHOT],
    "a single trial": [{"accuracy": 0.92}],
    "twins": [
        ONE_SHOT | {"repeats": [0.9, 0.901, 0.902]},
        {
            "accuracy": 0.95,
            "repeats": [0.911, 0.912, 0.91],
            "twins": {"compute": [0.907, 0.909, 0.907], "epochs": [0.899, 0.903, 0.898]},
        },
    ],
    "twins at two cuts": [
        ONE_SHOT | {"repeats": [0.9, 0.901, 0.902]},
        {"accuracy": 0.95, "repeats": [0.911, 0.912, 0.91], "twins": {"compute": [0.92, 0.922, 0.92]}},
        ONE_SHOT | {"accuracy": 0.8, "cut": 0.9},
        {
            "accuracy": 0.84,
            "cut": 0.9,
            "repeats": [0.841, 0.839, 0.835],
            "twins": {"compute": [0.838, 0.835, 0.841], "epochs": [0.82, 0.819, 0.815]},
        },
        ONE_SHOT | {"accuracy": 0.7, "cut": 0.95},
    ],
    "twins within noise": [
        {"accuracy": 0.9 - cut / 10, "cut": cut, "repeats": [0.9, 0.91], "twins": {"compute": [0.91, 0.9]}}
        for cut in (0.75, 0.9)
    ],
    "a single pair": [ONE_SHOT, {"accuracy": 0.95, "repeats": [0.911], "twins": {"compute": [0.92]}}],
    "a running trial": [ONE_SHOT, {"accuracy": 0.95}, {"state": "running"}],
    "no trial": [],
}


def text_of(answer: ReportAnswer) -> str:
    search = f"\nThe search:{text_of(answer.search)}" if answer.search else ""
    return "\n".join(["", answer.headline, *(f"- {finding}" for finding in answer.findings), answer.trust]) + search


def test_answers_read_as_they_should() -> None:
    assert_golden("answers.txt", "\n\n".join(f"{name}{text_of(answered(*ANSWERS[name]))}" for name in ANSWERS))


def outcomes(name: str) -> list[str]:
    return [one.outcome for one in answered(*ANSWERS[name]).comparisons]


def test_a_control_that_is_better_comes_first() -> None:
    assert outcomes("a control is better") == ["worse"]
    assert outcomes("better at one cut, worse at another") == ["worse", "better"]
    assert outcomes("level at one cut, worse at another") == ["worse", "noise"]
    assert answered(*ANSWERS["a control is better"]).headline.startswith("A control beats alpha")


def test_noise_is_no_success() -> None:
    for name in ("within noise", "no difference", "level at both"):
        assert set(outcomes(name)) == {"noise"}
        headline = answered(*ANSWERS[name]).headline
        assert "level" in headline
        assert "beats" not in headline
    found = answered(ONE_SHOT, {"accuracy": 0.95}, data=replace(DATA, validation_images=0))
    assert [one.outcome for one in found.comparisons] == ["unknown"]
    assert "unclear" in found.headline
    assert "±" not in found.headline + found.trust


def test_as_accurate_while_cutting_more_is_said_so() -> None:
    found = answered(*ANSWERS["as accurate while cutting more"])
    assert [one.cuts_more for one in found.comparisons if one.outcome == "noise"] == [True]
    assert "as accurate as the best control at 75% fewer MACs while cutting 93.3%" in found.headline


def test_a_small_but_sure_difference_has_digits_enough() -> None:
    repeats = [0.9, 0.90001, 0.90002]
    found = answered(ONE_SHOT | {"repeats": repeats}, {"accuracy": 0.9, "repeats": [r + 4e-4 for r in repeats]})
    assert "0.04 ± 0.00 points" in found.headline


def test_the_test_set_is_named_where_it_decides() -> None:
    trials = (ONE_SHOT | {"test_accuracy": 0.88}, {"accuracy": 0.95, "test_accuracy": 0.93})
    found = answered(*trials, dense_measure={"test_accuracy": 0.935})
    assert found.comparisons[0].on == "test"
    for text in ("Test accuracy 93.00%", "88.00%", "93.50%"):
        assert text in found.findings[0]
    assert "10,000 test images" in found.trust


def test_a_trial_that_won_among_several_by_validation_is_not_trusted_for_it() -> None:
    trials = [ONE_SHOT, {"accuracy": 0.95}, {"accuracy": 0.94, "state": "stopped"}]
    found = answered(*trials)
    assert found.comparisons[0].tentative
    assert "not yet confirmed over seeds" in found.headline
    assert "looks better than it is" in found.trust
    tested = answered(*({**trial, "test_accuracy": 0.9} for trial in trials))
    assert not tested.comparisons[0].tentative
    assert "test images played no part" in tested.trust
    assert "picked from" not in answered(*trials[:2]).trust


def test_how_many_seeds_are_behind_each_side() -> None:
    def over(ours: list[float], theirs: list[float], **more: Any) -> str:
        return answered({"accuracy": 0.95, "repeats": ours} | more, ONE_SHOT | {"repeats": theirs} | more).headline

    two, three = [0.95, 0.951], [0.9, 0.902, 0.901]
    assert ", over 2 and 3 seeds" in over(two, three)
    assert ", one run each" in over([], [])
    assert ", one run each" in over([0.95], [])
    assert ", over 1 and 3 seeds" in over([0.95], three)
    assert ", over 2 seeds each" in over(three, three, test_repeats=[0.9, math.nan, 0.91])


def test_cuts_that_differ_are_named() -> None:
    for alpha, numbers in (
        (0.755, "95.00% at 75.5% fewer MACs with alpha, 90.00% at 75% fewer MACs for the control"),
        (0.751, "95.00% with alpha, 90.00% for the control,"),
        (0.9, "95.00% at 90% fewer MACs with alpha, 90.00% at 75% fewer MACs for the control"),
    ):
        assert numbers in answered(ONE_SHOT, {"accuracy": 0.95, "cut": alpha}).findings[0]


def test_what_has_no_comparable_control_is_said() -> None:
    assert "2 trials with alpha at 50% to 60%" in answered(*ANSWERS["what has no comparable control"]).findings[1]
    assert "at 95% fewer MACs" in answered(*ANSWERS["controls that nothing compares with"]).findings[1]
    for name in ("nothing comparable", "no controls", "only controls", "a single trial"):
        found = answered(*ANSWERS[name])
        assert found.comparisons == ()
        assert found.headline.startswith("Whether alpha helps is not known")
        assert len(found.findings) == (1 if name == "only controls" else 2)
    assert "dense network has" not in answered(ONE_SHOT, dense=None).findings[0]


def test_of_one_shot_trials_alone_no_accuracy_is_said_to_be_lost() -> None:
    found = answered({"accuracy": 0.9, "alpha.family": "one_shot"})
    assert found.headline == "Whether alpha helps is not known: all complete trials cut at once, without alpha."


@pytest.mark.parametrize(
    ("states", "headline"),
    [
        ([], "There is no answer yet: no trial has been started."),
        (["failed"], "There is no answer: the only trial failed."),
        (["failed"] * 1200, "There is no answer: all 1,200 trials failed."),
        (["running", "failed"], "There is no answer yet: no trial is complete (1 is still running and 1 failed)."),
        (["stopped"], "There is no answer yet: no trial is complete (1 was stopped early)."),
        (["complete", "running"], "There is no answer: the accuracies of the complete trials are lost."),
    ],
)
def test_without_an_outcome(states: list[str], headline: str) -> None:
    found = answered(*({"state": state} for state in states))
    assert found.headline == headline
    assert found.findings == ()
    assert "no results to judge yet" in found.trust
    assert ("1 trial has not finished" in found.trust) == ("running" in states)


def test_a_one_shot_trial_of_the_search_is_no_alpha_schedule() -> None:
    found = answered(ONE_SHOT, {"accuracy": 0.99, "alpha.family": "one_shot"}, {"accuracy": 0.5})
    assert (found.comparisons[0].outcome, found.comparisons[0].alpha.number) == ("worse", 2)


accuracies = st.floats(0, 1)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(accuracies, st.sampled_from([0.5, 0.75, 0.9])), min_size=1, max_size=4),
    st.lists(st.tuples(accuracies, st.sampled_from([0.5, 0.75, 0.9])), min_size=1, max_size=4),
    st.lists(accuracies, max_size=3),
    st.integers(1, 10_000),
)
def test_words_agree_with_the_numbers(ours: Any, theirs: Any, repeats: Any, images: int) -> None:
    trials = [{"accuracy": accuracy, "cut": cut, "repeats": repeats} for accuracy, cut in ours]
    trials += [{"accuracy": a, "cut": cut, "control": "one_shot", "repeats": repeats[::-1]} for a, cut in theirs]
    found = answered(*trials, data=replace(DATA, validation_images=images))
    for text in (found.headline, *found.findings):
        assert "nan" not in text
    texts = found.findings if len(found.comparisons) > 1 else (f"{found.headline} {' '.join(found.findings)}",)
    for text in texts[: len(found.comparisons)]:
        [(alpha, control)] = re.findall(r"accuracy ([0-9.]+)%.* with alpha, ([0-9.]+)%.* for the control", text)
        alpha, control = float(alpha), float(control)
        if "above the best trial with alpha" in text:
            assert alpha <= control
        elif "above" in text:
            assert alpha >= control
        if "below" in text:
            assert alpha <= control
        size = re.search(r"([0-9.]+) ± ([0-9.]+) points", text)
        if size is None:
            assert abs(alpha - control) <= 0.06
            continue
        difference, margin = map(float, size.groups())
        assert difference == pytest.approx(abs(alpha - control), abs=0.07)
        assert difference <= margin + 0.1 if "within noise" in text else difference >= margin - 0.1


def test_twins_decide_what_alpha_does_and_the_controls_what_the_search_does() -> None:
    found = answered(*ANSWERS["twins"])
    assert found.headline == (
        "At 75% fewer MACs, fading gains 0.3 ± 0.1 points over the same trial without a fade at equal compute "
        "(3 seeds); at equal epochs it gains 1.1 ± 0.4 points."
    )
    assert found.comparisons == ()
    assert found.search is not None
    assert [one.outcome for one in found.search.comparisons] == ["better"]
    assert found.search.headline.startswith("The search beats the controls")
    assert "confirm" not in " ".join(found.findings)
    assert answered(*ANSWERS["twins within noise"]).search is None
    for name in ("within noise", "no controls", "a single trial"):
        assert "Only twins" in answered(*ANSWERS[name]).findings[-1]
    assert "Only twins" not in " ".join(answered(*ANSWERS["only controls"]).findings)


def test_a_loss_to_twins_comes_first_and_noise_is_called_noise() -> None:
    found = answered(*ANSWERS["twins at two cuts"])
    assert found.headline.startswith(
        "At equal compute, fading costs accuracy at 75% fewer MACs; the difference is within"
    )
    assert "gains 0.0 ± 1.4 points" in found.findings[1]
    assert ": within noise; at equal epochs it gains 2.0 ± 0.1 points." in found.findings[1]
    assert found.findings[2] == "No trial at 95% fewer MACs has been compared with its twins."
    one = answered(*ANSWERS["a single pair"])
    assert "±" not in one.headline + one.trust
    assert "how much of it is noise is unknown" in one.headline


def test_of_several_trials_the_best_by_its_own_run_is_judged_by_its_pairs() -> None:
    lucky = {"accuracy": 0.9, "repeats": [0.93, 0.94], "twins": {"compute": [0.9, 0.91]}}
    found = answered(lucky, {"accuracy": 0.91, "repeats": [0.9, 0.91], "twins": {"compute": [0.9, 0.92]}})
    assert found.findings[0].startswith("Trial 1 exponential: ")
    assert "the choice does not flatter it" in found.trust


pairs_of = st.lists(st.tuples(accuracies, accuracies), min_size=1, max_size=5)


@settings(max_examples=50)
@given(pairs_of, pairs_of)
def test_words_on_fading_agree_with_the_interval(compute: Any, epochs: Any) -> None:
    seeds = max(len(compute), len(epochs))
    # The same repeats, so the longer list has them.
    repeats = [pair[0] for pair in (compute if len(compute) == seeds else epochs)]
    twins = {"compute": [pair[1] for pair in compute], "epochs": [pair[1] for pair in epochs]}
    trial = {"accuracy": 0.9, "repeats": repeats, "twins": twins}
    headline = answered(trial).headline
    for budget, text in zip(("compute", "epochs"), headline.rstrip(".").split("; at equal"), strict=True):
        differences = [ours - theirs for ours, theirs in zip(repeats, twins[budget], strict=False)]
        difference, margin = statistics.mean(differences), mean_margin(differences)
        assert ("gains" in text) == (difference >= 0)
        assert ("within noise" in text) == (abs(difference) < LEAST_SPREAD or abs(difference) <= margin)
        assert ("is unknown" in text) == (math.isnan(margin) and abs(difference) >= LEAST_SPREAD)
        assert ("±" in text) == (not math.isnan(margin))


def test_nothing_is_said_of_a_trial_without_a_cut() -> None:
    found = answered({"accuracy": 0.9, "cut": math.nan})
    assert "0 exponential" in found.findings[0]
    assert "MACs" not in found.findings[0]

from dataclasses import replace

import pytest
from experiments import ExperimentBuilder

from analysis import Experiment
from analysis.labels import SPELLINGS, format_label, label_record, label_trial, select_kinds, spell
from records.experiment import ExperimentFolder
from trainable.schedules.alpha import AlphaSchedule
from trainable.schedules.lr_policies import LRPolicy


def words_of(union: object, field: str) -> set[str]:
    """The words that a tagged union of configurations tells its members by."""
    return {getattr(member, field) for member in union.__args__[0].__args__}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("fields", "label"),
    [
        ({"family": "polynomial", "rate": 3.6234}, "15 polynomial 3.62"),
        ({"family": "cosine"}, "15 cosine"),
        ({"family": "one_shot", "control": "one_shot"}, "15 one-shot (control)"),
        ({"family": "one_shot", "control": "from_scratch"}, "15 training from scratch (control)"),
        ({"family": "time_based", "rate": 2.0, "parent": 4}, "15 time-based 2 (branch of 4)"),
        ({"family": "time_based", "rate": 2.0, "confirms": 4}, "15 time-based 2 (repeat of 4)"),
        ({"control": "random_channels", "confirms": 4}, "15 random channels (control, repeat of 4)"),
        ({}, "15 schedule unknown"),
        ({"control": "mine\n\x1b[2J"}, "15 mine \ufffd[2J (control)"),
    ],
)
def test_a_label_says_what_a_trial_is(fields: dict[str, object], label: str) -> None:
    assert format_label(15, **fields) == label  # type: ignore[arg-type]


def test_a_row_and_its_record_have_the_same_label(full: Experiment) -> None:
    folder = ExperimentFolder(full.path)
    for number in full.trials.index:
        assert label_trial(full.trials, number).text == label_record(folder.trial_folder(number).read_record())


def test_a_ranking_has_the_labels_of_the_trials(full: Experiment) -> None:
    assert label_trial(full.ranked, 53) == label_trial(full.trials, 53)


def test_every_word_of_several_has_a_spelling_of_its_own() -> None:
    words = words_of(AlphaSchedule, "family") | words_of(LRPolicy, "policy")
    assert {word for word in words if "_" in word} <= set(SPELLINGS)
    assert len({spell(word) for word in words}) == len(words)


def test_kinds_tell_what_the_study_asked_for(full: Experiment) -> None:
    assert select_kinds(full.trials, "searched").index.tolist() == [*range(6, 43), 52]
    assert select_kinds(full.trials, "control", "branch").index.tolist() == [*range(6), 53, 54]


def test_a_record_of_a_foreign_configuration_has_a_label_too(builder: ExperimentBuilder) -> None:
    record = builder.add_trial(0).read_record()
    for config in ({}, {"alpha": 3}, {"alpha": {"family": 3, "rate": "fast"}}):
        assert label_record(replace(record, config=config)) == "0 schedule unknown"

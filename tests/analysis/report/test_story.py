from dataclasses import asdict, replace

import pytest
from experiments import ExperimentBuilder

from analysis import Experiment
from analysis.report.story import tell_seeds, tell_standing, tell_story, tell_subject
from records.driver import FILE_NAME, DriverRecord
from records.files import write_json
from records.trial import State
from trainable.config import trial_config


def test_what_was_searched(rich: Experiment) -> None:
    text = tell_story(rich)
    for fact in (
        "CIFAR-10 (10 classes), 45,000 images to train on, 5,000 images held out",
        "10,000 images kept aside",
        "15 million parameters, 314 million MACs per image",
        "60 epochs to a validation accuracy of 94.00%",
        "75% or 90% of its multiply-accumulate operations (MACs)",
        "over 12 epochs in all",
        "34 trials with 6 alpha schedules (cosine, exponential, multiplicative, one-shot, polynomial, time-based)",
        "4 learning-rate policies (cosine, cosine restarts, one-cycle, plateau)",
        "6 controls, 12 repeats with other seeds and 12 twins without a fade",
        "2 January 2026, 03:04 to 03:49 UTC on the CPU of 2 machines",
    ):
        assert fact in text
    assert tell_standing(rich) == "1 trial failed."


def test_the_subject_is_one_line(rich: Experiment, untrained: ExperimentBuilder) -> None:
    assert tell_subject(rich) == "VGG16 on CIFAR-10 · 64 trials · 2 January 2026"
    untrained.change_settings({"dense": {"width": 0.25}})
    assert tell_subject(untrained.load()) == "VGG16 at 25% width on CIFAR-10 · 0 trials"


def test_one_seed_is_said_once_and_only_where_it_is_so(rich: Experiment, untrained: ExperimentBuilder) -> None:
    assert tell_seeds(rich) == ""
    assert tell_seeds(untrained.load()) == ""
    trial = untrained.add_searched(0.9)
    assert tell_seeds(untrained.load()).startswith("One seed: ")
    assert "`alphaprune confirm demo" in tell_seeds(untrained.load())
    untrained.add_repeat(trial, 1, 0.9)
    assert tell_seeds(untrained.load()) == ""


def test_of_channels(untrained: ExperimentBuilder) -> None:
    config = trial_config(untrained.add_searched(0.9).read_record().config)
    untrained.add_config(replace(config, pruning=replace(config.pruning, of="channels")), 0.9)
    assert "marks channels that hold 75% of its channels and multiply-accumulate" in tell_story(untrained.load())


def test_how_much_a_control_cuts_is_no_trials_business(untrained: ExperimentBuilder) -> None:
    untrained.add_control("one_shot", 0.9, 0.97)
    assert "marks channels" not in tell_story(untrained.load())
    untrained.add_searched(0.9)
    assert "marks channels that hold 75% of its multiply" in tell_story(untrained.load())


def test_nothing_has_begun(untrained: ExperimentBuilder) -> None:
    text = tell_story(untrained.load())
    assert "has not been trained yet" in text
    assert text.endswith("No trial has been started yet.")


@pytest.mark.parametrize(
    ("planned", "states", "text"),
    [
        (0, [], ""),
        (
            3,
            [],
            "This search has not finished: 3 of 3 planned trials have not started. What follows is what is known so "
            "far.",
        ),
        (2, ["complete", "complete"], ""),
        (1, ["complete", "complete"], ""),
        (2, ["complete", "failed"], "1 trial failed."),
        (
            3,
            ["running", "failed"],
            "This search has not finished: 1 trial has not finished, 1 of 3 planned trials has not started and 1 trial "
            "failed. What follows is what is known so far.",
        ),
    ],
)
def test_how_it_stands(untrained: ExperimentBuilder, planned: int, states: list[State], text: str) -> None:
    settings = untrained.folder.read_record().settings
    settings["search"]["trials"] = planned
    untrained.change_settings(settings)
    untrained.add_control("one_shot", 0.9)
    for state in states:
        untrained.add_searched(0.9, state=state)
    assert tell_standing(untrained.load()) == text


def test_a_search_that_has_ended_with_fewer_trials_has_finished(untrained: ExperimentBuilder) -> None:
    """The space had nothing new left, or records of trials cannot be read."""
    settings = untrained.folder.read_record().settings
    settings["search"]["trials"] = 4
    untrained.change_settings(settings)
    untrained.add_searched(0.9)
    assert "3 of 4 planned trials have not started" in tell_standing(untrained.load())
    driver = DriverRecord(
        host="n1", pid=7, user="me", command="resume", searched=True, ended="2026-01-02T03:04:05+00:00"
    )
    write_json(untrained.path / FILE_NAME, asdict(driver))
    assert tell_standing(untrained.load()) == ""


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ((), "CIFAR-10 (10 classes), 45,000"),
        (tuple("abcdefghij"), "CIFAR-10 (10 classes: a, b, c, d, e, f, g, h, i, j), 45,000"),
        (tuple("abcdefghijk"), "CIFAR-10 (10 classes: a, b, c, d, e, …), 45,000"),
        (("x" * 50, "y\n"), f"CIFAR-10 (10 classes: {'x' * 29}…, y"),
    ],
)
def test_classes_are_named_unless_there_are_many(
    untrained: ExperimentBuilder, names: tuple[str, ...], said: str
) -> None:
    record = untrained.folder.read_record()
    untrained.folder.write_record(replace(record, data=replace(record.data, class_names=names)))
    assert said in tell_story(untrained.load())


def test_data_out_of_a_folder_are_called_by_its_name(untrained: ExperimentBuilder) -> None:
    record = untrained.folder.read_record()
    data = replace(record.data, name="a/b/", classes=1, train_images=7, validation_images=0, test_images=1)
    untrained.folder.write_record(replace(record, data=data))
    text = tell_story(untrained.load())
    assert "The data: b (1 class), 7 images to train on and 1 image kept aside for the final test." in text

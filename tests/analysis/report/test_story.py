from dataclasses import replace

import pytest
from experiments import ExperimentBuilder

from analysis import Experiment
from analysis.report.story import standing, story
from records.trial import State
from trainable.config import trial_config


def test_what_was_searched(rich: Experiment) -> None:
    text = story(rich)
    for part in (
        "The data: CIFAR-10 (10 classes), 45,000 images to train on, 5,000 images held out to choose by and 10,000 "
        "images kept aside for the final test.",
        "(15 million parameters, 314 million MACs an image) was trained for 60 epochs to a validation accuracy of "
        "94.00 %.",
        "Each trial but the controls marks channels that hold 75 % or 90 % of its multiply-accumulate operations "
        "(MACs), fades",
        "over 12 epochs in all",
        "Tried: 34 trials of 5 alpha schedules (cosine, exponential, multiplicative, polynomial, time-based) and 4 "
        "learning-rate policies (cosine, cosine-restarts, one-cycle, plateau); besides",
        "; besides 6 controls and 12 repeats with other seeds.",
        "It ran from 2 January 2026, 03:04 to 03:39 UTC on the CPU of 2 machines.",
    ):
        assert part in text
    assert standing(rich) == "1 trial failed."


def test_of_channels(untrained: ExperimentBuilder) -> None:
    config = trial_config(untrained.add_searched(0.9).read().config)
    untrained.add_config(replace(config, pruning=replace(config.pruning, of="channels")), 0.9)
    assert "marks channels that hold 75 % of its channels and multiply-accumulate" in story(untrained.load())


def test_how_much_a_control_cuts_is_no_trials_business(untrained: ExperimentBuilder) -> None:
    untrained.add_control("one_shot", 0.9, 0.97)
    assert "controls mark" not in story(untrained.load())
    untrained.add_searched(0.9)
    assert "Each trial but the controls marks channels that hold 75 % of its multiply" in story(untrained.load())


def test_nothing_has_begun(untrained: ExperimentBuilder) -> None:
    text = story(untrained.load())
    assert "The dense network, which all trials start from, is not trained yet." in text
    assert text.endswith("No trial has been started yet.")


@pytest.mark.parametrize(
    ("planned", "states", "text"),
    [
        (0, [], ""),
        (
            3,
            [],
            "This search has not ended: 3 of 3 planned trials have not begun. What follows is what is known so far.",
        ),
        (2, ["complete", "complete"], ""),
        (1, ["complete", "complete"], ""),
        (2, ["complete", "failed"], "1 trial failed."),
        (
            3,
            ["running", "failed"],
            "This search has not ended: 1 trial has not ended, 1 of 3 planned trials has not begun and 1 trial failed. "
            "What follows is what is known so far.",
        ),
    ],
)
def test_how_it_stands(untrained: ExperimentBuilder, planned: int, states: list[State], text: str) -> None:
    settings = untrained.folder.read().settings
    settings["search"]["trials"] = planned
    untrained.change_settings(settings)
    untrained.add_control("one_shot", 0.9)
    for state in states:
        untrained.add_searched(0.9, state=state)
    assert standing(untrained.load()) == text


def test_data_out_of_a_folder_are_called_by_its_name(untrained: ExperimentBuilder) -> None:
    record = untrained.folder.read()
    data = replace(record.data, name="a/b/", classes=1, train_images=7, validation_images=0, test_images=1)
    untrained.folder.write(replace(record, data=data))
    text = story(untrained.load())
    assert "The data: b (1 class), 7 images to train on and 1 image kept aside for the final test." in text

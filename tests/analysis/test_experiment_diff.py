import math
from dataclasses import replace

import pandas as pd
import pytest
from experiments import DATA, ExperimentBuilder
from golden import assert_golden

import analysis
from analysis.experiment_diff import ExperimentDiff, diff
from trainable.schedules import Cosine, CosineAnnealing, Exponential

Two = tuple[ExperimentBuilder, ExperimentBuilder]


@pytest.fixture
def two(builder: ExperimentBuilder, other: ExperimentBuilder) -> Two:
    """Two experiments that are alike but for a few settings and a version, the second named `other`."""
    settings = {"trial": {"epochs": 3, "lr": {"policy": "cosine"}}, "controls": {"amounts": [0.5, 0.75]}}
    others = {"trial": {"epochs": 9, "lr": {"policy": "cosine", "peak": 0.1}}, "controls": {"amounts": [0.5]}}
    for each, values, torch in ((builder, settings, "2.15.0"), (other, others, "2.16.0")):
        versions = {"torch": torch, "optuna": "5.0.0"}
        each.folder.write_record(replace(each.folder.read_record(), settings=values, versions=versions))
    return builder, other


def found(two: Two) -> ExperimentDiff:
    return diff(*(each.load() for each in two))


def test_settings_and_versions_that_differ_by_their_paths(two: Two) -> None:
    difference = found(two)
    assert difference.names == ("demo", "other")
    assert difference.settings.columns.tolist() == ["demo", "other"]
    assert {path: tuple(row) for path, row in difference.settings.iterrows()} == {
        "controls.amounts": ([0.5, 0.75], [0.5]),
        "trial.epochs": (3, 9),
        "trial.lr.peak": (None, 0.1),
    }
    assert {path: tuple(row) for path, row in difference.versions.iterrows()} == {
        "versions.torch": ("2.15.0", "2.16.0")
    }


def test_the_front_says_which_trial_is_whose(two: Two) -> None:
    ours, theirs = two
    ours.add_trial(0, accuracies=(0.1, 0.2, 0.9), mac_sparsity=0.5)
    ours.add_trial(1, accuracies=(0.1, 0.2, 0.6), mac_sparsity=0.75)
    theirs.add_trial(0, accuracies=(0.1, 0.2, 0.8), mac_sparsity=0.75)
    theirs.add_trial(3, accuracies=(0.1, 0.2, 0.7), mac_sparsity=0.5)
    difference = found(two)
    assert difference.front[["experiment", "number"]].to_numpy().tolist() == [["demo", 0], ["other", 0]]
    assert difference.front["pruned_val_accuracy"].tolist() == [0.9, 0.8]
    assert difference.best[["experiment", "number"]].to_numpy().tolist() == [["demo", 0], ["other", 0]]
    assert difference.hypervolume == pytest.approx({"demo": 0.9 * 0.5 + 0.6 * 0.25, "other": 0.8 * 0.75})


def test_the_same_trials_are_paired_apart_from_what_was_set_differently(two: Two) -> None:
    ours, theirs = two
    for control, accuracies in (("one_shot", (0.9, 0.92)), ("from_scratch", (0.7, 0.76))):
        number = len(ours.load().trials)
        for each, accuracy in zip(two, accuracies, strict=True):
            each.add_trial(number, control=control, accuracies=(0.1, 0.2, accuracy))
    ours.add_trial(2, alpha=Cosine())
    theirs.add_trial(2, alpha=Exponential(rate=5))
    theirs.add_trial(3, alpha=Cosine(), lr=CosineAnnealing(peak=0.1))  # the setting that differs
    pairs = found(two).pairs
    assert pairs["trial"].tolist() == ["0 one-shot (control)", "1 training from scratch (control)", "2 cosine"]
    assert pairs["number in other"].tolist() == [0, 1, 3]
    assert pairs["difference"].tolist() == pytest.approx([0.02, 0.06, 0.0])
    assert "mean difference: +2.67 points over 3 pairs, 95% interval ± 7.59" in repr(found(two))


def test_other_seeds_are_no_pair(two: Two) -> None:
    ours, theirs = two
    ours.add_trial(0)
    theirs.base = replace(theirs.base, seed=1)
    theirs.add_trial(0)
    assert found(two).pairs.empty


def test_hypervolumes_share_the_larger_dense_network_as_reference(two: Two) -> None:
    ours, theirs = two
    ours.add_trial(0, accuracies=(0.1, 0.2, 0.9), mac_sparsity=0.5)
    theirs.write_dense(macs=2000)
    theirs.add_trial(0, accuracies=(0.1, 0.2, 0.8), mac_sparsity=0.75)
    assert found(two).hypervolume == pytest.approx({"demo": 0.9 * 0.75, "other": 0.8 * 0.75})


def test_a_confirmed_trial_counts_by_its_mean(two: Two) -> None:
    ours, theirs = two
    ours.add_trial(0, accuracies=(0.1, 0.2, 0.9))
    ours.add_trial(1, accuracies=(0.1, 0.2, 0.5), confirms=0)
    ours.add_trial(2, accuracies=(0.1, 0.2, 0.6), confirms=0)
    theirs.add_trial(0, accuracies=(0.1, 0.2, 0.7))
    difference = found(two)
    assert difference.front["experiment"].tolist() == ["other"]
    assert "(control)" not in repr(difference)
    assert "55.00 ± 7.07" in repr(difference)


def test_printed_it_is_a_text_for_people(two: Two) -> None:
    ours, theirs = two
    ours.add_trial(0, control="one_shot", accuracies=(0.1, 0.2, 0.9))
    theirs.add_trial(12)
    text = str(found(two))
    lines = [line.split() for line in text.splitlines()]
    assert ["trial.epochs", "3", "9"] in lines
    assert ["trial.lr.peak", "-", "0.1"] in lines
    assert ["versions.torch", '"2.15.0"', '"2.16.0"'] in lines
    assert ["demo", "0", "one-shot", "(control)", "cosine", "90.00", "75.0", "one"] in lines
    assert ["other", "12", "exponential", "3", "cosine", "90.00", "75.0", "one"] in lines
    assert ["0.6750", "0.6750"] in lines
    assert "cannot be compared" not in text
    assert max(map(len, text.splitlines())) <= 100
    assert_golden("diff.txt", text)


def test_accuracies_on_other_data_do_not_compare(two: Two) -> None:
    ours, _ = two
    ours.folder.write_record(replace(ours.folder.read_record(), data=replace(DATA, name="digits", fingerprint="07")))
    assert "The data differ, so the accuracies cannot be compared." in repr(found(two))


def test_the_same_data_in_another_place_are_the_same(two: Two) -> None:
    ours, _ = two
    ours.folder.write_record(replace(ours.folder.read_record(), data=replace(DATA, name="/elsewhere/cifar10")))
    text = repr(found(two))
    assert "/elsewhere/cifar10" in text
    assert "cannot be compared" not in text


def test_an_experiment_does_not_differ_from_itself(builder: ExperimentBuilder) -> None:
    builder.add_trial(0)
    experiment = analysis.load(builder.path)
    difference = diff(experiment, experiment)
    assert difference.names == ("demo (1)", "demo (2)")
    assert difference.settings.empty
    assert difference.versions.empty
    assert set(difference.hypervolume) == {"demo (1)", "demo (2)"}
    assert difference.front["experiment"].tolist() == ["demo (1)", "demo (2)"]


def test_nothing_complete_is_said_in_words(two: Two) -> None:
    difference = found(two)
    assert difference.front.empty
    assert difference.best.empty
    assert all(math.isnan(value) for value in difference.hypervolume.values())
    assert repr(difference).count("no trial is complete") == 2
    ours, _ = two
    ours.add_trial(0)
    assert found(two).hypervolume == pytest.approx({"demo": 0.675, "other": 0.0})


def test_records_cannot_steer_the_terminal(two: Two) -> None:
    ours, _ = two
    settings = {"a\x1b[2J\nb": "\x1b]0;title\x07", "long": "x" * 500}
    ours.folder.write_record(replace(ours.folder.read_record(), name="de\x1bmo", settings=settings))
    ours.add_trial(0, control="\x1b[31m")
    text = repr(found(two))
    assert "\x1b" not in text
    assert "a�[2J b" in text
    assert max(map(len, text.splitlines())) <= 120


def test_frames_are_ordinary_ones(two: Two) -> None:
    assert isinstance(found(two).settings.to_html(), str)
    assert found(two).settings.index.dtype == pd.Index(["a"]).dtype

import math
from dataclasses import fields

import pandas as pd
import pytest

from analysis import Experiment
from analysis.columns import (
    COLUMNS,
    EPOCH_COLUMNS,
    MEASUREMENT_COLUMNS,
    RANKING_COLUMNS,
    TRIAL_COLUMNS,
    number_of,
    row_of,
)
from analysis.objectives import DEFAULT_OBJECTIVES, OBJECTIVES
from records.epoch import EpochRow

FIELDS = {"number": "the trial"} | {field.name: field.name for field in fields(EpochRow)}


def test_the_frames_have_the_columns_of_the_table_in_its_order(full: Experiment) -> None:
    trials = full.trials.reset_index()
    assert trials.columns[: len(TRIAL_COLUMNS)].tolist() == list(TRIAL_COLUMNS)
    # A field that a row gains is in the frame at once; the table may have its label later.
    assert full.epochs.reset_index().columns.tolist() == list(FIELDS)
    assert [name for name in FIELDS if name in EPOCH_COLUMNS] == list(EPOCH_COLUMNS)
    ranked = full.ranked.columns
    added = [name for name in RANKING_COLUMNS if name != "score"]
    assert ranked[: len(added)].tolist() == added


def test_the_kind_of_a_column_is_that_of_the_frame(full: Experiment) -> None:
    kinds = {"whole": "i", "number": "f", "fraction": "f", "points": "f", "text": "OT", "time": "M", "flag": "b"}
    for frame in (full.trials.reset_index(), full.epochs.reset_index(), full.ranked):
        for name in set(COLUMNS) & set(frame.columns):
            is_text = pd.api.types.is_string_dtype(frame[name])
            assert ("T" if is_text else frame[name].dtype.kind) in kinds[COLUMNS[name].kind], name


def test_fractions_are_fractions(full: Experiment) -> None:
    for name in [name for name, column in TRIAL_COLUMNS.items() if column.kind == "fraction"]:
        assert full.trials[name].dropna().between(0, 1).all()


def test_every_column_says_what_it_is() -> None:
    assert all(column.help or column.label for column in COLUMNS.values())
    assert all(column.label for column in MEASUREMENT_COLUMNS.values() if column.better)


@pytest.mark.parametrize(
    ("name", "title", "value", "text"),
    [
        ("peak_memory_bytes", "peak memory on the test set, MB", 12_340_000.0, "12.34"),
        ("batch1_latency_ms", "latency of a batch of 1, ms", 1234.5, "1,234.50"),
        ("mac_sparsity", "MACs cut, %", 0.75, "75.00"),
        ("accuracy_drop", "accuracy drop, points", -0.0123, "-1.23"),
        ("macs", "MACs", math.nan, "-"),
        ("lr.policy", "learning-rate policy", None, "-"),
    ],
)
def test_values_are_shown_in_the_units_of_people(name: str, title: str, value: object, text: str) -> None:
    assert COLUMNS[name].title == title
    assert COLUMNS[name].format_value(value) == text


def test_figures_of_speed_and_memory_are_a_devices() -> None:
    of_device = {name for name, column in COLUMNS.items() if column.of_device}
    assert of_device == set(MEASUREMENT_COLUMNS) - {"test_accuracy", "size_bytes", "measured_on", "measured"}


def test_objectives_are_columns_of_trials_and_of_epochs() -> None:
    assert set(DEFAULT_OBJECTIVES) <= set(OBJECTIVES) <= set(TRIAL_COLUMNS)
    assert {name: objective.direction for name, objective in OBJECTIVES.items()} == {
        "pruned_val_accuracy": "maximize",
        "macs": "minimize",
        "parameters": "minimize",
        "training_cost": "minimize",
    }
    for objective in OBJECTIVES.values():
        assert EPOCH_COLUMNS[objective.epoch_column].better == ("low" if objective.adds_up else "high")


def test_what_is_missing_or_of_another_kind_is_no_number() -> None:
    found = [number_of(values, "a") for values in ({"a": 1.5}, {"a": "1.5"}, {"a": None}, {"a": True}, {}, None, 7)]
    assert found == pytest.approx([1.5, *[math.nan] * 6], nan_ok=True)


def test_a_row_is_that_of_a_trial() -> None:
    frame = pd.DataFrame({"a": ["1.5", "x", None], "b": [1, "x", None]})
    assert row_of(frame, 1) == {"a": "x", "b": "x"}

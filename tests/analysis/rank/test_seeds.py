import math
import statistics
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.columns import PAIR_COLUMNS, SEED_COLUMNS
from analysis.rank.seeds import merge_repeats


def trials(*rows: tuple[float | None, float], **columns: Any) -> pd.DataFrame:
    """Complete trials: which one each repeats, and its accuracy."""
    frame = pd.DataFrame(rows, columns=["confirms", "pruned_val_accuracy"]).astype("float64")
    return frame.assign(state="complete", **columns).rename_axis("number")


def test_a_confirmed_trial_has_the_mean_of_its_repeats_and_not_of_itself() -> None:
    frame = trials((None, 0.9), (None, 0.5), (0, 0.6), (0, 0.7), (0, 0.8))
    frame["val_accuracy"] = [0.1, 0.2, 0.3, 0.3, 0.6]
    frame["accuracy_at_cut"] = [0.1, 0.2, 0.3, math.nan, 0.5]
    frame["accuracy_drop"] = [0.05, 0.2, 0.3, 0.2, 0.1]
    frame["test_accuracy"] = [0.88, 0.5, 0.6, 0.8, math.nan]
    frame["mac_sparsity"] = [0.75, 0.5, 0.1, 0.1, 0.1]
    found = merge_repeats(frame)
    assert found.index.tolist() == [0, 1]
    assert found.columns.tolist() == [*SEED_COLUMNS, *PAIR_COLUMNS, *frame.columns]
    assert found["seeds"].tolist() == [3, 0]
    assert found["test_seeds"].tolist() == [2, 0]
    expected = {
        "pruned_val_accuracy": 0.7,
        "val_accuracy": 0.4,
        "accuracy_at_cut": 0.4,
        "accuracy_drop": 0.2,
        "test_accuracy": 0.7,
        "accuracy_std": 0.1,
        "test_accuracy_std": statistics.stdev([0.6, 0.8]),
        "mac_sparsity": 0.75,
    }
    assert found.loc[0, list(expected)].to_dict() == pytest.approx(expected)
    pd.testing.assert_series_equal(found.loc[1, list(frame.columns)], frame.loc[1])
    assert found.loc[1, ["accuracy_std", "test_accuracy_std"]].isna().all()


def test_only_complete_repeats_with_an_outcome_count() -> None:
    frame = trials((None, 0.9), (0, 0.5), (0, 0.1), (0, 0.1), (0, 0.1), (0, math.nan))
    frame["state"] = ["complete", "complete", "running", "failed", "stopped", "complete"]
    found = merge_repeats(frame)
    assert found["seeds"].tolist() == [1]
    assert found["pruned_val_accuracy"].tolist() == [0.5]
    assert math.isnan(found["accuracy_std"].iloc[0])


def test_what_was_not_measured_on_the_repeats_is_not_the_trials_own() -> None:
    found = merge_repeats(trials((None, 0.9), (0, 0.5), test_accuracy=[0.9, math.nan]))
    assert math.isnan(found["test_accuracy"].iloc[0])
    assert (found["seeds"].iloc[0], found["test_seeds"].iloc[0]) == (1, 0)


def test_a_repeat_without_its_trial_is_no_row() -> None:
    frame = trials((None, 0.9), (0, 0.5), (7, 0.5))
    frame["state"] = ["failed", "complete", "complete"]
    assert merge_repeats(frame).empty


def test_without_the_column_nothing_is_a_repeat() -> None:
    found = merge_repeats(trials((None, 0.9), (None, 0.8)).drop(columns="confirms"))
    assert found["seeds"].tolist() == found["test_seeds"].tolist() == [0, 0]
    assert found["pruned_val_accuracy"].tolist() == [0.9, 0.8]
    assert found["test_accuracy_std"].isna().all()


def test_the_frame_is_left_as_it_was() -> None:
    frame = trials((None, 0.9), (0, 0.5))
    before = frame.copy()
    merge_repeats(frame)
    pd.testing.assert_frame_equal(frame, before)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1)), max_size=12))
def test_mean_and_deviation_are_those_of_the_statistics_module(repeats: list[tuple[int, float]]) -> None:
    found = merge_repeats(trials(*((None, 0.5) for _ in range(4)), *repeats))
    assert len(found) == 4
    for number in range(4):
        values = [value for trial, value in repeats if trial == number]
        row = found.loc[number]
        assert row["seeds"] == len(values)
        assert row["pruned_val_accuracy"] == pytest.approx(statistics.mean(values) if values else 0.5)
        spread = statistics.stdev(values) if len(values) > 1 else math.nan
        np.testing.assert_allclose(row["accuracy_std"], spread, atol=1e-9)

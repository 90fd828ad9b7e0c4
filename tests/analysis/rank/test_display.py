import math
from typing import Any

import pandas as pd
from experiments import DENSE, make_trials

from analysis import Experiment
from analysis.columns import COLUMNS
from analysis.rank.display import DisplayCell, RankingDisplay, display_ranking
from analysis.rank.ranking import rank


def cells(display: RankingDisplay, label: str) -> dict[str, DisplayCell]:
    """The cells of a row by their columns."""
    [row] = [row for row in display.rows if row.label == label]
    return {column.name: cell for column, cell in zip(display.columns, row.cells, strict=True)}


def displayed(*trials: dict[str, Any], dense_measure: Any = None) -> RankingDisplay:
    return display_ranking(rank(make_trials(*trials)), DENSE, dense_measure)


def test_rows_are_the_ranking_after_the_dense_network(full: Experiment) -> None:
    display = display_ranking(full.ranked, full.dense, full.dense_measure)
    dense, *rows = display.rows
    assert (dense.kind, dense.rank) == ("dense", 0)
    assert [row.rank for row in rows] == full.ranked["rank"].tolist()
    assert [row.on_front for row in rows] == full.ranked["on_front"].tolist()
    assert [row.seeds for row in rows] == full.ranked["seeds"].tolist()
    assert [row.kind == "control" for row in rows] == full.ranked["control"].notna().tolist()
    assert all(len(row.cells) == len(display.columns) for row in display.rows)


def test_each_column_is_of_another_importance() -> None:
    display = displayed({"accuracy": 0.9, "size_bytes": 1.0, "lr.policy": "cosine"})
    importances = [column.importance for column in display.columns]
    assert len(set(importances)) == len(importances)
    assert all(column.name in COLUMNS for column in display.columns)


def test_values_are_percentages_megabytes_and_plain_words() -> None:
    trial = {"accuracy": 0.9, "accuracy_drop": -0.01, "size_bytes": 2_350_000.0, "lr.policy": "one_cycle"}
    row = cells(displayed(trial), "0 exponential")
    names = ("mac_sparsity", "size_bytes", "pruned_val_accuracy", "accuracy_drop", "lr.policy")
    assert [row[name].value for name in names] == ["75.0", "2.35", "90.00", "-1.00", "one-cycle"]


def test_a_deviation_stands_beside_a_mean_only() -> None:
    repeats: list[list[float]] = [[0.9, 0.92], [], [0.7]]
    display = displayed(*({"accuracy": 0.8, "repeats": each} for each in repeats))
    spreads = [cells(display, f"{number} exponential")["pruned_val_accuracy"] for number in range(3)]
    assert spreads == [("91.00", "1.41"), ("80.00", ""), ("70.00", "")]


def test_a_gain_over_a_twin_has_its_sign_and_its_margin() -> None:
    display = displayed(
        {"accuracy": 0.9, "repeats": [0.92, 0.92], "twins": {"compute": [0.9, 0.91], "epochs": [0.93]}},
        {"accuracy": 0.8},
    )
    row, other = cells(display, "0 exponential"), cells(display, "1 exponential")
    assert row["twin_compute_difference"] == ("+1.50", "6.35")
    assert row["twin_epochs_difference"] == ("-1.00", "-")
    assert other["twin_compute_difference"] == ("-", "")


def test_what_nothing_is_known_of_has_no_column() -> None:
    names = [column.name for column in displayed({"accuracy": 0.9}).columns]
    assert names == ["mac_sparsity", "pruned_val_accuracy", "accuracy_drop"]
    assert display_ranking(rank(make_trials()), None, None).rows[0].cells[1].value == "-"


def test_what_is_of_several_devices_is_not_the_dense_networks() -> None:
    measured = {"accuracy": 0.9, "peak_memory_bytes": 1e6, "size_bytes": 1e6, "measured_on": "a CPU"}
    dense = {"peak_memory_bytes": 4e6, "size_bytes": 8e6, "measured_on": "a CPU"}
    display = displayed(measured, dense_measure=dense)
    assert display.devices == ("a CPU",)
    assert cells(display, "dense network")["peak_memory_bytes"].value == "4.0"
    display = displayed(measured, measured | {"measured_on": "NVIDIA H200"}, dense_measure=dense)
    assert display.devices == ("NVIDIA H200", "a CPU")
    row = cells(display, "dense network")
    assert [row[name].value for name in ("peak_memory_bytes", "size_bytes", "measured_on")] == ["-", "8.00", "-"]
    assert cells(display, "1 exponential")["measured_on"].value == "NVIDIA H200"
    # All that was measured is of two devices, and the trials shown of one.
    of_none = displayed(measured, dense_measure={"peak_memory_bytes": 4e6, "size_bytes": 8e6})
    row = cells(of_none, "dense network")
    assert [row[name].value for name in ("peak_memory_bytes", "size_bytes")] == ["-", "8.00"]


def test_the_gate_is_shown_where_it_differs() -> None:
    frame = make_trials({"accuracy": 0.9}, {"accuracy": 0.8})
    frame["pruning.gate"] = pd.Series(["bn_output", "conv_weight"])
    display = display_ranking(rank(frame), None, None)
    labels = ("dense network", "0 exponential", "1 exponential")
    gates = [cells(display, label)["pruning.gate"].value for label in labels]
    assert gates == ["-", "batch-norm output", "conv weight"]
    frame["pruning.gate"] = "bn_output"
    assert "pruning.gate" not in [column.name for column in display_ranking(rank(frame), None, None).columns]


def test_an_unknown_outcome_is_shown_as_such() -> None:
    row = cells(displayed({"cut": math.nan}), "0 exponential")
    assert {cell.value for cell in row.values()} == {"-"}

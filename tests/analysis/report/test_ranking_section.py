from dataclasses import replace
from typing import Any

import pytest
from experiments import ExperimentBuilder, make_measurement, write_measurement

from analysis import Experiment
from analysis.report.ranking_section import MOST_ROWS, ranking_table
from trainable.config import trial_config


def cells(table: Any, name: str) -> dict[str, str]:
    [row] = [row for row in table.rows if row.name.startswith(name)]
    return {f"{title} {unit}": cell for (title, unit), cell in zip(table.headers, row.cells, strict=True)}


def test_what_the_ranking_shows(rich: Experiment) -> None:
    table = ranking_table(rich)
    assert [row.kind for row in table.rows[:2]] == ["dense", "trial"]
    best = table.rows[1]
    assert (best.name.split()[0], best.seeds, best.on_front) == ("34", "3 repeats", True)
    found = cells(table, best.name)
    assert found["MACs cut %"] == "75.0"
    assert found["Validation accuracy %"] == "93.27 ± 0.15"
    assert found["Test accuracy %"] == "92.77 ± 0.15"
    assert found["Drop points"] == "0.73"
    assert found["Speed-up batch 1"] == "1.44\N{MULTIPLICATION SIGN}"
    assert found["Size MB"] == "12.50"
    throughput = float(found["Throughput batch 256, images/s"].replace(",", ""))
    assert throughput == pytest.approx(256e3 / float(found["Latency batch 256, ms"]), rel=1e-3)
    single = cells(table, "1 pruning random channels")
    assert single["Validation accuracy %"] == "91.50°"
    dense = cells(table, "Dense network")
    assert (dense["MACs cut %"], dense["Validation accuracy %"], dense["Test accuracy %"]) == ("0.0", "94.00", "93.60")
    assert (dense["Size MB"], dense["Drop points"], dense["Learning rates policy"]) == ("60.00", "-", "-")


def test_a_long_ranking_is_cut_but_for_its_controls(untrained: ExperimentBuilder) -> None:
    untrained.write_dense()
    for _ in range(MOST_ROWS + 3):
        untrained.add_searched(0.9)
    last = untrained.add_control("one_shot", 0.5)
    table = ranking_table(untrained.load())
    assert (table.shown, table.of) == (MOST_ROWS + 1, MOST_ROWS + 4)
    assert table.rows[-1].name.startswith(f"{last.number} one-shot")
    assert not table.measured
    assert "Test" not in dict(table.headers)


def test_several_devices_are_named_and_have_no_common_dense_network(untrained: ExperimentBuilder) -> None:
    untrained.write_dense()
    write_measurement(untrained.add_searched(0.9), make_measurement(0.9))
    write_measurement(untrained.add_searched(0.8), make_measurement(0.8, measured_on="NVIDIA H200"))
    table = ranking_table(untrained.load())
    assert cells(table, "1 ")["Measured on"] == "NVIDIA H200"
    assert cells(table, "Dense")["Size MB"] == "-"


def test_the_gate_is_shown_where_it_differs(untrained: ExperimentBuilder) -> None:
    config = trial_config(untrained.add_searched(0.9).read().config)
    assert "Gate" not in dict(ranking_table(untrained.load()).headers)
    untrained.add_config(replace(config, pruning=replace(config.pruning, gate="conv_weight")), 0.8)
    table = ranking_table(untrained.load())
    assert [cells(table, f"{number} ")["Gate place"] for number in (0, 1)] == ["bn_output", "conv_weight"]
    assert cells(table, "Dense")["Gate place"] == "-"


def test_one_repeat_has_no_deviation(untrained: ExperimentBuilder) -> None:
    untrained.add_repeat(untrained.add_searched(0.9), 1, 0.91)
    table = ranking_table(untrained.load())
    assert table.rows[1].seeds == "1 repeat"
    assert cells(table, "0 ")["Validation accuracy %"] == "91.00"


def test_nothing_to_rank(untrained: ExperimentBuilder) -> None:
    assert (ranking_table(untrained.load()).shown, ranking_table(untrained.load()).of) == (0, 0)

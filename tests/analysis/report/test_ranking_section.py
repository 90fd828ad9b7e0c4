from experiments import ExperimentBuilder, make_measurement, write_measurement

from analysis import Experiment
from analysis.report.ranking_section import MOST_ROWS, RankingSection, ranking_section, show_cell


def cells(section: RankingSection, label: str) -> dict[str, str]:
    columns = section.display.columns
    [row] = [row for row in section.display.rows if row.label.startswith(label)]
    pairs = zip(columns, row.cells, strict=True)
    return {" ".join(column.heading): show_cell(cell, column) for column, cell in pairs}


def test_what_the_ranking_shows(rich: Experiment) -> None:
    section = ranking_section(rich)
    dense, best, *_ = section.display.rows
    assert (dense.kind, best.kind) == ("dense", "trial")
    assert section.numbers[0] == 34
    assert (best.label.split()[0], best.seeds, best.on_front) == ("34", 3, True)
    found = cells(section, best.label)
    assert found["MACs cut %"] == "75.0"
    assert found["Validation accuracy %"] == "93.27 ± 0.15"
    assert found["Test accuracy %"] == "92.77 ± 0.15"
    assert found["Δ to dense points"] == "\N{MINUS SIGN}0.73"
    assert found["Speed-up batch 1"] == "1.44"
    assert found["Size MB"] == "12.50"
    single = cells(section, "1 random channels (control)")
    assert single["Validation accuracy %"] == "91.50"
    of_dense = cells(section, "dense network")
    assert (of_dense["MACs cut %"], of_dense["Validation accuracy %"], of_dense["Test accuracy %"]) == (
        *("0.0", "94.00"),
        "93.60",
    )
    assert (of_dense["Size MB"], of_dense["Δ to dense points"], of_dense["Learning rate policy"]) == (
        "60.00",
        "\N{EN DASH}",
        "\N{EN DASH}",
    )


def test_a_gain_has_its_sign_and_none_has_none(untrained: ExperimentBuilder) -> None:
    untrained.write_dense()
    untrained.add_searched(0.95)
    untrained.add_searched(0.94)
    section = ranking_section(untrained.load())
    assert cells(section, "0 ")["Δ to dense points"] == "+1.00"
    assert cells(section, "1 ")["Δ to dense points"] == "0.00"


def test_a_long_ranking_is_cut_but_for_its_controls(untrained: ExperimentBuilder) -> None:
    untrained.write_dense()
    for _ in range(MOST_ROWS + 3):
        untrained.add_searched(0.9)
    last = untrained.add_control("one_shot", 0.5)
    section = ranking_section(untrained.load())
    assert (len(section.numbers), section.total) == (MOST_ROWS + 1, MOST_ROWS + 4)
    assert section.numbers[-1] == last.number
    assert section.display.rows[-1].label.startswith(f"{last.number} one-shot")
    assert section.display.devices == ()
    assert "test_accuracy" not in [column.name for column in section.display.columns]


def test_several_devices_are_named(untrained: ExperimentBuilder) -> None:
    untrained.write_dense()
    write_measurement(untrained.add_searched(0.9), make_measurement(0.9))
    write_measurement(untrained.add_searched(0.8), make_measurement(0.8, measured_on="NVIDIA H200"))
    section = ranking_section(untrained.load())
    assert len(section.display.devices) == 2
    assert cells(section, "1 ")["Measured on"] == "NVIDIA H200"
    assert cells(section, "dense")["Peak memory MB"] == "\N{EN DASH}"


def test_one_repeat_has_no_deviation(untrained: ExperimentBuilder) -> None:
    untrained.add_repeat(untrained.add_searched(0.9), 1, 0.91)
    section = ranking_section(untrained.load())
    assert section.display.rows[1].seeds == 1
    assert cells(section, "0 ")["Validation accuracy %"] == "91.00"


def test_nothing_to_rank(untrained: ExperimentBuilder) -> None:
    section = ranking_section(untrained.load())
    assert (section.numbers, section.total) == ((), 0)

from experiments import ExperimentBuilder, make_measurement, write_measurement

from analysis import Experiment
from analysis.report.ranking_section import MOST_ROWS, RankingSection, ranking_section


def cells(section: RankingSection, label: str) -> dict[str, str]:
    [row] = [row for row in section.rows if row.label.startswith(label)]
    return {" ".join(heading): cell for heading, cell in zip(section.headings, row.cells, strict=True)}


def test_what_the_ranking_shows(rich: Experiment) -> None:
    section = ranking_section(rich)
    assert [row.kind for row in section.rows[:2]] == ["dense", "trial"]
    best = section.rows[1]
    assert (best.label.split()[0], best.runs, best.on_front) == ("34", "3 repeats", True)
    found = cells(section, best.label)
    assert found["MACs cut %"] == "75.0"
    assert found["Validation accuracy %"] == "93.27 ± 0.15"
    assert found["Test accuracy %"] == "92.77 ± 0.15"
    assert found["Drop points"] == "0.73"
    assert found["Speed-up batch 1"] == "1.44"
    assert found["Size MB"] == "12.50"
    single = cells(section, "1 random channels (control)")
    assert single["Validation accuracy %"] == "91.50°"
    dense = cells(section, "dense network")
    assert (dense["MACs cut %"], dense["Validation accuracy %"], dense["Test accuracy %"]) == ("0.0", "94.00", "93.60")
    assert (dense["Size MB"], dense["Drop points"], dense["Learning rate policy"]) == ("60.00", "-", "-")


def test_a_long_ranking_is_cut_but_for_its_controls(untrained: ExperimentBuilder) -> None:
    untrained.write_dense()
    for _ in range(MOST_ROWS + 3):
        untrained.add_searched(0.9)
    last = untrained.add_control("one_shot", 0.5)
    section = ranking_section(untrained.load())
    assert (section.shown, section.total) == (MOST_ROWS + 1, MOST_ROWS + 4)
    assert section.rows[-1].label.startswith(f"{last.number} one-shot")
    assert not section.measured
    assert "Test" not in dict(section.headings)


def test_several_devices_are_named(untrained: ExperimentBuilder) -> None:
    untrained.write_dense()
    write_measurement(untrained.add_searched(0.9), make_measurement(0.9))
    write_measurement(untrained.add_searched(0.8), make_measurement(0.8, measured_on="NVIDIA H200"))
    section = ranking_section(untrained.load())
    assert section.measured
    assert cells(section, "1 ")["Measured on"] == "NVIDIA H200"
    assert cells(section, "dense")["Peak memory MB"] == "-"


def test_one_repeat_has_no_deviation(untrained: ExperimentBuilder) -> None:
    untrained.add_repeat(untrained.add_searched(0.9), 1, 0.91)
    section = ranking_section(untrained.load())
    assert section.rows[1].runs == "1 repeat"
    assert cells(section, "0 ")["Validation accuracy %"] == "91.00"


def test_nothing_to_rank(untrained: ExperimentBuilder) -> None:
    section = ranking_section(untrained.load())
    assert (section.shown, section.total) == (0, 0)

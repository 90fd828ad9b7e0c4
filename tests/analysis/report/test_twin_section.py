import math

from experiments import ExperimentBuilder

from analysis import Experiment
from analysis.report.twin_section import list_twin_rows


def test_a_row_for_each_budget_of_each_confirmed_trial(rich: Experiment) -> None:
    rows = list_twin_rows(rich)
    assert [(row.number, row.cut, row.budget) for row in rows] == [
        (34, "75% fewer MACs", "equal compute"),
        (34, "75% fewer MACs", "equal epochs"),
        (35, "90% fewer MACs", "equal compute"),
        (35, "90% fewer MACs", "equal epochs"),
    ]
    assert {row.basis for row in rows} == {"3 seeds, test images"}
    assert rows[0].cells[:4] == ("92.77", "93.23", "\N{MINUS SIGN}0.47 ± 0.14", "loss")
    assert rows[1].cells[:4] == ("92.77", "92.67", "+0.10 ± 0.25", "within noise")
    assert rows[3].cells[2:4] == ("+1.37 ± 0.14", "gain")
    # At equal epochs the twin of 12 epochs costs a quarter of a dense epoch each.
    assert rows[1].cells[5] == "3.0"
    assert float(rows[0].cells[4]) >= float(rows[0].cells[5]) > 3


def test_one_pair_has_no_interval_and_an_unknown_cost_is_a_dash(builder: ExperimentBuilder) -> None:
    trial = builder.add_trial(1)
    builder.add_repeat(trial, 1, 0.9)
    builder.add_twin(trial, "epochs", 1, 0.8)
    experiment = builder.load()
    experiment.trials["training_cost"] = math.nan
    [row] = list_twin_rows(experiment)
    assert row.basis == "1 seed, validation images"
    assert row.cells == ("90.00", "80.00", "+10.00", "unknown", "\N{EN DASH}", "\N{EN DASH}")

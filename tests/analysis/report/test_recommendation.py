import math
from dataclasses import replace

import pytest
from experiments import ExperimentBuilder, make_measurement, write_measurement

from analysis import Experiment
from analysis.rank.ranking import sort_best_first
from analysis.report.recommendation import Recommendation, recommend_trials
from analysis.status import status


def only(experiment: Experiment) -> Recommendation:
    [one] = recommend_trials(experiment)
    return one


def details(one: Recommendation) -> dict[str, str]:
    return {f"{tile.value} {tile.label}": tile.detail for tile in one.tiles}


def test_the_best_for_each_amount_of_the_controls(rich: Experiment) -> None:
    first, second = recommend_trials(rich)
    assert (first.number, second.number) == (34, 35)
    assert first.amount == "For at least 75% fewer MACs"
    assert second.amount == "For at least 90% fewer MACs"
    assert first.headline == (
        "Use trial 34: 75% fewer MACs, 2.4 times as fast at batch 256, 21% of the size, "
        "test accuracy 92.8% (dense 93.6%)."
    )
    fade = "fading loses 0.5 ± 0.1 points at equal compute"
    assert first.basis == f"mean of 3 repeats with other seeds; {fade}; measured on AMD EPYC 7B13, 2 threads"
    assert "fading gains 0.4 ± 0.5 points at equal compute: within noise" in second.basis
    assert details(first)["92.8% test accuracy"] == "dense network: 93.6%"
    assert (
        details(first)["2.4\N{MULTIPLICATION SIGN} as fast at batch 256"]
        == "1.4\N{MULTIPLICATION SIGN} at batch 1 and 2.4\N{MULTIPLICATION SIGN} at batch 32"
    )
    assert details(first)["21% of the size"] == "from 60.00 to 12.50 MB"
    assert first.command.startswith("alphaprune export cifar10-autumn --storage ")
    assert first.command.endswith(" 34 --to cifar10-autumn-34")


def test_it_is_the_trial_that_ranking_and_status_name(untrained: ExperimentBuilder) -> None:
    untrained.write_dense()
    untrained.add_control("one_shot", 0.9)
    for mac_sparsity in ((0.75,), (0.9,), (0.75,)):
        untrained.add_searched(0.93, amounts=mac_sparsity)
    experiment = untrained.load()
    number = only(experiment).number
    assert number == 2  # as accurate as the others with fewer MACs
    assert number == experiment.ranked.index[0] == sort_best_first(experiment.ranked).index[0]
    best = status(experiment).best
    assert best is not None
    assert best.number == number


def test_a_control_that_is_better_is_what_to_use(untrained: ExperimentBuilder) -> None:
    untrained.write_dense()
    untrained.add_searched(0.9)
    control = untrained.add_control("one_shot", 0.95)
    one = only(untrained.load())
    assert one.number == control.number
    assert one.headline.startswith(f"Use trial {control.number}, a control: ")


def test_of_what_was_not_measured_nothing_is_claimed(untrained: ExperimentBuilder) -> None:
    untrained.write_dense()
    untrained.add_searched(0.9)
    one = only(untrained.load())
    assert one.headline == (
        "Use trial 0: 75% fewer MACs, validation accuracy 90.0% (dense 94.0%); speed and size have not been measured."
    )
    assert [tile.label for tile in one.tiles] == ["fewer MACs", "validation accuracy"]
    assert one.basis == one.amount == ""


def test_a_lucky_single_run_does_not_beat_what_was_repeated(untrained: ExperimentBuilder) -> None:
    repeated = untrained.add_searched(0.92)
    untrained.add_searched(0.95)
    for seed in (1, 2):
        untrained.add_repeat(repeated, seed, 0.91)
    assert only(untrained.load()).number == repeated.number


def test_what_is_not_faster_is_said_to_be_so(untrained: ExperimentBuilder) -> None:
    write_measurement(untrained.add_searched(0.9), make_measurement(speedup=0.9))
    assert "0.9 times as fast at batch 256, so not faster" in only(untrained.load()).headline
    write_measurement(untrained.add_searched(0.95), make_measurement(speedup=1.04))
    assert "1 times as fast at batch 256, so not faster" in only(untrained.load()).headline


def test_memory_of_several_devices_has_no_dense_figure_of_its_own(untrained: ExperimentBuilder) -> None:
    write_measurement(untrained.add_searched(0.9), make_measurement())
    labels = [tile.label for tile in only(untrained.load()).tiles]
    assert "of the peak memory" in labels
    write_measurement(untrained.add_searched(0.8), make_measurement(measured_on="NVIDIA H200"))
    labels = [tile.label for tile in only(untrained.load()).tiles]
    assert "of the peak memory" not in labels
    assert "of the size" in labels


@pytest.mark.parametrize("dense", [0.0, math.nan])
def test_what_the_dense_network_has_none_of_is_not_compared(untrained: ExperimentBuilder, dense: float) -> None:
    write_measurement(untrained.add_searched(0.9), make_measurement())
    experiment = untrained.load()
    experiment = replace(experiment, dense_measure={"size_bytes": dense, "peak_memory_bytes": dense})
    assert not any("of the" in tile.label for tile in only(experiment).tiles)


def test_no_result_no_recommendation(untrained: ExperimentBuilder) -> None:
    assert recommend_trials(untrained.load()) == ()
    untrained.add_searched(0.9, state="running", epochs=3)
    assert recommend_trials(untrained.load()) == ()

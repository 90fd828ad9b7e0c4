import csv
import io
import json
import math
from typing import Any

import pandas as pd
import pytest
from experiments import ExperimentBuilder
from golden import assert_golden
from rich.console import Console, RenderableType

import analysis
from analysis.rank.ranking import rank
from analysis.terminal.ranking_table import ranking_table, to_csv, to_json
from trainable.schedules.alpha import Multiplicative, OneShot, Piecewise
from trainable.schedules.lr_policies import StagnationRestart

MEASURED = {
    "test_accuracy": 0.9345,
    "size_bytes": 2_345_000.0,
    "batch1_speedup": 1.5,
    "batch32_speedup": 2.0,
    "batch256_speedup": 3.257,
    "peak_memory_bytes": 123_400_000.0,
    "measured_on": "AMD EPYC 7B13, 2 threads",
}
POLICY = ["stagnation", "restart"]
DENSE_MEASURED = {
    "test_accuracy": 0.9412,
    "size_bytes": 59_000_000.0,
    "peak_memory_bytes": 456_000_000.0,
    "measured_on": "AMD EPYC 7B13, 2 threads",
}


def measured(trials: pd.DataFrame, *numbers: int, **values: Any) -> pd.DataFrame:
    """The trials, those of `numbers` measured."""
    trials = trials.copy()
    for name, value in (MEASURED | values).items():
        trials[name] = pd.Series(value, index=list(numbers)).reindex(trials.index)
    return trials


def confirmed(trials: pd.DataFrame, number: int, *accuracies: float) -> pd.DataFrame:
    """The trials and repeats of one of them, with these accuracies on validation and, a point less, test images."""
    repeats = pd.concat([trials.loc[[number]]] * len(accuracies)).assign(
        confirms=float(number),
        pruned_val_accuracy=list(accuracies),
        accuracy_drop=[0.94 - accuracy for accuracy in accuracies],
        test_accuracy=[accuracy - 0.01 for accuracy in accuracies],
    )
    repeats.index = pd.Index(range(100, 100 + len(accuracies)))
    trials = trials.assign(confirms=math.nan)
    return pd.concat([trials, repeats]).rename_axis("number")


@pytest.fixture
def experiment(builder: ExperimentBuilder) -> analysis.Experiment:
    builder.add_trial(
        0, control="random_channels", alpha=OneShot(), lr=StagnationRestart(), accuracies=(0.1, 0.2, 0.8125)
    )
    builder.add_trial(1, alpha=Multiplicative(rate=0.8123), lr=StagnationRestart(), accuracies=(0.1, 0.2, 0.94444))
    lost = builder.add_trial(2, alpha=Piecewise(), accuracies=(0.1, 0.2, 0.3))
    lost.replace_rows(lost.read_rows()[:-1])
    return analysis.load(builder.path)


def printed(what: RenderableType, width: int = 100, color: bool = False) -> str:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=color, color_system="standard" if color else None).print(what)
    return out.getvalue()


def rows_of(text: str) -> dict[str, list[str]]:
    """The words of each trial's line by its rank, and of the dense network's."""
    ranks = {line: line[:4].strip() or line[5:10] for line in text.splitlines()}
    return {rank: line[5:].split() for line, rank in ranks.items() if rank.isdecimal() or rank == "dense"}


def test_the_table_holds_what_a_ranking_is_about(experiment: analysis.Experiment) -> None:
    rows = rows_of(printed(ranking_table(experiment.rank(), experiment.dense), 120))
    assert rows["dense"] == ["dense", "network", "0.0", "94.00", "-", "-", "0.0", "0.0", "-", "-"]
    cut, at_cut = ["80.0", "50.0"], "60.00"
    assert rows["1"] == ["1", "multiplicative", "0.812", "75.0", "94.44", "-0.44", "1.5", *cut, at_cut, *POLICY, "★"]
    assert rows["2"] == ["0", "random", "channels", "(control)", "75.0", "81.25", "12.75", "0.8", *cut, at_cut, *POLICY]
    assert rows["3"] == ["2", "piecewise", "-", "-", "-", "1.2", "-", "-", at_cut, "cosine"]


@pytest.fixture
def paired(other: ExperimentBuilder) -> analysis.Experiment:
    """A control, and a trial with repeats and twins over three seeds."""
    other.add_control("one_shot", 0.9)
    trial = other.add_trial(1, alpha=Multiplicative(rate=0.8123), accuracies=(0.1, 0.2, 0.94))
    for seed, accuracy in enumerate((0.930, 0.934, 0.932), start=1):
        other.add_repeat(trial, seed, accuracy)
        other.add_twin(trial, "compute", seed, accuracy - 0.004 * seed + 0.005)
        other.add_twin(trial, "epochs", seed, accuracy - 0.012)
    return other.load()


def test_the_table_reads_as_it_should(experiment: analysis.Experiment, paired: analysis.Experiment) -> None:
    trials = confirmed(measured(experiment.trials, 0, 1), 1, 0.91, 0.92, 0.93)
    trials.loc[0, "batch1_speedup"] = 0.95
    table = ranking_table(rank(trials), experiment.dense, DENSE_MEASURED)
    plain = ranking_table(experiment.rank(), experiment.dense)
    twins = ranking_table(paired.rank(), paired.dense)
    texts = [
        f"{name}, {width} columns\n{printed(what, width)}"
        for name, what in (("measured", table), ("not measured", plain), ("with twins", twins))
        for width in (80, 120, 200)
    ]
    assert_golden("ranking.txt", "\n".join(texts))


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_it_fits_the_terminal_a_line_a_trial_and_shortens_nothing(experiment: analysis.Experiment, width: int) -> None:
    trials = confirmed(measured(experiment.trials, 0, 1, 2), 1, 0.91, 0.92, 0.93)
    for frame, dense_measured in ((experiment.rank(), None), (rank(trials), DENSE_MEASURED)):
        text = printed(ranking_table(frame, experiment.dense, dense_measured), width)
        assert max(map(len, text.splitlines())) <= width
        assert "…" not in text
        assert len(rows_of(text)) == len(frame) + 1
        assert rows_of(text)["2"][:4] == ["0", "random", "channels", "(control)"]


def test_a_wider_terminal_shows_more_columns(experiment: analysis.Experiment) -> None:
    trials = measured(experiment.trials, 0, 1)
    table = ranking_table(rank(trials), experiment.dense, DENSE_MEASURED)
    counts = [len(rows_of(printed(table, width))["1"]) for width in (60, 80, 100, 120, 200)]
    assert counts == sorted(set(counts))
    assert "in a wider window" in printed(table, 80)
    assert "in a wider window" not in printed(table, 200)


def test_what_is_left_out_is_named(experiment: analysis.Experiment) -> None:
    table = ranking_table(experiment.rank(), experiment.dense)
    assert "left out: param. cut %, chann. cut %" in printed(table, 80)
    assert "left out" not in printed(table, 200)


def test_fronts_are_set_apart(builder: ExperimentBuilder) -> None:
    for number, accuracy in enumerate((0.9, 0.8, 0.7)):
        builder.add_trial(number, accuracies=(0.1, 0.2, accuracy))
    experiment = analysis.load(builder.path)
    text = printed(ranking_table(experiment.rank(), experiment.dense))
    lines = text.splitlines()
    starts = [lines.index(line) for line in lines if rows_of(line).keys() & {"1", "2", "3"}]
    assert [lines[start - 1].strip() for start in starts] == ["", "", ""]
    assert "blank lines separate fronts" in text
    # By another column, trials of a front are not together.
    other = printed(ranking_table(experiment.rank(by="-number"), experiment.dense))
    assert "blank lines" not in other
    together = [line for line in other.splitlines() if rows_of(line)]
    assert "\n".join(together[1:]) in other


def test_a_name_that_is_too_long_for_the_terminal_is_shortened(experiment: analysis.Experiment) -> None:
    text = printed(ranking_table(experiment.rank(), experiment.dense), 24)
    assert max(map(len, text.splitlines())) <= 24
    assert "0 random" in text
    assert "…" in text
    assert "75.0" in text


def test_without_a_measured_trial_nothing_is_said_of_measurements(experiment: analysis.Experiment) -> None:
    plain = printed(ranking_table(experiment.rank(), experiment.dense))
    assert printed(ranking_table(rank(measured(experiment.trials)), experiment.dense, DENSE_MEASURED)) == plain
    assert "speed" not in plain


def test_a_single_run_is_told_from_what_is_confirmed(experiment: analysis.Experiment) -> None:
    trials = confirmed(experiment.trials, 1, 0.90, 0.92).drop(columns="test_accuracy")
    text = printed(ranking_table(rank(trials), experiment.dense))
    assert "standard deviation over 2 seeds" in text
    assert "single runs" not in text
    once = printed(ranking_table(rank(trials.drop(index=101)), experiment.dense))
    assert "standard deviation" not in once
    assert "that of its repeat" in once
    assert "single runs" in printed(ranking_table(experiment.rank(), experiment.dense))


def test_different_numbers_of_seeds_are_said(experiment: analysis.Experiment) -> None:
    trials = confirmed(experiment.trials, 1, 0.90, 0.92, 0.93)
    more = confirmed(experiment.trials, 0, 0.80, 0.82).loc[[100, 101]].rename(index=lambda number: number + 100)
    text = printed(ranking_table(rank(pd.concat([trials, more]).rename_axis("number")), experiment.dense))
    assert "over 2 to 3 seeds" in text
    # As where the test set has been run on two of three.
    trials = confirmed(measured(experiment.trials, 0, 1), 1, 0.90, 0.92, 0.93)
    trials.loc[102, "test_accuracy"] = math.nan
    assert "over 2 to 3 seeds" in printed(ranking_table(rank(trials), experiment.dense, DENSE_MEASURED), 120)


def test_gains_over_twins_are_shown_and_explained(paired: analysis.Experiment) -> None:
    text = printed(ranking_table(paired.rank(), paired.dense), 200)
    assert rows_of(text)["1"][3:10] == ["75.0", "93.20", "0.20", "0.80", "+0.30", "0.99", "+1.20"]
    assert "points above the same trial without a fade, at equal compute and equal epochs" in text
    assert "95% interval over 3 seeds" in text
    narrow = " ".join(printed(ranking_table(paired.rank(), paired.dense), 70).split())
    assert "at equal compute; here" in narrow
    assert "left out: vs twin epochs" in narrow
    one = paired.trials[~((paired.trials["seed"] > 1) & (paired.trials["kind"] == "twin"))]
    once = printed(ranking_table(rank(one), paired.dense), 200)
    assert "with one seed, how much of it is noise is unknown" in once
    assert "vs twin" not in printed(ranking_table(rank(paired.trials[paired.trials["twin"].isna()]), paired.dense), 120)


def test_what_it_is_ranked_by_is_shown_first(paired: analysis.Experiment) -> None:
    heading = "train. cost: "
    assert heading not in printed(ranking_table(paired.rank(), paired.dense), 60)
    assert heading in printed(ranking_table(paired.rank(by="training_cost"), paired.dense), 60)


def test_sparser_but_not_faster_is_said_in_words(experiment: analysis.Experiment) -> None:
    trials = measured(experiment.trials, 0, 1)
    assert "not faster" not in printed(ranking_table(rank(trials), experiment.dense))
    trials.loc[0, ["batch1_speedup", "batch32_speedup"]] = [0.95, 0.999]
    [line] = [
        line for line in printed(ranking_table(rank(trials), experiment.dense), 200).splitlines() if "not fas" in line
    ]
    assert "0 random channels (control): 0.95 times in batches of 1 and 0.999 times in batches of 32" in line
    trials.loc[0, "mac_sparsity"] = 0.0
    assert "not faster" not in printed(ranking_table(rank(trials), experiment.dense))


def test_of_many_that_are_not_faster_a_few_are_named(builder: ExperimentBuilder) -> None:
    for number in range(7):
        builder.add_trial(number)
    experiment = analysis.load(builder.path)
    trials = measured(experiment.trials, *range(7), batch256_speedup=0.5)
    text = " ".join(printed(ranking_table(rank(trials), experiment.dense), 120).split())
    assert text.count("0.5 times in batches of 256") == 5
    assert "and 2 more" in text


def test_the_device_is_named_and_several_are_told_apart(experiment: analysis.Experiment) -> None:
    trials = measured(experiment.trials, 0, 1)
    text = printed(ranking_table(rank(trials), experiment.dense, DENSE_MEASURED), 120)
    assert "on AMD EPYC 7B13, 2 threads" in text
    trials.loc[1, "measured_on"] = "NVIDIA \x1b[2J[bold]H200"
    several = printed(ranking_table(rank(trials), experiment.dense, DENSE_MEASURED), 200)
    assert "figures do not compare: AMD EPYC 7B13, 2 threads; NVIDIA �[2J[bold]H200" in several
    assert "\x1b" not in several


def test_records_hold_no_markup(experiment: analysis.Experiment) -> None:
    trials = experiment.trials.copy()
    trials["lr.policy"] = "[/x][bold]"
    assert "[/x][bold]" in printed(ranking_table(rank(trials), experiment.dense), 200)


def test_an_ascii_terminal_shows_it_too(experiment: analysis.Experiment) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    trials = confirmed(measured(experiment.trials, 0, 1), 1, 0.91, 0.92)
    Console(file=out, width=120).print(ranking_table(rank(trials), experiment.dense, DENSE_MEASURED))
    out.flush()
    lines = out.buffer.getvalue().decode("ascii").splitlines()  # type: ignore[attr-defined]
    assert any(line.endswith("|?") and "91.50" in line for line in lines)


def test_without_color_there_are_no_escapes(experiment: analysis.Experiment) -> None:
    table = ranking_table(experiment.rank(), experiment.dense)
    assert "\x1b" not in printed(table)
    assert "\x1b[" in printed(table, color=True)


def test_records_cannot_steer_the_terminal_nor_the_markup(builder: ExperimentBuilder) -> None:
    builder.add_trial(0, control="[red]\x1b[2Jx[/nothing]")
    experiment = analysis.load(builder.path)
    text = printed(ranking_table(experiment.rank(), experiment.dense))
    assert "0 [red]�[2Jx[/nothing] (control)" in text
    assert "\x1b" not in text


def test_an_empty_ranking_without_a_dense_network_is_a_table_too(builder: ExperimentBuilder) -> None:
    experiment = analysis.load(builder.path)
    assert rows_of(printed(ranking_table(experiment.rank(), None)))["dense"] == ["dense", "network", "0.0", "-", "-"]


def test_csv_gives_the_frame_back_to_the_last_digit(experiment: analysis.Experiment) -> None:
    ranked = experiment.rank()
    text = to_csv(ranked)
    names = text.splitlines()[0].split(",")
    assert names[:5] == ["number", "rank", "on_front", "front", "crowding"]
    assert set(ranked.columns) < set(names)
    assert names[names.index("finished") + 1 :] == sorted(names[names.index("finished") + 1 :])
    rows = list(csv.DictReader(io.StringIO(text)))
    for name in ("pruned_val_accuracy", "accuracy_drop", "alpha.rate", "macs", "seconds"):
        assert [row[name] for row in rows] == ["" if pd.isna(value) else repr(value) for value in ranked[name].tolist()]
    assert [row["on_front"] for row in rows] == ["True", "False", "False"]
    assert [row["control"] for row in rows] == ["", "random_channels", ""]
    assert rows[0]["started"] == "2026-01-02T03:04:05.678+00:00"


def test_json_gives_the_frame_back_to_the_last_digit(experiment: analysis.Experiment) -> None:
    ranked = experiment.rank()
    rows = json.loads(to_json(ranked))
    assert [list(row) for row in rows] == [["number", *ranked.columns]] * 3
    for name in ("pruned_val_accuracy", "accuracy_drop", "alpha.rate", "on_front", "rank", "control"):
        expected = [None if pd.isna(value) else value for value in ranked[name]]
        assert [row[name] for row in rows] == expected
    assert [row["number"] for row in rows] == [1, 0, 2]
    assert rows[0]["started"] == "2026-01-02T03:04:05.678+00:00"
    assert rows[0]["finished"] == "2026-01-02T03:04:12.428+00:00"


def test_what_is_not_finite_is_null_in_json() -> None:
    frame = pd.DataFrame({"a": [math.inf, 1.5, math.nan]}, index=pd.Index([0, 1, 2], name="number"))
    assert [row["a"] for row in json.loads(to_json(frame))] == [None, 1.5, None]


def test_empty_rankings_are_written_too(builder: ExperimentBuilder) -> None:
    ranked = analysis.load(builder.path).rank()
    assert json.loads(to_json(ranked)) == []
    assert to_csv(ranked).splitlines() == [",".join(["number", *ranked.columns])]

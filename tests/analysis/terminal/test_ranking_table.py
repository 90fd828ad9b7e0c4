import csv
import io
import json
import math
from typing import Any

import pandas as pd
import pytest
from experiments import ExperimentBuilder
from rich.console import Console, RenderableType

import analysis
from analysis.rank.ranking import rank
from analysis.terminal.ranking_table import ranking_table, to_csv, to_json
from analysis.text import percent, printable
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
DENSE_MEASURED = {"test_accuracy": 0.9412, "size_bytes": 59_000_000.0, "peak_memory_bytes": 456_000_000.0}


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
    lost.replace_rows(lost.rows()[:-1])
    return analysis.load(builder.path)


def printed(what: RenderableType, width: int = 100, color: bool = False) -> str:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=color, color_system="standard" if color else None).print(what)
    return out.getvalue()


def test_the_table_holds_what_a_ranking_is_about(experiment: analysis.Experiment) -> None:
    lines = printed(ranking_table(experiment.rank(), experiment.dense)).splitlines()
    cells = [line.split() for line in lines]
    [dense] = [line for line in cells if line[:1] == ["dense"]]
    assert dense == ["dense", "0.0", "0.0", "0.0", "94.00"]
    ranked = [line for line in cells if line and line[0] in {"1", "2", "3"}]
    numbers = ["75.0", "80.0", "50.0", "60.00"]
    assert ranked[0] == ["1", "1", "multiplicative", "0.812", "stagnation_restart", *numbers, "94.44", "-0.44", "★"]
    assert ranked[1] == ["2", "0", "control:", "random_channels", "stagnation_restart", *numbers, "81.25", "12.75"]
    assert ranked[2] == ["3", "2", "piecewise", "cosine", "-", "-", "-", "60.00", "-", "-"]
    assert cells.index(dense) < cells.index(ranked[0])


def test_it_fits_100_columns_a_line_a_trial(experiment: analysis.Experiment) -> None:
    ranked = experiment.rank()
    text = printed(ranking_table(ranked, experiment.dense))
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    # Two lines of headers, a rule, the dense network and a blank line behind it, and a line of caption.
    assert len(text.splitlines()) == len(ranked) + 6


def test_what_was_measured_stands_beside_dense(experiment: analysis.Experiment) -> None:
    ranked = rank(measured(experiment.trials, 0, 1))
    text = printed(ranking_table(ranked, experiment.dense, DENSE_MEASURED), 120)
    cells = [line.split() for line in text.splitlines()]
    [dense] = [line for line in cells if line[:1] == ["dense"]]
    assert dense == ["dense", "0.0", "59.00", "94.00", "94.12", "1.00", "1.00", "456"]
    ranked_cells = [line for line in cells if line and line[0] in {"1", "2", "3"}]
    figures = ["93.45", "1.50", "3.26", "123"]
    assert ranked_cells[0][5:] == ["75.0", "2.35", "94.44", "-0.44", *figures, "★"]
    assert ranked_cells[1][1:4] == ["0", "control:", "random_channels"]
    assert ranked_cells[2][4:] == ["-", "-", "-", "-", "-", "-", "-", "-"]


def test_without_a_measured_trial_nothing_is_said_of_measurements(experiment: analysis.Experiment) -> None:
    plain = printed(ranking_table(experiment.rank(), experiment.dense))
    assert printed(ranking_table(rank(measured(experiment.trials)), experiment.dense, DENSE_MEASURED)) == plain
    assert "speed" not in plain


def test_with_measurements_it_fits_120_columns(experiment: analysis.Experiment) -> None:
    trials = confirmed(measured(experiment.trials, 0, 1, 2), 1, 0.91, 0.92, 0.93)
    table = ranking_table(rank(trials), experiment.dense, DENSE_MEASURED)
    text = printed(table, 120)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 120
    narrow = printed(table, 80)
    assert "75.0  2.35  92.00 1.00   2.00  91.00 1.00  1.50   3.26    123 ★" in narrow
    assert max(map(len, narrow.splitlines())) <= 80


def test_what_is_of_one_seed_is_told_from_what_is_confirmed(experiment: analysis.Experiment) -> None:
    trials = confirmed(experiment.trials, 1, 0.90, 0.92).drop(columns="test_accuracy")
    table = ranking_table(rank(trials), experiment.dense)
    lines = [line.split() for line in printed(table).splitlines()]
    assert next(line[4:] for line in lines if line[:2] == ["1", "1"])[-4:] == ["91.00", "1.41", "3.00", "★"]
    assert next(line for line in lines if line[:2] == ["2", "0"])[-2:] == ["81.25", "12.75"]
    text = " ".join(printed(table).split())
    assert "±: standard deviation over 2 seeds, of which the accuracies are means; without ±: one seed" in text
    # One repeat has a mean and no deviation; without any repeat, all is of one seed.
    once = printed(ranking_table(rank(trials.drop(index=101)), experiment.dense))
    cells = next(line.split() for line in once.splitlines() if line.split()[:2] == ["1", "1"])
    assert cells[-4:] == ["90.00", "-", "4.00", "★"]
    assert "over 1 seed" in once
    assert "acc.: validation images, one seed;" in printed(ranking_table(experiment.rank(), experiment.dense))


def test_different_numbers_of_seeds_are_said(experiment: analysis.Experiment) -> None:
    trials = confirmed(experiment.trials, 1, 0.90, 0.92, 0.93)
    more = confirmed(experiment.trials, 0, 0.80, 0.82).loc[[100, 101]].rename(index=lambda number: number + 100)
    text = printed(ranking_table(rank(pd.concat([trials, more]).rename_axis("number")), experiment.dense))
    assert "over 2 to 3 seeds" in text
    # As where the test set has been run on two of three.
    trials = confirmed(measured(experiment.trials, 0, 1), 1, 0.90, 0.92, 0.93)
    trials.loc[102, "test_accuracy"] = math.nan
    assert "over 2 to 3 seeds" in printed(ranking_table(rank(trials), experiment.dense, DENSE_MEASURED), 120)


def test_sparser_but_not_faster_is_said_in_words(experiment: analysis.Experiment) -> None:
    trials = measured(experiment.trials, 0, 1)
    assert "not faster" not in printed(ranking_table(rank(trials), experiment.dense))
    trials.loc[0, ["batch1_speedup", "batch32_speedup"]] = [0.95, 0.999]
    text = " ".join(printed(ranking_table(rank(trials), experiment.dense)).split())
    assert text.endswith("sparser but not faster than dense: trial 0 (speed 0.95 at batch 1, 0.999 at batch 32)")
    trials.loc[0, "mac_sparsity"] = 0.0
    assert "not faster" not in printed(ranking_table(rank(trials), experiment.dense))


def test_of_many_that_are_not_faster_a_few_are_named(builder: ExperimentBuilder) -> None:
    for number in range(7):
        builder.add_trial(number)
    experiment = analysis.load(builder.path)
    trials = measured(experiment.trials, *range(7), batch256_speedup=0.5)
    text = " ".join(printed(ranking_table(rank(trials), experiment.dense), 120).split())
    assert text.endswith("trial 3 (speed 0.5 at batch 256), trial 4 (speed 0.5 at batch 256) and 2 more")


def test_the_device_is_named_and_several_are_told_apart(experiment: analysis.Experiment) -> None:
    trials = measured(experiment.trials, 0, 1)
    text = " ".join(printed(ranking_table(rank(trials), experiment.dense, DENSE_MEASURED)).split())
    assert "memory: peak while the test set runs; on AMD EPYC 7B13, 2 threads" in text
    trials.loc[1, "measured_on"] = "NVIDIA \x1b[2J[bold]H200"
    several = printed(ranking_table(rank(trials), experiment.dense, DENSE_MEASURED))
    said = "figures do not compare: AMD EPYC 7B13, 2 threads; NVIDIA �[2J[bold]H200"
    assert said in " ".join(several.split())
    assert "\x1b" not in several
    assert "456" not in several  # what the dense network took, on neither of them


def test_an_ascii_terminal_shows_it_too(experiment: analysis.Experiment) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    trials = confirmed(measured(experiment.trials, 0, 1), 1, 0.91, 0.92)
    Console(file=out, width=120).print(ranking_table(rank(trials), experiment.dense, DENSE_MEASURED))
    out.flush()
    lines = out.buffer.getvalue().decode("ascii").splitlines()  # type: ignore[attr-defined]
    assert any(line.endswith("|?") and "92.50" not in line and "91.50" in line for line in lines)


@pytest.mark.parametrize("width", [80, 70])
def test_a_narrower_terminal_shortens_texts_and_no_number(experiment: analysis.Experiment, width: int) -> None:
    text = printed(ranking_table(experiment.rank(), experiment.dense), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" in text
    assert "75.0   80.0   50.0  60.00  94.44  -0.44 ★" in text


def test_without_color_there_are_no_escapes(experiment: analysis.Experiment) -> None:
    table = ranking_table(experiment.rank(), experiment.dense)
    assert "\x1b" not in printed(table)
    assert "\x1b[" in printed(table, color=True)


def test_records_cannot_steer_the_terminal_nor_the_markup(builder: ExperimentBuilder) -> None:
    builder.add_trial(0, control="[red]\x1b[2Jx[/nothing]")
    experiment = analysis.load(builder.path)
    text = printed(ranking_table(experiment.rank(), experiment.dense))
    assert "control: [red]�[2Jx[/not" in text
    assert "\x1b" not in text


def test_an_empty_ranking_without_a_dense_network_is_a_table_too(builder: ExperimentBuilder) -> None:
    experiment = analysis.load(builder.path)
    assert printed(ranking_table(experiment.rank(), None)).splitlines()[3].split() == [
        "dense",
        "0.0",
        "0.0",
        "0.0",
        "-",
    ]


def test_csv_gives_the_frame_back_to_the_last_digit(experiment: analysis.Experiment) -> None:
    ranked = experiment.rank()
    text = to_csv(ranked)
    names = text.splitlines()[0].split(",")
    assert names[:5] == ["number", "rank", "on_front", "front", "crowding"]
    assert set(ranked.columns) < set(names)
    assert names[names.index("finished") + 1 :] == sorted(names[names.index("finished") + 1 :])
    rows = list(csv.DictReader(io.StringIO(text)))
    for name in ("pruned_val_accuracy", "accuracy_drop", "rate", "macs", "seconds"):
        assert [row[name] for row in rows] == ["" if pd.isna(value) else repr(value) for value in ranked[name].tolist()]
    assert [row["on_front"] for row in rows] == ["True", "False", "False"]
    assert [row["control"] for row in rows] == ["", "random_channels", ""]
    assert rows[0]["started"] == "2026-01-02T03:04:05.678+00:00"


def test_json_gives_the_frame_back_to_the_last_digit(experiment: analysis.Experiment) -> None:
    ranked = experiment.rank()
    rows = json.loads(to_json(ranked))
    assert [list(row) for row in rows] == [["number", *ranked.columns]] * 3
    for name in ("pruned_val_accuracy", "accuracy_drop", "rate", "on_front", "rank", "control"):
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


@pytest.mark.parametrize(
    ("fraction", "digits", "text"),
    [
        (0.9396, 2, "93.96"),
        (0.5, 1, "50.0"),
        (-0.00001, 2, "0.00"),
        (-0.0123, 2, "-1.23"),
        (math.nan, 2, "-"),
        (1, 1, "100.0"),
    ],
)
def test_percentages(fraction: float, digits: int, text: str) -> None:
    assert percent(fraction, digits) == text


def test_printable_is_one_line_without_control_codes() -> None:
    assert printable("a\r\n\tb \x1b[31mc\x9b2J é ★") == "a b �[31mc�2J é ★"

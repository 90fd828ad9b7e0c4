import csv
import io
import json
import math
from typing import Any

import pandas as pd
import pytest
from rich.console import Console, RenderableType

import analysis
from analysis.table import ranking_table, to_csv, to_json
from analysis.text import percent, printable
from trainable.lr_policies import StagnationRestart
from trainable.schedules import Multiplicative, OneShot, Piecewise


@pytest.fixture
def experiment(builder: Any) -> analysis.Experiment:
    builder.trial(0, control="random_channels", alpha=OneShot(), lr=StagnationRestart(), accuracies=(0.1, 0.2, 0.8125))
    builder.trial(1, alpha=Multiplicative(rate=0.8123), lr=StagnationRestart(), accuracies=(0.1, 0.2, 0.94444))
    builder.trial(2, alpha=Piecewise(), accuracies=(0.1, 0.2, None), sparsity=None)
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
    assert ranked[2] == ["3", "2", "piecewise", "cosine", "-", "80.0", "50.0", "-", "-", "-"]
    assert cells.index(dense) < cells.index(ranked[0])


def test_it_fits_100_columns_a_line_a_trial(experiment: analysis.Experiment) -> None:
    ranked = experiment.rank()
    text = printed(ranking_table(ranked, experiment.dense))
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    # Two lines of headers, a rule, the dense network and a blank line behind it, and a line of caption.
    assert len(text.splitlines()) == len(ranked) + 6


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


def test_records_cannot_steer_the_terminal_nor_the_markup(builder: Any) -> None:
    builder.trial(0, control="[red]\x1b[2Jx[/nothing]")
    experiment = analysis.load(builder.path)
    text = printed(ranking_table(experiment.rank(), experiment.dense))
    assert "control: [red]�[2Jx[/not" in text
    assert "\x1b" not in text


def test_an_empty_ranking_without_a_dense_network_is_a_table_too(builder: Any) -> None:
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
    assert names[:4] == ["number", "rank", "on_front", "control"]
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
    assert rows[0]["finished"] is None


def test_what_is_not_finite_is_null_in_json() -> None:
    frame = pd.DataFrame({"a": [math.inf, 1.5, math.nan]}, index=pd.Index([0, 1, 2], name="number"))
    assert [row["a"] for row in json.loads(to_json(frame))] == [None, 1.5, None]


def test_empty_rankings_are_written_too(builder: Any) -> None:
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

"""The fast way and the line-by-line way have to give the same rows, whatever happened to the files."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.tables import epochs
from analysis.tables.epochs import SCHEMA, EpochsReader, Parsed, Rows, parse
from records.epoch import METRICS as MEASURES
from records.epoch import PHASES
from records.files import read_rows

measure = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**6), 10**6)
rows = st.fixed_dictionaries(
    {"epoch": st.integers(1, 10**9), "phase": st.sampled_from(PHASES)},
    optional={"alpha": measure, "pruned_val_accuracy": measure, "epoch_seconds": measure, "note": st.text(max_size=3)},
)


def text_of(lines: list[dict[str, object]]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def values(number: int, row: dict[str, float | None]) -> list[object]:
    return [number, row["epoch"], row["phase"], *(row.get(name) for name in MEASURES)]


def rows_of(parsed: Parsed) -> list[list[object]]:
    assert parsed.table.schema == SCHEMA
    assert parsed.counts.sum() == len(parsed.table)
    return [list(row) for row in zip(*(column.to_pylist() for column in parsed.table.columns), strict=True)]


def frame_values(files: list[Rows], problems: list[str]) -> list[list[object]]:
    parsed, of_trials = parse(b"".join(file.text for file in files), files)
    problems += [line for lines in of_trials.values() for line in lines]
    return rows_of(parsed)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(rows, max_size=4), max_size=4))
def test_every_row_of_every_trial_is_there_to_the_last_digit(trials: list[list[dict[str, float | None]]]) -> None:
    files = [Rows(number, f"{number}", text_of(lines)) for number, lines in enumerate(trials)]
    expected = [values(number, row) for number, lines in enumerate(trials) for row in lines]
    problems: list[str] = []
    assert frame_values(files, problems) == expected
    assert all(" follows epoch " in problem for problem in problems)


@settings(max_examples=30, deadline=None)
@given(st.lists(rows, min_size=1, max_size=4), st.data())
def test_damage_anywhere_costs_the_rows_from_there_on(
    lines: list[dict[str, float | None]], data: st.DataObject
) -> None:
    whole = text_of(lines)
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    damaged = whole[:start] + data.draw(st.binary(max_size=6)) + whole[end:]
    other = [{"epoch": 1, "phase": "alpha", "alpha": 0.25}]
    problems: list[str] = []

    found = frame_values([Rows(1, "first", damaged), Rows(2, "second", text_of(other))], problems)

    of_damaged = [row for row in found if row[0] == 1]
    untouched = whole[:start].count(b"\n")
    assert of_damaged[:untouched] == [values(1, row) for row in lines[:untouched]]
    assert found[len(of_damaged) :] == [values(2, other[0])]
    assert all(problem.startswith("first: ") for problem in problems)
    left_out = damaged.count(b"\n") + (not damaged.endswith(b"\n") and damaged != b"") - len(of_damaged)
    assert any("left out" in problem for problem in problems) == (left_out > 0)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{", "line 2 is damaged (Expecting"),
        (b"", "line 2 is damaged (Expecting"),
        (b"[]", "line 2 is damaged (no JSON object)"),
        (b"\xff", "line 2 is damaged ("),
        (b"[" * 100_000, "line 2 is damaged (nested too deep)"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "line 2 is damaged (nested too deep)"),
        (b'{"epoch": 2}', "line 2 is damaged (`phase` must be one of alpha, retrain, but is None)"),
        (b'{"epoch": 2, "phase": "\\ud800"}', "line 2 is damaged (`phase` must be one of"),
        (
            b'{"epoch": 2.0, "phase": "alpha"}',
            "line 2 is damaged (`epoch` must be a whole number from 1 on, but is 2.0)",
        ),
        (b'{"epoch": 0, "phase": "alpha"}', "line 2 is damaged (`epoch` must be a whole number from 1 on, but is 0)"),
        (b'{"epoch": true, "phase": "alpha"}', "line 2 is damaged (`epoch` must be"),
        (b'{"epoch": 2, "phase": "alpha", "lr": "x"}', "line 2 is damaged (`lr` must be a number, but is 'x')"),
        (b'{"epoch": 2, "phase": "alpha"}{"epoch": 3, "phase": "alpha"}', "line 2 is damaged (Extra data"),
        (b'{"epoch": 2, "phase":\n"alpha"}', "line 2 is damaged (Expecting"),
    ],
)
def test_what_is_wrong_with_a_line_is_said(line: bytes, why: str) -> None:
    text = b'{"epoch": 1, "phase": "alpha"}\n' + line + b'\n{"epoch": 3, "phase": "retrain"}\n'
    behind = text.count(b"\n") - 2
    problems: list[str] = []
    assert [row[1] for row in frame_values([Rows(5, "five", text)], problems)] == [1]
    [problem] = problems
    assert problem.startswith(f"five: {why}")
    assert problem.endswith(f"; it and the {behind} behind it are left out")


def test_a_line_of_two_rows_does_not_make_up_for_a_row_of_two_lines() -> None:
    one, two = b'{"epoch": 1, "phase": "alpha"}', b'{"epoch": 2, "phase":\n"alpha"}'
    problems: list[str] = []
    assert frame_values([Rows(0, "0", one + one + b"\n"), Rows(1, "1", one + b"\n" + two + b"\n")], problems) == [
        [1, 1, "alpha", *[None] * len(MEASURES)]
    ]
    assert [problem.partition(" is damaged")[0] for problem in problems] == ["0: line 1", "1: line 2"]


@pytest.mark.parametrize("value", [b"NaN", b"-Infinity", b"1e999", b"1" + b"0" * 400, b"null"])
def test_what_is_not_finite_is_unknown_and_no_damage(value: bytes) -> None:
    problems: list[str] = []
    text = b'{"epoch": 1, "phase": "alpha", "alpha": 0.5, "lr": ' + value + b"}\n"
    [row] = frame_values([Rows(0, "0", text)], problems)
    assert row[:5] == [0, 1, "alpha", 0.5, None]
    assert problems == []


@settings(max_examples=30, deadline=None)
@given(lines=st.lists(rows, min_size=1, max_size=3), length=st.integers(0, 400))
def test_a_torn_file_gives_the_rows_the_trial_itself_resumes_from(
    tmp_path_factory: pytest.TempPathFactory, lines: list[dict[str, float | None]], length: int
) -> None:
    text = text_of(lines)[:length]
    path = tmp_path_factory.getbasetemp() / "torn.jsonl"
    path.write_bytes(text)
    expected = [row["epoch"] for row in read_rows(path)]
    assert [row[1] for row in frame_values([Rows(0, "0", text)], [])] == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(rows, max_size=3), min_size=2, max_size=4), st.data())
def test_what_becomes_of_a_file_does_not_depend_on_those_beside_it(
    trials: list[list[dict[str, float | None]]], data: st.DataObject
) -> None:
    texts = [bytearray(text_of(lines)) for lines in trials]
    for text in texts:
        for _ in range(data.draw(st.integers(0, 2)) if text else 0):
            text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    files = [Rows(number, f"{number}", bytes(text)) for number, text in enumerate(texts)]
    together: list[str] = []
    alone: list[str] = []
    of_each = [row for file in files for row in frame_values([file], alone)]
    assert frame_values(files, together) == of_each
    assert sorted(together) == sorted(alone)


@pytest.fixture
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buffers into which a file of the tests may not fit."""
    monkeypatch.setattr(epochs, "_BUFFER_BYTES", 200)


@pytest.mark.usefixtures("small_buffers")
@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(rows, max_size=8), max_size=12), st.data())
def test_files_of_any_length_are_read_as_they_are_parsed(
    tmp_path_factory: pytest.TempPathFactory, trials: list[list[dict[str, float | None]]], data: st.DataObject
) -> None:
    texts = [text_of(lines) for lines in trials]
    torn = data.draw(st.sets(st.integers(0, max(0, len(texts) - 1))))
    texts = [text[:-3] if number in torn else text for number, text in enumerate(texts)]
    path = tmp_path_factory.getbasetemp() / "read.jsonl"
    with EpochsReader() as reader:
        for number, text in enumerate(texts):
            path.write_bytes(text)
            descriptor = os.open(path, os.O_RDONLY)
            reader.read(number, f"{number}", descriptor)
            os.close(descriptor)
        found, problems = reader.finish()
    expected, of_expected = parse(b"".join(texts), [Rows(n, f"{n}", text) for n, text in enumerate(texts)])
    assert rows_of(found) == rows_of(expected)
    assert found.counts.tolist() == expected.counts.tolist()
    assert problems == of_expected


@pytest.mark.usefixtures("small_buffers")
def test_what_cannot_be_read_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    lines: list[dict[str, object]] = [{"epoch": epoch, "phase": "alpha", "lr": epoch / 8} for epoch in range(1, 9)]
    path.write_bytes(text_of(lines))
    with EpochsReader() as reader:
        for number in range(4):
            descriptor, folder = os.open(path, os.O_RDONLY), os.open(tmp_path, os.O_RDONLY)
            reader.read(number, "rows", descriptor)
            with pytest.raises(IsADirectoryError):
                reader.read(100, "folder", folder)
            reader.read(number + 10, "none", None)
            os.close(descriptor)
            os.close(folder)
        found, problems = reader.finish()
    assert found.counts.tolist() == [8, 0] * 4
    assert found.table["number"].to_pylist() == [number for number in range(4) for _ in range(8)]
    assert problems == {}

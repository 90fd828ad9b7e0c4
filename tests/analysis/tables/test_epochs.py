"""The table holds just the rows that a trial itself reads from its file, whatever happened to the file."""

import json
from pathlib import Path
from typing import Any

import pytest
from experiments import ExperimentBuilder
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.tables import epochs
from analysis.tables.epochs import SCHEMA, read_epochs
from analysis.tables.problems import Problems
from records.epoch import METRICS, OPTIONAL, PHASES, EpochRow
from records.trial import TrialFolder

metrics = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**20), 10**20)
contents_of_rows = st.fixed_dictionaries(
    {"phase": st.sampled_from(PHASES), **dict.fromkeys(set(METRICS) - OPTIONAL, metrics)},
    optional=dict.fromkeys(OPTIONAL, metrics | st.none()),
)


def write_lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps({"epoch": epoch} | row).encode() + b"\n" for epoch, row in enumerate(rows, start=1))


def row_values(number: int, row: EpochRow) -> dict[str, Any]:
    """The row as the table has it, in which all metrics are floats."""
    values = {name: getattr(row, name) for name in METRICS}
    known = {name: value if value is None else float(value) for name, value in values.items()}
    return {"number": number, "epoch": row.epoch, "phase": row.phase} | known


def check(folder: Path, contents: list[bytes]) -> list[str]:
    """That the table of these files holds what the trials read from them; the problems that were noted."""
    trials = [TrialFolder(folder / f"{number:05}") for number in range(len(contents))]
    expected, left_out = [], []
    for trial, content in zip(trials, contents, strict=True):
        trial.path.mkdir(exist_ok=True, parents=True)
        trial.rows_path.write_bytes(content)
        rows = trial.read_rows()
        expected += [row_values(trial.number, row) for row in rows]
        if len(rows) < content.count(b"\n") + (not content.endswith(b"\n") and content != b""):
            left_out.append(f"trials/{trial.number:05}/epochs.jsonl")
    problems = Problems()
    table = read_epochs(dict.fromkeys(trials), problems)
    assert table.schema == SCHEMA
    assert table.to_pylist() == expected
    assert [line.partition(": line ")[0] for line in problems.lines()] == left_out
    return problems.lines()


@pytest.fixture(params=[1, 1000, epochs._BATCH_BYTES], ids=["alone", "some together", "all together"])
def batches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many files are read together."""
    monkeypatch.setattr(epochs, "_BATCH_BYTES", request.param)


@pytest.mark.usefixtures("batches")
@settings(max_examples=40)
@given(st.lists(st.lists(contents_of_rows, max_size=4), max_size=5), st.data())
def test_whatever_the_damage_the_rows_are_those_that_the_trials_read(
    tmp_path_factory: pytest.TempPathFactory, trials: list[list[dict[str, Any]]], data: st.DataObject
) -> None:
    contents = [write_lines(rows) for rows in trials]
    for index in data.draw(st.lists(st.integers(0, len(contents) - 1), max_size=4)) if contents else []:
        content = contents[index]
        start = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(start, len(content)) | st.integers(start, min(start + 2, len(content))))
        piece = data.draw(st.binary(max_size=4) | st.sampled_from([b"\n", b"\0", b" ", b"}\n{", b"null", b"1e999"]))
        contents[index] = content[:start] + piece + content[end:]
    check(tmp_path_factory.getbasetemp() / "damaged" / "trials", contents)


@pytest.mark.usefixtures("batches")
@settings(max_examples=40)
@given(st.lists(contents_of_rows, min_size=1, max_size=3), st.permutations(range(4)), st.integers(0, 4))
def test_lines_that_are_lost_doubled_or_out_of_order_end_a_file(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], order: list[int], count: int
) -> None:
    lines = write_lines(rows).splitlines(keepends=True)
    shuffled = b"".join(lines[index % len(lines)] for index in order[:count])
    check(tmp_path_factory.getbasetemp() / "shuffled" / "trials", [b"".join(lines), shuffled, b"".join(lines)])


SOUND: dict[str, Any] = {"phase": "alpha"} | dict.fromkeys(METRICS, 0.5)
FIRST, SECOND, THIRD = write_lines([SOUND] * 3).splitlines()


def changed(name: bytes, value: bytes) -> bytes:
    """The second row with `value` in place of what its column `name` holds."""
    before = b"2" if name == b"epoch" else b'"alpha"' if name == b"phase" else b"0.5"
    old = b'"%b": %b' % (name, before)
    assert old in SECOND
    return SECOND.replace(old, b'"%b": %b' % (name, value))


@pytest.mark.parametrize(
    "line",
    [
        *(changed(b"lr", number) for number in (b"NaN", b"Infinity", b"-Infinity", b"Inf", b"-Inf", b"nan", b"1e999")),
        *(
            changed(b"lr", number)
            for number in (b"01", b"1.", b".5", b"+1", b"-", b"0x1", b"1e", b"1_0", b"- 1", b"1 2")
        ),
        *(changed(b"lr", number) for number in (b"-0", b"1e-999", b"5E-1", b"1" + b"0" * 400, b"18446744073709551617")),
        *(
            changed(b"lr", value)
            for value in (b'"0.5"', b"true", b"null", b"[0.5]", b"{}", b"", b"[" * 100_000, b"'x'")
        ),
        *(changed(b"epoch_seconds", value) for value in (b"null", b"NaN", b"true", b"7")),
        *(changed(b"epoch", value) for value in (b"2.0", b"2e0", b"0", b"-2", b"3", b"true", b'"2"', b"null", b"02")),
        *(
            changed(b"phase", value)
            for value in (b'"\\u0061lpha"', b'"\\ud800"', b'"Alpha"', b"1", b'"al\0pha"', b'"\xff"')
        ),
        *(SECOND[:-1] + more for more in (b', "lr": 0.7}', b', "lr": null}', b",}", b', "l\\u0072": 3}', b", lr: 3}")),
        *(SECOND[:-1] + b', "new": %b}' % new for new in (b"1", b"Inf", b"NaN", b'"\xff"', b'"\\ud800"', b"{", b"01")),
        SECOND.replace(b'"lr"', b'"l\\u0072"'),
        SECOND.replace(b'"lr": 0.5, ', b""),
        SECOND.replace(b', "epoch_seconds": 0.5', b""),
        SECOND.replace(b": ", b":\t").replace(b", ", b" ,\r"),
        b" " + SECOND,
        SECOND + b" ",
        SECOND + b"\r",
        SECOND + b"\0",
        SECOND + THIRD,
        SECOND + b"//",
        SECOND.replace(b"{", b"{\n"),
        b"\xef\xbb\xbf" + SECOND,
        b"",
        b"[]",
        b"{}",
        b"3",
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    ],
)
def test_a_line_counts_in_the_table_if_it_counts_for_the_trial(tmp_path: Path, line: bytes) -> None:
    whole = FIRST + b"\n" + SECOND + b"\n" + THIRD + b"\n"
    check(tmp_path / "trials", [whole, FIRST + b"\n" + line + b"\n" + THIRD + b"\n", whole])


def test_rows_too_many_on_one_line_do_not_make_up_for_too_few_on_others(tmp_path: Path) -> None:
    fourth = THIRD.replace(b"3", b"4", 1)
    for content in (
        FIRST + SECOND + b"\n" + THIRD.replace(b"{", b"{\n") + b"\n",
        FIRST + SECOND + b"\n" + THIRD + b"\0" + fourth + b"\n" + fourth + b"\n",
    ):
        check(tmp_path / "trials", [content])


def test_what_is_wrong_with_a_line_is_said_with_the_name_of_its_file(tmp_path: Path) -> None:
    lines = [changed(b"lr", b"true"), changed(b"epoch", b"3"), changed(b"phase", b'"x"'), b"[" * 100_000]
    files = [FIRST + b"\n" + line + b"\n" + THIRD + b"\n" for line in lines]
    start, end = "epochs.jsonl: line 2 is damaged", "; it and the 1 after it are left out"
    assert check(tmp_path / "trials", [*files, FIRST + b"\n" + SECOND[:-1]]) == [
        f"trials/00000/{start} (`lr` must be a number, but is True){end}",
        f"trials/00001/{start} (`epoch` must be 2, but is 3){end}",
        f"trials/00002/{start} (`phase` must be one of alpha, retrain, but is 'x'){end}",
        f"trials/00003/{start} (nested too deeply){end}",
        "trials/00004/epochs.jsonl: line 2 is torn; it is left out",
    ]


def test_what_trials_write_is_read_at_once(builder: ExperimentBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = [builder.add_trial(number) for number in range(20)]
    trials += [builder.add_trial(20, accuracies=(), state="running")]

    def fail(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(epochs, "_parse_each", fail)
    assert len(read_epochs(dict.fromkeys(trials), Problems())) == 60
    assert len(read_epochs({}, Problems())) == 0


def test_a_file_that_cannot_be_read_is_a_problem_and_costs_only_its_trial(builder: ExperimentBuilder) -> None:
    trials = [builder.add_trial(number) for number in range(3)]
    trials[1].rows_path.unlink()
    trials[1].rows_path.mkdir()
    problems = Problems()
    assert read_epochs(dict.fromkeys(trials), problems)["number"].to_pylist() == [0, 0, 0, 2, 2, 2]
    assert problems.lines() == ["trials/00001/epochs.jsonl cannot be read: Is a directory"]
    assert problems.may_pass

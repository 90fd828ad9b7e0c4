"""Which rows of an epochs.jsonl count: one rule for everything that reads them."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from examples import make_row
from hypothesis import given
from hypothesis import strategies as st

from records.epoch import METRICS, OPTIONAL, EpochRow, EpochRows, parse_epoch_rows

REQUIRED = [name for name in METRICS if name not in OPTIONAL]
VALUES = make_row(3, phase="alpha").as_values()
# What JSON may hold in place of a number.
NO_NUMBERS = [True, "0.5", [0.5], {"value": 0.5}, math.nan, math.inf, -math.inf, 10**400]


def content(*rows: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def test_a_row_comes_back_as_it_was() -> None:
    row = make_row(3, phase="alpha", train_loss=0.1 + 0.2, lr=1e-300, val_loss=2)
    assert EpochRow.from_values(json.loads(json.dumps(row.as_values())), 3) == row
    assert list(row.as_values()) == ["epoch", "phase", *METRICS]


def test_only_columns_that_nothing_depends_on_may_be_missing() -> None:
    """A column added without a default makes all earlier rows unreadable."""
    assert set(METRICS) - OPTIONAL == {
        *("alpha", "lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "pruned_val_accuracy"),
        *("channel_sparsity", "parameter_sparsity", "mac_sparsity"),
    }


@pytest.mark.parametrize("missing", sorted(OPTIONAL))
def test_an_optional_column_that_an_old_row_lacks_is_unknown(missing: str) -> None:
    row = EpochRow.from_values({name: value for name, value in VALUES.items() if name != missing}, 3)
    assert row == replace(make_row(3, phase="alpha"), **{missing: None})
    assert missing not in row.as_values()  # so it stays as it was when it is written again
    assert EpochRow.from_values(VALUES | {missing: None}, 3) == row


@pytest.mark.parametrize("missing", ["epoch", "phase", *REQUIRED])
@pytest.mark.parametrize("how", ["missing", "null"])
def test_a_row_without_a_required_column_is_damaged(missing: str, how: str) -> None:
    values = {name: value for name, value in VALUES.items() if name != missing}
    with pytest.raises(ValueError, match=rf"^`{missing}` must be .*, but is None$"):
        EpochRow.from_values(values if how == "missing" else values | {missing: None}, 3)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: repr(value)[:12])
def test_a_column_holds_a_finite_number(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^`{name}` must be (a number|finite), but is "):
        EpochRow.from_values(VALUES | {name: value}, 3)


@pytest.mark.parametrize("value", [0, 1, -1, 0.0, 1e308, 5e-324, 10**300])
def test_any_finite_number_will_do(value: float) -> None:
    assert EpochRow.from_values(VALUES | {"train_loss": value}, 3).train_loss == value


@pytest.mark.parametrize("epoch", [4, 2, 0, -3, 3.0, "3", True, [3], 10**400])
def test_a_row_must_be_of_the_expected_epoch(epoch: object) -> None:
    with pytest.raises(ValueError, match=r"^`epoch` must be 3, but is "):
        EpochRow.from_values(VALUES | {"epoch": epoch}, 3)


@pytest.mark.parametrize("phase", ["", "Alpha", "retrain ", 1, ["alpha"], {}])
def test_there_are_two_phases(phase: object) -> None:
    with pytest.raises(ValueError, match=r"^`phase` must be one of alpha, retrain, but is "):
        EpochRow.from_values(VALUES | {"phase": phase}, 3)


@pytest.mark.parametrize("values", [None, 3, "row", [VALUES], [["epoch", 3]]])
def test_a_row_must_be_an_object(values: object) -> None:
    with pytest.raises(ValueError, match=r"^it is not a JSON object$"):
        EpochRow.from_values(values, 3)


def test_unknown_columns_are_ignored() -> None:
    """From a newer version, or added to a result by Tune."""
    newer = VALUES | {"test_accuracy": 0.5, "done": True, "energy_joules": None, "groups": [1, 2]}
    assert EpochRow.from_values(newer, 3) == make_row(3, phase="alpha")


def test_a_wrong_value_is_shortened_in_the_message() -> None:
    with pytest.raises(ValueError, match="`lr`") as error:
        EpochRow.from_values(VALUES | {"lr": "x" * 10_000}, 3)
    assert len(str(error.value)) < 100


ROWS = [make_row(epoch, phase="alpha" if epoch < 3 else "retrain") for epoch in range(1, 6)]
LINES = [json.dumps(row.as_values()).encode() for row in ROWS]
WHOLE = b"".join(line + b"\n" for line in LINES)


def test_a_whole_file() -> None:
    assert parse_epoch_rows(WHOLE) == EpochRows(ROWS, None)
    assert parse_epoch_rows(b"") == EpochRows([], None)
    # A row counts once its last brace is there, even without its newline.
    assert parse_epoch_rows(WHOLE[:-1]) == EpochRows(ROWS, None)


@pytest.mark.parametrize(
    ("damaged", "rows", "problem"),
    [
        (WHOLE[:-9], 4, "line 5 is torn; it is left out"),
        (WHOLE[:-9] + b"\n", 4, r"line 5 is damaged (.*); it is left out"),
        (content(VALUES) + WHOLE, 0, r"line 1 is damaged (`epoch` must be 1, but is 3); it and the 5 after it are "),
        (WHOLE + b"\n", 5, r"line 6 is damaged (.*); it is left out"),
        (LINES[0] + b"\n\n" + LINES[1], 1, r"line 2 is damaged (.*); it and the 1 after it are left out"),
        (WHOLE + LINES[4], 5, "line 6 is torn; it is left out"),
        (LINES[0] + b"\n" + b"[" * 100_000 + b"\n", 1, "line 2 is damaged (nested too deeply); it is left out"),
        (LINES[0] + b"\n" + b"\xff\xfe\n", 1, r"line 2 is damaged (.*); it is left out"),
        (b"\0" * 64, 0, "line 1 is torn; it is left out"),
        (LINES[0] + b"\n" + b"9" * 5000 + b"\n", 1, r"line 2 is damaged (.*); it is left out"),
    ],
    ids=["torn", "cut", "before", "empty", "empty between", "twice", "deep", "no text", "zeros", "long"],
)
def test_the_problem_is_that_of_the_first_damaged_line(damaged: bytes, rows: int, problem: str) -> None:
    found = parse_epoch_rows(damaged)
    assert found.rows == ROWS[:rows]
    begin, *end = problem.split(".*")
    assert found.problem is not None
    assert found.problem.startswith(begin)
    assert not end or end[0] in found.problem
    assert "\n" not in found.problem


def test_a_file_cut_anywhere_loses_that_line_only() -> None:
    ends = [position + 1 for position, byte in enumerate(WHOLE) if byte == ord("}")]
    for length in range(len(WHOLE) + 1):
        whole = sum(end <= length for end in ends)
        in_a_line = length > 0 and WHOLE[length - 1 : length] not in (b"}", b"\n")
        found = parse_epoch_rows(WHOLE[:length])
        assert found.rows == ROWS[:whole]
        assert found.problem == (f"line {whole + 1} is torn; it is left out" if in_a_line else None)


@st.composite
def damaged_files(draw: st.DrawFn) -> tuple[int, bytes]:
    """How many rows come before the damage, and the file: cut, bytes replaced, lines lost, repeated or reordered."""
    kind = draw(st.sampled_from(["cut", "bytes", "inserted", "lines"]))
    if kind == "lines":
        order = draw(st.lists(st.integers(0, len(LINES) - 1), max_size=8))
        same = next((place for place, line in enumerate(order) if line != place), len(order))
        return same, b"".join(LINES[line] + b"\n" for line in order)
    place = draw(st.integers(0, len(WHOLE)))
    if kind == "cut":
        return WHOLE[:place].count(b"}"), WHOLE[:place]
    taken = 0 if kind == "inserted" else draw(st.integers(1, 8))
    put = draw(st.binary(max_size=8) | st.sampled_from([b"\n", b"NaN", b"null", b"7", b"}", b"1e999", b'"']))
    return WHOLE[:place].count(b"\n"), WHOLE[:place] + put + WHOLE[place + taken :]


@given(damaged_files())
def test_damage_leaves_a_prefix_and_is_reported_if_it_costs_anything(damaged: tuple[int, bytes]) -> None:
    unhurt, file = damaged
    rows, problem = parse_epoch_rows(file)
    lines = file.removesuffix(b"\n").split(b"\n") if file else []
    # What comes before the damage is unchanged, the rows are those of the first lines, and they are in order.
    assert rows[:unhurt] == ROWS[:unhurt]
    assert [row.epoch for row in rows] == list(range(1, len(rows) + 1))
    assert parse_epoch_rows(b"\n".join(lines[: len(rows)])) == EpochRows(rows, None)
    for row, line in zip(rows, lines, strict=False):
        assert {name: value for name, value in json.loads(line).items() if value is not None}.items() >= (
            row.as_values().items()
        )
        assert all(math.isfinite(getattr(row, name)) for name in REQUIRED)
    # Nothing is left out silently, and there is no complaint if nothing is left out.
    assert (problem is None) == (len(rows) == len(lines))
    if problem is not None:
        assert problem.startswith(f"line {len(rows) + 1} is ")
        after = len(lines) - len(rows) - 1
        assert problem.endswith(f"it and the {after} after it are left out" if after else "it is left out")
        # An intact and correct line would not have been left out: this one is not the next epoch's row.
        with pytest.raises((ValueError, RecursionError)):
            EpochRow.from_values(json.loads(lines[len(rows)].decode()), len(rows) + 1)

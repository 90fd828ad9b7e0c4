"""The dense network's record and rows: damage is named, new fields are ignored."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from records.dense import FILE_NAME, ROWS_NAME, DenseEpochRow, DenseRecord, read_dense_record, read_dense_rows
from records.files import append_json_line, write_json

RECORD = DenseRecord(
    hash="0123456789abcdef",
    epochs=6,
    train_loss=0.1 + 0.2,
    train_accuracy=0.99,
    val_loss=0.4,
    val_accuracy=0.94,
    widths=(4, 8),
    channels=12,
    parameters=500,
    macs=1000,
    seconds=12.5,
    device="cpu",
    threads=2,
    groups=("conv1", "conv2"),
    whole=("conv3: no batch normalisation comes after it",),
    created="2025-01-01T00:00:00.000+00:00",
)
ROWS = [
    DenseEpochRow(
        epoch=epoch,
        lr=0.1,
        train_loss=0.5,
        train_accuracy=0.6,
        val_loss=0.7,
        val_accuracy=epoch / 10,
        epoch_seconds=1.5,
    )
    for epoch in (1, 2, 3)
]


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    write_json(tmp_path / FILE_NAME, asdict(RECORD))
    assert read_dense_record(tmp_path) == RECORD


def test_a_record_may_lack_its_time_and_have_what_a_newer_version_adds(tmp_path: Path) -> None:
    values = {name: value for name, value in asdict(RECORD).items() if name != "created"}
    write_json(tmp_path / FILE_NAME, {**values, "energy_joules": 3})
    found = read_dense_record(tmp_path)
    assert replace(found, created=RECORD.created) == RECORD


def test_a_record_of_a_version_that_knew_no_groups_is_read(tmp_path: Path) -> None:
    values = {name: value for name, value in asdict(RECORD).items() if name not in ("groups", "whole")}
    write_json(tmp_path / FILE_NAME, values)
    assert read_dense_record(tmp_path) == replace(RECORD, groups=(), whole=())


OPTIONAL = ("created", "groups", "whole")


@pytest.mark.parametrize("missing", [name for name in asdict(RECORD) if name not in OPTIONAL])
def test_a_record_without_a_required_field_is_damaged(tmp_path: Path, missing: str) -> None:
    write_json(tmp_path / FILE_NAME, {name: value for name, value in asdict(RECORD).items() if name != missing})
    with pytest.raises(ValueError, match=rf"^{tmp_path / FILE_NAME} is damaged: {missing}: "):
        read_dense_record(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", '{"hash": 3}'),
        *(json.dumps(asdict(RECORD) | {"macs": macs}) for macs in (-1, 2**63, 9e3)),
        *(json.dumps(asdict(RECORD) | {"val_accuracy": accuracy}) for accuracy in (math.nan, math.inf)),
    ],
)
def test_a_damaged_record_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE_NAME).write_text(content)
    with pytest.raises(ValueError, match=rf"^{tmp_path / FILE_NAME} is damaged: "):
        read_dense_record(tmp_path)


def test_a_missing_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"^{tmp_path / FILE_NAME} is missing$"):
        read_dense_record(tmp_path)
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(ValueError, match=rf"^{tmp_path / FILE_NAME} cannot be read: Is a directory$"):
        read_dense_record(tmp_path)


def test_rows_are_read_up_to_the_first_damaged_one(tmp_path: Path) -> None:
    assert read_dense_rows(tmp_path) == []
    for row in ROWS:
        append_json_line(tmp_path / ROWS_NAME, asdict(row))
    assert read_dense_rows(tmp_path) == ROWS
    whole = (tmp_path / ROWS_NAME).read_bytes()
    (tmp_path / ROWS_NAME).write_bytes(whole[:-9])
    assert read_dense_rows(tmp_path) == ROWS[:2]
    lacking = {name: value for name, value in asdict(ROWS[1]).items() if name != "val_accuracy"}
    lines = [asdict(ROWS[0]), lacking, asdict(ROWS[2])]
    (tmp_path / ROWS_NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_dense_rows(tmp_path) == ROWS[:1]

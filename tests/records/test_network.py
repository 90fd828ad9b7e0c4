"""arch.json: what it must say for a network to be loaded from it."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from records.network import FILE_NAME, NetworkRecord, read_network_record, write_network_record

RECORD = NetworkRecord(
    network="vgg16", widths=(4,) * 13, classes=10, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25), sha256="ab" * 32
)


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    write_network_record(tmp_path, RECORD)
    assert read_network_record(tmp_path) == RECORD


def test_a_record_from_before_the_digest_is_read(tmp_path: Path) -> None:
    write_network_record(tmp_path, RECORD)
    values = json.loads((tmp_path / FILE_NAME).read_text())
    del values["digest"]
    (tmp_path / FILE_NAME).write_text(json.dumps(values))
    assert read_network_record(tmp_path) == RECORD


NONSENSE: list[dict[str, Any]] = [
    {"std": [0, 0, 0]},
    {"std": [0.2, -0.3, 0.2]},
    {"std": "abc"},
    {"std": [0.2, 0.2]},
    {"mean": [math.inf, 0, 0]},
    {"mean": [math.nan, 0, 0]},
    {"mean": None},
    {"widths": [4.0] * 13},
    {"widths": [0] * 13},
    {"widths": 4},
    {"widths": [10**9] * 13},
    {"classes": 0},
    {"classes": "10"},
    {"network": 16},
    {"network": None},
    {"arguments": []},
    {"width": 0},
    {"width": math.nan},
    {"image_size": 0},
    {"image_size": 32.5},
    {"image_size": 10**9},
]


@pytest.mark.parametrize("digest", [True, False])
@pytest.mark.parametrize("changed", NONSENSE, ids=repr)
def test_nonsense_is_refused_with_and_without_a_digest(tmp_path: Path, changed: dict[str, Any], digest: bool) -> None:
    write_network_record(tmp_path, RECORD)
    values = json.loads((tmp_path / FILE_NAME).read_text()) | changed
    if not digest:
        del values["digest"]
    (tmp_path / FILE_NAME).write_text(json.dumps(values))
    with pytest.raises(ValueError, match=rf"^{tmp_path / FILE_NAME} is damaged: "):
        read_network_record(tmp_path)


def test_a_plausible_change_is_noticed_by_the_digest(tmp_path: Path) -> None:
    write_network_record(tmp_path, RECORD)
    values = json.loads((tmp_path / FILE_NAME).read_text())
    (tmp_path / FILE_NAME).write_text(json.dumps(values | {"mean": [0.9, 0.9, 0.9]}))
    with pytest.raises(ValueError, match="does not match its digest"):
        read_network_record(tmp_path)
    write_network_record(tmp_path, replace(RECORD, mean=(0.9, 0.9, 0.9)))
    assert read_network_record(tmp_path).mean == (0.9, 0.9, 0.9)

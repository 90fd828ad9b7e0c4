"""A digest depends on the values of a record, and every changed digit changes it."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from records.digest import check_digest, compute_digest
from records.files import write_record

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.dictionaries(st.text(), JSON), st.integers(0, 3))
def test_a_digest_depends_on_the_values_and_not_on_how_they_are_written(values: dict[str, Any], indent: int) -> None:
    again = json.loads(json.dumps(values, indent=indent))
    assert compute_digest(again) == compute_digest(values)
    values.pop("digest", None)
    check_digest({**values, "digest": compute_digest(values)})


def test_each_changed_digit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "dense.json"
    write_record(path, {"epochs": 12, "val_accuracy": 0.7315, "widths": [64, 128], "hash": "01ab"})
    text = path.read_text()
    places = [place for place, letter in enumerate(text) if letter.isdigit()]
    assert len(places) > 12
    for place in places:
        changed = text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :]
        with pytest.raises(ValueError, match="does not match its digest"):
            check_digest(json.loads(changed))


def test_a_record_without_a_digest_is_an_older_one() -> None:
    check_digest({"epochs": 12})

"""Configurations of any shape become columns of plain types, and what stands in a record is what stands in a column."""

import json
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from experiments import ExperimentBuilder
from hypothesis import given
from hypothesis import strategies as st

import analysis
from analysis.columns import RANKING_COLUMNS
from analysis.tables.configs import build_config_table
from analysis.tables.trials import RESERVED, SCHEMA
from records.files import read_json, write_json

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(max_size=3),
    st.lists(st.integers(0, 3), max_size=2),
)
keys = st.sampled_from(["a", "b", "alpha", "state", "", "a.b"])
trees = st.recursive(leaves, lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=8)
configs = st.lists(st.dictionaries(keys, trees, max_size=4), max_size=5)


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The leaves by their paths; of two of one path the one that is not unknown."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        name = prefix + key
        of_key = flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
        found |= {path: leaf for path, leaf in of_key.items() if leaf is not None or path not in found}
    return found


@given(configs)
def test_every_leaf_of_every_configuration_is_in_its_column(configs: list[dict[str, Any]]) -> None:
    table = build_config_table(configs, RESERVED)
    rows = [flat(config) for config in configs]
    paths = {f"config.{path}" if path == "state" else path for row in rows for path in row}
    assert table.column_names == sorted(paths)
    for name in table.column_names:
        path = name.removeprefix("config.")
        of_row = [row.get(path) for row in rows]
        kinds = {type(value) for value in of_row} - {type(None)}
        values = table[name].to_pylist()
        if any(path != other and path.replace(".", "") == other.replace(".", "") for row in rows for other in row):
            continue  # `a.b` and `a` with `b` in it: whose leaf counts is not said
        if pa.types.is_string(table.schema.field(name).type):
            assert values == [value if value is None or type(value) is str else json.dumps(value) for value in of_row]
        else:
            assert values == of_row
            assert len(kinds) <= 1 or kinds == {int, float}


@pytest.mark.parametrize(
    ("values", "kind", "column"),
    [
        ([True, False], "bool", [True, False]),
        ([True, None], "object", [True, None]),
        ([1, 2], "int64", [1, 2]),
        ([1, None], "float64", [1.0, None]),
        ([1, 0.5], "float64", [1.0, 0.5]),
        (["x", None], "str", ["x", None]),
        ([None, None], "object", [None, None]),
        ([[1, 2], []], "str", ["[1, 2]", "[]"]),
        (["cosine", 3], "str", ["cosine", "3"]),
        ([True, 3], "str", ["true", "3"]),
        ([2**70, 3], "str", [str(2**70), "3"]),
        ([10**400, 0.5], "str", [f"1{'0' * 400}", "0.5"]),
        ([2**53, 0.5], "float64", [2.0**53, 0.5]),
        ([2**53 + 1, 0.5], "str", ["9007199254740993", "0.5"]),
        ([2**63 - 1, -(2**63)], "int64", [2**63 - 1, -(2**63)]),
    ],
)
def test_a_leaf_is_of_a_plain_type(builder: ExperimentBuilder, values: list[Any], kind: str, column: list[Any]) -> None:
    for number, value in enumerate(values):
        write_json(
            builder.add_trial(number).record_path, {"number": number, "config": {"x": value}, "state": "running"}
        )
    found = analysis.load(builder.path).trials["x"]
    assert found.dtype == kind
    assert [None if pd.isna(value) else value for value in found] == column


def test_no_column_of_a_configuration_stands_in_the_way_of_another() -> None:
    others = {*SCHEMA.names, *RANKING_COLUMNS, "experiment"}
    table = build_config_table([dict.fromkeys(others, 1)], RESERVED)
    assert set(table.column_names) == {f"config.{name}" for name in others}


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-01-02T03:04:05.678+00:00", "2026-01-02T03:04:05.678Z"),
        ("2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05Z"),
        ("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123456Z"),
        ("2026-01-02T03:04:05", "2026-01-02T03:04:05Z"),
        ("2026-01-02", "2026-01-02T00:00:00Z"),
        ("0001-01-01T00:00:00+14:00", None),
        ("2026-13-02T03:04:05Z", None),
        ("", None),
    ],
)
def test_times_are_read_as_iso_8601_in_utc(builder: ExperimentBuilder, text: str, time: str | None) -> None:
    trial = builder.add_trial(0)
    write_json(trial.record_path, read_json(trial.record_path) | {"finished": text})
    builder.add_trial(1, finished="2026-01-02T03:04:05.678+00:00")
    experiment = analysis.load(builder.path)
    assert experiment.trials.loc[1, "finished"] == pd.Timestamp("2026-01-02T03:04:05.678Z")
    found = experiment.trials.loc[0, "finished"]
    if time is None:
        assert pd.isna(found)
        assert experiment.problems == [f"trials/00000/trial.json: {text!r} is no time"]
    else:
        assert found == pd.Timestamp(time)
        assert experiment.problems == []


def test_seconds_are_unknown_if_those_of_an_epoch_are(builder: ExperimentBuilder) -> None:
    builder.add_trial(0)
    builder.add_trial(1, state="running", accuracies=())
    path = builder.add_trial(2).rows_path
    path.write_bytes(path.read_bytes().replace(b"2.25", b"null", 1))
    seconds = analysis.load(builder.path).trials["seconds"]
    assert seconds.fillna(-1).tolist() == [6.75, 0.0, -1]

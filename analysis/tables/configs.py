"""The trials' configurations as columns: one a leaf of the trees, whatever shapes these have."""

import json
from collections.abc import Collection, Sequence
from typing import Any

import pyarrow as pa

_EXACT = 2**53  # up to here each whole number is a float


def build_config_table(
    configs: Sequence[dict[str, Any]], reserved: Collection[str] = (), left_out: Collection[str] = ()
) -> pa.Table:
    """A column a leaf of the configurations, called by its path, sorted; what a configuration lacks is null.

    Args:
        reserved: names of other columns; a leaf that is called so becomes `config.<name>`.
        left_out: leaves that another column has.
    """
    columns: dict[str, list[Any]] = {}
    for row, config in enumerate(configs):
        for path, value in list_leaves(config):
            if path in left_out:
                continue
            if path not in columns:
                columns[path] = [None] * len(configs)
            if value is not None:  # a key that contains a dot may give the path of another leaf
                columns[path][row] = value
    named = {f"config.{path}" if path in reserved else path: values for path, values in columns.items()}
    names = sorted(named)
    return pa.table([_plain_array(named[name]) for name in names], names=names)


def list_leaves(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """The leaves of a tree of settings, each with its dotted path."""
    leaves: list[tuple[str, Any]] = []
    for key, value in tree.items():
        if type(value) is dict:
            leaves += list_leaves(value, f"{prefix}{key}.")
        else:
            leaves.append((prefix + key, value))
    return leaves


def _plain_array(values: list[Any]) -> pa.Array:
    """The values of one leaf in a plain type: truth values, whole numbers, numbers; else text, if need be JSON."""
    kinds = set(map(type, values)) - {type(None)}
    if not kinds or kinds in ({str}, {bool}, {float}):
        return pa.array(values)
    known = [value for value in values if value is not None]
    if kinds == {int} and min(known) >= -(2**63) and max(known) < 2**63:
        return pa.array(values, pa.int64())
    if kinds == {int, float} and all(type(value) is float or abs(value) <= _EXACT for value in known):
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return pa.array(
        [value if value is None or type(value) is str else json.dumps(value) for value in values], pa.string()
    )

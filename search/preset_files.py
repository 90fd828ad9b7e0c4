"""Presets: TOML files with settings, shipped or one's own, each of which may extend another.

Nothing is checked here but that a file is TOML, so that help and completion need not wait for the settings' classes.
"""

import os
import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from search.nearest import suggest_nearest

# The key with which a preset says what it builds on.
EXTENDS = "extends"
# Tables whose other settings depend on one of them.
_TAGS: dict[tuple[str, ...], str] = {("trial", "alpha"): "family", ("trial", "lr"): "policy"}


@cache
def list_presets() -> tuple[str, ...]:
    """The names of the shipped presets, sorted."""
    names = (path.name for path in files("search.presets").iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


@cache
def summarize_presets() -> dict[str, str]:
    """What each shipped preset is for, by name: the comment on the first line of its file."""
    return {name: _read_shipped(name).splitlines()[0].removeprefix("#").strip() for name in list_presets()}


def read_preset(preset: str) -> dict[str, Any]:
    """The settings in a shipped preset or a TOML file and in what it extends, not yet checked.

    `extends` names a shipped preset, or a TOML file relative to the one that it is in. A value of the extending file
    replaces that of the extended one, key by key in all tables; where it selects another family of schedules or policy
    of learning rates, that starts from its own defaults.

    Raises:
        ValueError: if there is neither, a file is not TOML, or a file extends itself.
    """
    return _read_extended(preset, Path(), "PRESET", ())


def _read_extended(preset: str, folder: Path, what: str, readers: tuple[str, ...]) -> dict[str, Any]:
    """As read_preset.

    folder: that `preset` is relative to. what: the argument or the key that names it. readers: the files that extend
    it, directly or not, the outermost first.
    """
    if preset in list_presets():
        path, own = Path(), preset
        text = _read_shipped(preset)
    else:
        path = folder / preset
        if not (preset.endswith(".toml") and os.path.isfile(path)):  # noqa: PTH113  a name too long for a file is none
            raise ValueError(
                f"{what} must be one of {', '.join(list_presets())}, or a TOML file that exists, but got {preset!r}"
                + suggest_nearest(preset, list_presets())
            )
        text, own = _read_text(path), os.path.realpath(path)
    if own in readers:
        circle = " extends ".join(repr(Path(each).name) for each in (*readers[readers.index(own) :], own))
        raise ValueError(f"no preset may extend itself, but {circle}; take one `{EXTENDS}` out")
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path if path.name else preset} is not valid TOML: {error}") from error
    base = values.pop(EXTENDS, None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise ValueError(f"`{EXTENDS}` in {path} must be the name of a preset or a TOML file, but got {base!r}")
    extended = _read_extended(base, path.parent, f"`{EXTENDS}` in {path}", (*readers, own))
    return _merge_tables(extended, values)


def _merge_tables(base: dict[str, Any], values: dict[str, Any], path: tuple[str, ...] = ()) -> dict[str, Any]:
    """The table `base` with `values` over it; path: of the table, from the outermost."""
    tag = _TAGS.get(path)
    if tag is not None and tag in values and values[tag] != base.get(tag):
        return values  # the parameters of another family or policy would not fit
    merged = dict(base)
    for key, value in values.items():
        before = base.get(key)
        both_tables = isinstance(before, dict) and isinstance(value, dict)
        merged[key] = _merge_tables(before, value, (*path, key)) if both_tables else value  # type: ignore[arg-type]
    return merged


def _read_shipped(name: str) -> str:
    return files("search.presets").joinpath(f"{name}.toml").read_text("utf-8")


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")  # some editors write a byte order mark
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} must be UTF-8 text, but has byte {error.object[error.start]:#04x} in position "
            f"{error.start}; save it as UTF-8"
        ) from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error

"""`--set section.key=value`: the value is TOML, except that words and paths need no quotes."""

import re
import tomllib
from typing import Any

# What is taken as text without quotes: words and paths. Only a setting that is text may begin with a digit or have
# commas in it: elsewhere `0.5.1` or `1,2` is a mistake.
_WORD = re.compile(r"[^\W\d][\w .:/~@+()-]*|[./~][\w .:/~@+()-]*")
_ANY_WORD = re.compile(r"[\w./~][\w .:/~@+(),-]*")


def apply_override(tree: dict[str, Any], override: str) -> None:
    """Sets what `override` ("section.key=value") says in `tree`, the settings as JSON.

    Raises:
        ValueError: if it is of another form.
        KeyError: with the whole key, if `tree` has no such section.
    """
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise ValueError(f"--set takes section.key=value, but got {override!r}")
    section, key = _find_section(tree, path)
    set_value(tree, path, parse_value(text, is_text=isinstance(section.get(key), str), override=override))


def set_value(tree: dict[str, Any], path: str, value: Any) -> None:
    """Sets section.key to `value` in `tree`; raises KeyError with the whole key if it has no such section."""
    section, key = _find_section(tree, path)
    if key in ("family", "policy") and section.get(key) != value:
        section.clear()  # a different family has different parameters and starts from its own defaults
    section[key] = value


def parse_value(text: str, *, is_text: bool, override: str) -> Any:
    """What is after the = of an override: a TOML value, or a bare word or path, which needs no quotes.

    is_text: whether the setting is text, so that a word may begin with a digit.
    """
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError) as error:
        # A shell should not require a second pair of quotes; but a broken list or number is no word.
        if (_ANY_WORD if is_text else _WORD).fullmatch(text):
            return text
        reason = str(error).partition(" (at ")[0]
        raise ValueError(
            f"--set takes section.key=value with a TOML value or a bare word, but got {override!r}: {reason}"
        ) from error
    if parsed.keys() != {"value"}:
        raise ValueError(f"--set takes section.key=value with one value, but got {override!r}")
    return parsed["value"]


def _find_section(tree: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    """The table that the setting at `path` is in, and its key there."""
    *sections, key = path.split(".")
    for section in sections:
        if not isinstance(tree.get(section), dict):
            raise KeyError(path)
        tree = tree[section]
    return tree, key

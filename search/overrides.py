"""The values of `--set section.key=value`: TOML, except that words and paths need no quotes."""

import re
import tomllib
from typing import Any

# What is taken as text without quotes: words and paths. Only a setting that is text may begin with a digit or have
# commas in it: elsewhere `0.5.1` or `1,2` is a mistake.
_WORD = re.compile(r"[^\W\d][\w .:/~@+()-]*|[./~][\w .:/~@+()-]*")
_ANY_WORD = re.compile(r"[\w./~][\w .:/~@+(),-]*")


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

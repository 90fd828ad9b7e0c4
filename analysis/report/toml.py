"""Settings as TOML, which `alphaprune run` takes."""

import re
from collections.abc import Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def as_toml(settings: Mapping[str, Any]) -> str:
    """JSON objects within one another as TOML, a table an object; null, which TOML does not have, is left out."""
    return "\n".join(_tables(settings, ())).strip("\n") + "\n"


def _tables(values: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    plain = {key: value for key, value in values.items() if value is not None and not isinstance(value, dict)}
    lines = ["", f"[{'.'.join(map(_key, path))}]"] if path and (plain or not values) else []
    lines += [f"{_key(key)} = {_value(value)}" for key, value in plain.items()]
    for key, value in values.items():
        if isinstance(value, dict):
            lines += _tables(value, (*path, key))
    return lines


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _text(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return f"[{', '.join(_value(each) for each in value if each is not None)}]"
    if isinstance(value, dict):
        inside = (f"{_key(key)} = {_value(each)}" for key, each in value.items() if each is not None)
        return f"{{{', '.join(inside)}}}"
    return repr(value)


def _text(text: str) -> str:
    # What cannot be seen, which could turn the reading direction of what follows, is escaped.
    return '"' + "".join(map(_character, text)) + '"'


def _character(character: str) -> str:
    code = ord(character)
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    # A lone half of a surrogate pair, which JSON can have and TOML cannot.
    code = 0xFFFD if 0xD800 <= code < 0xE000 else code
    return f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"

"""How the report says things: names, percentages, points and lists, in sentences."""

import math
from collections.abc import Sequence
from typing import Any

from analysis.labels import percentage
from analysis.text import printable

CONTROLS = {
    "one_shot": "one-shot pruning",
    "random_channels": "pruning random channels",
    "from_scratch": "training from scratch",
}


def plain(text: str, longest: int = 120) -> str:
    """Text out of a record on one line of at most `longest` characters, all of them printable."""
    shown = printable(text[: 4 * longest])
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def control_name(control: str) -> str:
    """A kind of control as a sentence has it."""
    return CONTROLS.get(control) or f"“{plain(control, 40)}”"


def family_name(family: Any) -> str:
    """A family of schedules as a sentence has it."""
    return plain(family, 40).replace("_", "-") if isinstance(family, str) else "unnamed"


def share(fraction: float) -> str:
    """About how much, such as a cut: `75 %`, `87.5 %`; of nearly all `99.9 %`."""
    digits = 0 if abs(100 * fraction - round(100 * fraction)) < 0.25 and not 0.995 <= fraction < 1 else 1
    return percentage(fraction, digits)


def points(difference: float, digits: int = 1) -> str:
    """The size of a difference between two fractions in points of a percentage, without its sign: `0.6`."""
    return f"{abs(100 * difference):.{digits}f}"


def listed(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


def sentence_case(text: str) -> str:
    """The text with its first letter large."""
    return text[:1].upper() + text[1:]


def whole(value: float) -> int | None:
    """A count out of a record; None where it is not known or none."""
    return None if math.isnan(value) or value < 0 else int(value)

"""How values look to a person. A record someone was sent must not steer the reader's terminal."""

import math

UNKNOWN = "-"


def printable(text: str) -> str:
    """`text` on one line, with what a terminal would take as a command (escapes, other control codes) replaced."""
    return "".join(character if character.isprintable() else "�" for character in " ".join(text.split()))


def percent(fraction: float, digits: int) -> str:
    """A fraction as the number of its percentage (0.9396 as 93.96); UNKNOWN for NaN."""
    # Adding 0.0 makes a negative zero, which is what a tiny gain rounds to, a plain one.
    return UNKNOWN if math.isnan(fraction) else f"{round(100 * fraction, digits) + 0.0:.{digits}f}"

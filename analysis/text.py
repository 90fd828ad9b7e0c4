"""How values look to a person. A record someone was sent must not steer the reader's terminal."""

import math
from collections.abc import Sequence

UNKNOWN = "-"


def printable(text: str) -> str:
    """`text` on one line, with what a terminal would take as a command (escapes, other control codes) replaced."""
    return replace_controls(" ".join(text.split()))


def replace_controls(text: str) -> str:
    """`text` with all its lines and spaces, but with what a terminal would take as a command replaced."""
    return "".join(character if character.isprintable() or character == "\n" else "�" for character in text)


def shorten_text(text: str, longest: int = 120) -> str:
    """`text` made printable, with an ellipsis in place of what is beyond `longest` characters."""
    shown = printable(text[: 4 * longest])
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def first_line(error: object) -> str:
    """The first line of an error out of a record, of at most 400 characters."""
    lines = error.strip().splitlines() if isinstance(error, str) else []
    return shorten_text(lines[0], 400) if lines else "no error was recorded"


def percent_number(fraction: float, digits: int) -> str:
    """A fraction as the number of its percentage, for where the unit stands elsewhere (0.9396 as 93.96)."""
    # Adding 0.0 makes a negative zero, which is what a tiny gain rounds to, a plain one.
    return UNKNOWN if math.isnan(fraction) else f"{round(100 * fraction, digits) + 0.0:.{digits}f}"


def format_percent(fraction: float, digits: int = 2) -> str:
    """0.9965 as `99.65%`; UNKNOWN for NaN."""
    number = percent_number(fraction, digits)
    return number if number == UNKNOWN else f"{number}%"


def format_share(fraction: float) -> str:
    """About how much, such as a cut: `75%`, `87.5%`; of nearly all `99.9%`."""
    digits = 0 if abs(100 * fraction - round(100 * fraction)) < 0.25 and not 0.995 <= fraction < 1 else 1
    return format_percent(fraction, digits)


def format_points(difference: float, digits: int = 1) -> str:
    """The size of a difference between two fractions in percentage points, without its sign: `0.6`."""
    return f"{abs(100 * difference):.{digits}f}"


def format_count(number: int, thing: str, verb: str = "", plural_verb: str = "") -> str:
    """`1 trial`, `3 trials`, `2 alpha policies`, `2 branches`; with verbs `1 trial has`, `3 trials have`."""
    plural = (
        f"{thing[:-1]}ies" if thing.endswith("cy") else f"{thing}es" if thing in ("branch", "class") else f"{thing}s"
    )
    return " ".join(
        filter(None, (f"{number:,}", thing if number == 1 else plural, verb if number == 1 else plural_verb))
    )


def format_duration(seconds: float) -> str:
    """`75 s`, `12 min`, `3.5 h`, `2.1 days`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def join_words(items: Sequence[str], word: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return f" {word} ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


def capitalize_first(text: str) -> str:
    """The text with its first letter large and all others as they are."""
    return text[:1].upper() + text[1:]

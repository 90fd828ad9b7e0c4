import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.text import (
    capitalize_first,
    first_line,
    format_count,
    format_duration,
    format_percent,
    format_points,
    format_share,
    join_words,
    percent_number,
    printable,
    shorten_text,
)


@pytest.mark.parametrize(
    ("fraction", "digits", "text"),
    [
        (0.9396, 2, "93.96"),
        (0.5, 1, "50.0"),
        (-0.00001, 2, "0.00"),
        (-0.0123, 2, "-1.23"),
        (math.nan, 2, "-"),
        (1, 1, "100.0"),
    ],
)
def test_percentages(fraction: float, digits: int, text: str) -> None:
    assert percent_number(fraction, digits) == text
    assert format_percent(fraction, digits) == (text if text == "-" else f"{text}%")


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0.75, "75%"), (0.752, "75%"), (0.755, "75.5%"), (0.9999, "100.0%"), (0.999, "99.9%"), (1, "100%"), (0, "0%")],
)
def test_shares(fraction: float, text: str) -> None:
    assert format_share(fraction) == text


@pytest.mark.parametrize(
    ("items", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_lists(items: list[str], text: str) -> None:
    assert join_words(items) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (5400, "1.5 h"), (200_000, "2.3 days")]
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_counts() -> None:
    assert [format_count(1, "trial"), format_count(1200, "trial")] == ["1 trial", "1,200 trials"]
    assert format_count(2, "learning-rate policy") == "2 learning-rate policies"


def test_points_have_no_sign() -> None:
    assert format_points(-0.0061) == format_points(0.0061) == "0.6"


def test_only_the_first_letter_is_made_large() -> None:
    assert [capitalize_first("a MAC"), capitalize_first("")] == ["A MAC", ""]


def test_an_error_is_told_by_its_first_line() -> None:
    assert first_line("\n CUDA error\nat line 3") == "CUDA error"
    assert first_line("\n") == first_line(None) == first_line(math.nan) == "no error was recorded"


def test_printable_is_one_line_without_control_codes() -> None:
    assert printable("a\r\n\tb \x1b[31mc\x9b2J é ★") == "a b \ufffd[31mc\ufffd2J é ★"


@given(st.text(max_size=2000), st.integers(1, 100))
def test_texts_are_short_and_printable(text: str, longest: int) -> None:
    shown = shorten_text(text, longest)
    assert len(shown) <= longest
    assert shown.isprintable()

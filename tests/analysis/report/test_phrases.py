import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.report.phrases import control_name, family_name, listed, plain, points, share


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (0.75, "75 %"),
        (0.752, "75 %"),
        (0.755, "75.5 %"),
        (0.9999, "100.0 %"),
        (0.999, "99.9 %"),
        (1, "100 %"),
        (0, "0 %"),
    ],
)
def test_shares(fraction: float, text: str) -> None:
    assert share(fraction) == text


@pytest.mark.parametrize(
    ("items", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_lists(items: list[str], text: str) -> None:
    assert listed(items) == text


def test_points_have_no_sign() -> None:
    assert points(-0.0061) == points(0.0061) == "0.6"


def test_names() -> None:
    assert control_name("from_scratch") == "training from scratch"
    assert control_name("mine\n<b>") == "“mine <b>”"
    assert family_name("time_based") == "time-based"
    assert family_name(None) == "unnamed"


@given(st.text(max_size=2000), st.integers(1, 100))
def test_texts_are_short_and_printable(text: str, longest: int) -> None:
    shown = plain(text, longest)
    assert len(shown) <= longest
    assert shown.isprintable()

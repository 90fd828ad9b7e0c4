"""Words and paths need no quotes; what looks like TOML must be TOML."""

from typing import Any

import pytest

from search.overrides import parse_value
from search.settings import resolve_settings

WORDS = ["cosine", "one_shot", "True", "Bücher", "my_space:space", "host.domain:3000"]
PATHS = ["some/folder", "./digits", "/data/cifar-10", "~/data", "../x", "my folder/x (1)", "user@host.d/x+y"]
UNFINISHED = ["[0.5,", "[0.5, 0.75", "{a", "{a = 1", '"open', "'open", "x]", "[" * 5000, "", " "]
NO_WORDS = ["[a]", "[a, b]", "a = b", "<x>", "1\n2", "x\ny = 3", "=", "'a' 'b'", "$HOME", "`x`", "a;b"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-0.5", -0.5),
        ("1e-3", 0.001),
        ("true", True),
        ("[0.5, 0.75]", [0.5, 0.75]),
        ("'two words'", "two words"),
        ('"a=b"', "a=b"),
        ("{ a = 1 }", {"a": 1}),
        ("3 # epochs", 3),
    ],
)
@pytest.mark.parametrize("is_text", [True, False])
def test_toml_is_taken_as_toml(text: str, value: Any, is_text: bool) -> None:
    assert parse_value(text, is_text=is_text, override="") == value


@pytest.mark.parametrize("text", [*WORDS, *PATHS])
@pytest.mark.parametrize("is_text", [True, False])
def test_words_and_paths_need_no_quotes(text: str, is_text: bool) -> None:
    assert parse_value(text, is_text=is_text, override="") == text


@pytest.mark.parametrize("text", ["2024/march", "8bit", "0.5.1", "3 birds", "a,b"])
def test_a_setting_that_is_text_may_begin_with_a_digit(text: str) -> None:
    assert resolve_settings({}, [f"data.source={text}"]).data.source == text
    with pytest.raises(ValueError, match="--set takes"):
        resolve_settings({}, [f"space.options.amounts={text}"])


@pytest.mark.parametrize("text", [*UNFINISHED, *NO_WORDS])
@pytest.mark.parametrize("key", ["space.options.amounts", "data.source", "controls.amounts"])
def test_broken_toml_is_refused_with_the_value(key: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"^--set takes section\.key=value with ") as refused:
        resolve_settings({}, [f"{key}={text}"])
    assert repr(f"{key}={text}") in str(refused.value)


def test_a_number_with_too_many_digits_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^--set takes section\.key=value with "):
        resolve_settings({}, ["trial.epochs=" + "9" * 5000])


@pytest.mark.parametrize("text", ["3\nother = 4", "3\n[table]"])
def test_a_second_value_is_not_dropped(text: str) -> None:
    with pytest.raises(ValueError, match=r"with one value, but got 'trial\.epochs=3\\n"):
        resolve_settings({}, [f"trial.epochs={text}"])

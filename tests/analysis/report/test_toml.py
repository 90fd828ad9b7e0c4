import tomllib

from hypothesis import given
from hypothesis import strategies as st

from analysis.report.toml import as_toml
from search.settings import as_settings_json, presets, read_preset, resolve

text = st.text(st.characters(codec="utf-8"))
scalars = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | text
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3))


@given(st.dictionaries(text, values, max_size=4))
def test_toml_says_what_the_settings_say(settings: dict[str, object]) -> None:
    assert tomllib.loads(as_toml(settings)) == settings


def test_what_is_not_set_is_left_out() -> None:
    assert tomllib.loads(as_toml({"a": None, "b": {"c": None}, "d": {"e": 1, "f": [{"g": None}]}})) == {
        "d": {"e": 1, "f": [{}]}
    }


def test_every_preset_comes_back_from_its_report() -> None:
    for preset in presets():
        settings = resolve(read_preset(preset))
        assert resolve(tomllib.loads(as_toml(as_settings_json(settings)))) == settings

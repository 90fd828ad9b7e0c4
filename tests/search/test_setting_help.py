"""The list of settings is complete, has defaults and the values of a preset, and is what the docs show."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from search.preset_files import list_presets, read_preset
from search.setting_help import Setting, create_schema, list_sections, to_json, to_markdown, to_text
from search.settings import Settings, as_settings_json, resolve_settings
from trainable.schedules.lr_policies import Plateau

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def listed(settings: Settings | None = None) -> dict[str, Setting]:
    """By name; if several families have a setting of that name, the selected one."""
    return {
        setting.name: setting
        for section in list_sections(settings)
        if section.selected is not False
        for setting in section.settings
    }


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The leaves of a JSON object, by dotted name."""
    leaves = {}
    for key, value in values.items():
        table = isinstance(value, dict) and prefix + key not in ("space.options", "network.arguments")
        leaves.update(flat(value, f"{prefix}{key}.") if table else {prefix + key: value})
    return leaves


@pytest.mark.parametrize("preset", [None, *list_presets()])
def test_every_setting_is_listed_with_its_value(preset: str | None) -> None:
    settings = Settings() if preset is None else resolve_settings(read_preset(preset))
    names = {name: setting.value for name, setting in listed(settings).items() if not setting.required}
    assert names == flat(as_settings_json(settings))


def test_set_accepts_every_listed_setting() -> None:
    for setting in (setting for section in list_sections() for setting in section.settings):
        if setting.required or setting.default is None or setting.name == "trial.alpha.segments":
            continue  # neither none nor a JSON object is TOML
        overrides = ["=".join(setting.only_with)] if setting.only_with else []
        settings = resolve_settings({}, [*overrides, f"{setting.name}={json.dumps(setting.default)}"])
        assert flat(as_settings_json(settings))[setting.name] == setting.default


def test_every_setting_has_a_type_and_a_sentence() -> None:
    for section in list_sections():
        assert section.help.endswith(".")
        for setting in section.settings:
            assert setting.type
            assert setting.help.endswith(".")


def test_types_say_what_is_allowed() -> None:
    types = {name: setting.type for name, setting in listed().items()}
    assert types["trial.pruning.amount"] == "number > 0 and < 1"
    assert types["trial.pruning.of"] == '"macs", "parameters" or "channels"'
    assert types["trial.seed"] == "integer >= 0 and < 2^63"
    assert types["data.source"] == "text"
    assert types["data.flip"] == "true, false or none"
    assert types["resources.concurrency"] == "integer >= 1 or none"
    assert types["controls.amounts"] == "list of numbers > 0 and < 1"
    objectives = '"pruned_val_accuracy", "macs", "parameters" or "training_cost"'
    assert types["search.objectives"] == f"non-empty list of {objectives}"
    assert types["space.options"] == "table"


def test_every_family_lists_its_own_settings() -> None:
    rates = {
        setting.only_with: (setting.type, setting.default)
        for section in list_sections()
        for setting in section.settings
        if setting.name == "trial.alpha.rate"
    }
    assert rates["trial.alpha.family", "exponential"] == ("number >= 1 and <= 8", 3.0)
    assert rates["trial.alpha.family", "multiplicative"] == ("number >= 0.5 and <= 0.95", 0.7)
    titles = [section.title for section in list_sections()]
    assert titles.index('trial.alpha.family = "cosine"') < titles.index("trial.lr")
    assert 'trial.lr.policy = "stagnation_restart"' in titles
    every = [setting for section in list_sections() for setting in section.settings]
    assert {each.name for each in every if each.required} == {
        f"trial.alpha.segments[].{key}" for key in ("family", "rate", "ends_at")
    }


def test_a_selected_policy_is_compared_with_its_own_defaults() -> None:
    settings = replace(Settings(), trial=replace(Settings().trial, lr=Plateau(factor=0.5)))
    selected = [section.title for section in list_sections(settings) if section.selected]
    assert selected == ['trial.alpha.family = "exponential"', 'trial.lr.policy = "plateau"']
    assert {name for name, setting in listed(settings).items() if setting.differs} == {
        "trial.lr.policy",
        "trial.lr.factor",
    }


def test_nothing_differs_from_the_defaults_by_default() -> None:
    assert not any(setting.differs for section in list_sections() for setting in section.settings)
    assert not any(line.lstrip().startswith("* ") for line in to_text(list_sections(), 80).splitlines())


@pytest.mark.parametrize("width", [60, 80, 100])
@pytest.mark.parametrize("preset", list_presets())
def test_the_text_fits_the_terminal(preset: str, width: int) -> None:
    text = to_text(list_sections(resolve_settings(read_preset(preset))), width)
    assert max(map(len, text.splitlines())) <= width
    assert "\N{NO-BREAK SPACE}" not in text


def test_the_text_marks_what_differs() -> None:
    lines = to_text(list_sections(resolve_settings(read_preset("quickstart"))), 80).splitlines()
    assert "* dense.width = 0.25  (default: 1.0)" in lines
    assert "  dense.seed = 0" in lines
    assert '  trial.lr.policy = "cosine"  (selected)' in lines


def test_json_is_for_programs() -> None:
    rows = json.loads(to_json(list_sections(resolve_settings(read_preset("quickstart")))))
    by_name = {row["name"]: row for row in rows}
    assert by_name["dense.width"] == {
        "name": "dense.width",
        "type": "number > 0 and <= 4",
        "required": False,
        "default": 1.0,
        "value": 0.25,
        "differs": True,
        "only_with": None,
        "help": "Channels of each layer as a multiple of the published network's.",
    }
    assert by_name["trial.lr.rise"]["only_with"] == {"trial.lr.policy": "one_cycle"}


def test_the_docs_page_is_up_to_date() -> None:
    assert PAGE.read_text() == to_markdown(list_sections()), "run `make docs`"


def test_the_schema_takes_what_the_settings_take() -> None:
    validator = Draft202012Validator(create_schema())
    validator.check_schema(create_schema())
    for preset in list_presets():
        validator.validate(read_preset(preset))
    validator.validate({"extends": "quickstart", "trial": {"alpha": {"family": "cosine"}}})
    for wrong in ({"trial": {"epoch": 3}}, {"trails": {}}, {"trial": {"epochs": 0}}, {"extends": 3}):
        assert not validator.is_valid(wrong)


def test_the_schema_explains_every_setting_on_one_line() -> None:
    schema = create_schema()
    for kind in (schema, *schema["$defs"].values()):
        for field in kind["properties"].values():
            assert re.fullmatch(r"[^\n]+\.", field["description"])

"""Settings are resolved from presets and overrides; what is wrong is said in one line."""

from pathlib import Path

import pytest
from pydantic import TypeAdapter

from search.preset_files import list_presets, read_preset
from search.settings import Settings, as_settings_json, resolve_settings


@pytest.mark.parametrize("preset", ["quickstart", "cifar10", "cifar10-small", "resnet20-small", "resnet56-cifar10"])
def test_shipped_presets_resolve_and_come_back_from_json(preset: str) -> None:
    assert preset in list_presets()
    settings = resolve_settings(read_preset(preset))
    assert resolve_settings(as_settings_json(settings)) == settings


def test_every_field_has_one_sentence_of_help() -> None:
    """Even those not listed as settings: readers of the source or the JSON schema see them all."""
    schema = TypeAdapter(Settings).json_schema()
    kinds = {"Settings": schema, **schema["$defs"]}
    assert {"TrialConfig", "PruningConfig", "Segment", "StagnationRestart", "EarlyStoppingSettings"} <= set(kinds)
    for kind, parts in kinds.items():
        for name, field in parts["properties"].items():
            sentence = field.get("description", "")
            assert sentence.endswith("."), f"{kind}.{name}: {sentence!r}"
            assert ". " not in sentence, f"{kind}.{name}: {sentence!r}"


def test_each_amount_that_is_searched_has_its_controls() -> None:
    for preset in list_presets():
        settings = resolve_settings(read_preset(preset))
        if "amounts" in settings.space.options:
            assert set(settings.space.options["amounts"]) == set(settings.controls.amounts)


def test_a_toml_file_is_a_preset(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[trial]\nepochs = 7\n")
    assert resolve_settings(read_preset(str(path))).trial.epochs == 7


def test_overrides_are_toml_values_or_bare_words() -> None:
    settings = resolve_settings(
        {}, ["trial.epochs=9", "data.source=some/folder", "controls.kinds=['one_shot']", "trial.pruning.amount=0.6"]
    )
    assert settings.trial.epochs == 9
    assert settings.data.source == "some/folder"
    assert settings.controls.kinds == ("one_shot",)
    assert settings.trial.pruning.amount == 0.6


@pytest.mark.parametrize("name", ["📷", "a\x7fb", 'say "hi"', "back\\slash", "2024", "[x", "true", " "])
def test_a_flag_is_taken_as_it_is(name: str) -> None:
    """Unlike an override it is no TOML, in which an emoji or a quote is written in another way."""
    settings = resolve_settings({}, ["data.source=cifar10", "search.trials=3"], {"data.source": name})
    assert (settings.data.source, settings.search.trials) == (name, 3)


def test_a_flag_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^data `source` must be a name in UTF-8, but got 'gr\\udcf6sse'; rename"):
        resolve_settings({}, [], {"data.source": "gr\udcf6sse"})


def test_another_family_starts_from_its_own_defaults() -> None:
    settings = resolve_settings(
        {}, ["trial.alpha.rate=4", "trial.alpha.family=multiplicative", "trial.alpha.alpha_min=0.02"]
    )
    assert (settings.trial.alpha.family, settings.trial.alpha.rate) == ("multiplicative", 0.7)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("trial.alpha.rate=20", ["trial.alpha.rate", "less than or equal to 8", "20"]),
        ("trial.alpha.rate=0.5", ["trial.alpha.rate", "greater than or equal to 1", "0.5"]),
        ("trial.pruning.amout=0.5", ["trial.pruning.amout", "did you mean 'trial.pruning.amount'"]),
        ("serach.trials=3", ["serach.trials", "did you mean 'search.trials'"]),
        ("trials=3", ["unknown setting 'trials'", "did you mean 'search.trials'"]),
        ("trial.alpha.family=expnential", ["trial.alpha.family", "exponential", "'expnential'"]),
        ("trial.lr.policy=step", ["trial.lr.policy", "cosine_restarts", "'step'"]),
        ("trial.epochs=many", ["trial.epochs", "integer", "'many'"]),
        ("trial.epochs=0", ["trial.epochs", "greater than or equal to 1", "0"]),
        ("trial.initial=random", ["one_shot", "exponential"]),
        ("controls.amounts=[2.0]", ["controls.amounts", "less than 1", "2.0"]),
        ("trial.optimizer.momentum=nan", ["trial.optimizer.momentum", "finite", "nan"]),
        ("search.objectives=['accuracy']", ["search.objectives", "pruned_val_accuracy", "'accuracy'"]),
        ("resources", ["section.key=value", "'resources'"]),
        ("=3", ["section.key=value", "'=3'"]),
    ],
)
def test_errors_name_the_setting(override: str, says: list[str]) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the message is checked below
        resolve_settings(read_preset("quickstart"), [override])
    message = str(caught.value)
    assert "\n" not in message
    for words in says:
        assert words in message


def test_a_schedule_without_a_family_is_refused() -> None:
    with pytest.raises(ValueError, match=r"trial\.alpha\.family must be one of exponential, .* but got none"):
        resolve_settings({"trial": {"alpha": {"rate": 3}}})


@pytest.mark.parametrize("value", ["2024-01-01", "12:30:00", "inf", "nan", "[1, [nan]]", "{a = 1979-05-27T07:32:00Z}"])
def test_options_that_a_resumed_search_would_not_get_back_are_refused(value: str) -> None:
    with pytest.raises(
        ValueError, match=r"^space `options` must be text, finite numbers, .* lists or tables of them: "
    ):
        resolve_settings({}, [f"space.options.odd={value}"])
    odd = resolve_settings({}, ["space.options.odd={a = [1, 0.5, true, 'x']}"]).space.options["odd"]
    assert odd == {"a": [1, 0.5, True, "x"]}

"""The settings of an experiment: a preset or a TOML file, overridden by the command line, and checked whole."""

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import field, fields, is_dataclass
from difflib import SequenceMatcher
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from trainable.config import DataConfig, DenseConfig, Seed, TrialConfig
from trainable.schedules.alpha import STRICT, AlphaSchedule
from trainable.schedules.lr_policies import LRPolicy

Objective = Literal["pruned_val_accuracy", "macs", "parameters"]
ControlKind = Literal["one_shot", "random_channels", "from_scratch"]
KINDS: tuple[ControlKind, ...] = ("one_shot", "random_channels", "from_scratch")


@dataclass(frozen=True, config=STRICT)
class SpaceSettings:
    """What may be tried: `function` (package.module:function) makes a TrialConfig, given `options` as keywords."""

    function: str = "spaces.alpha_pruning:alpha_pruning"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, config=STRICT)
class ControlSettings:
    """What alpha has to beat, at the same budget: each of `kinds` at each of `amounts` (as pruning.amount)."""

    kinds: tuple[ControlKind, ...] = KINDS
    amounts: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.5, 0.75)


@dataclass(frozen=True, config=STRICT)
class EarlyStoppingSettings:
    """Asynchronous successive halving on the search's objectives (MO-ASHA where there are several), never of controls.

    The first rung is at `first` (in (0, 1)) of a trial's epochs; from rung to rung 1 / `reduction` of the trials goes
    on and the epochs grow by `reduction`. Gentle by default: before a third of the epochs accuracy foretells little.
    """

    enabled: bool = True
    first: Annotated[float, Field(gt=0, lt=1)] = 0.34
    reduction: Annotated[float, Field(gt=1)] = 1.5


@dataclass(frozen=True, config=STRICT)
class SearchSettings:
    """How many trials besides the controls, what the study optimises (accuracy up, costs down), and its seed.

    max_failures: how often a trial that crashed is started again, from its newest checkpoint.
    keep_at_alpha: the checkpoint of a trial's first epoch at or below each of these alphas is kept, to branch from.
    """

    trials: Annotated[int, Field(ge=0)] = 50
    objectives: Annotated[tuple[Objective, ...], Field(min_length=1)] = ("pruned_val_accuracy", "macs")
    seed: Seed = 0
    max_failures: Annotated[int, Field(ge=0)] = 2
    keep_at_alpha: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = ()
    early_stopping: EarlyStoppingSettings = field(default_factory=EarlyStoppingSettings)


@dataclass(frozen=True, config=STRICT)
class ResourceSettings:
    """What a trial gets.

    gpus_per_trial: None is a quarter where there are GPUs, else none. concurrency: None is as many as fit.
    """

    cpus_per_trial: Annotated[int, Field(ge=1)] = 1
    gpus_per_trial: Annotated[float, Field(ge=0)] | None = None
    concurrency: Annotated[int, Field(ge=1)] | None = None


@dataclass(frozen=True, config=STRICT)
class ResultSettings:
    """What follows when all trials have ended: measuring the front and the controls, and the HTML report."""

    measure: bool = True
    report: bool = True


@dataclass(frozen=True, config=STRICT)
class Settings:
    """All that makes an experiment. `trial` is what controls are made of and what the space varies."""

    data: DataConfig = field(default_factory=DataConfig)
    dense: DenseConfig = field(default_factory=DenseConfig)
    trial: TrialConfig = field(default_factory=TrialConfig)
    space: SpaceSettings = field(default_factory=SpaceSettings)
    controls: ControlSettings = field(default_factory=ControlSettings)
    search: SearchSettings = field(default_factory=SearchSettings)
    resources: ResourceSettings = field(default_factory=ResourceSettings)
    results: ResultSettings = field(default_factory=ResultSettings)


_SETTINGS = TypeAdapter(Settings)


def presets() -> list[str]:
    """The names of the shipped presets."""
    names = (path.name for path in files("search.presets").iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def read_preset(preset: str) -> dict[str, Any]:
    """What a shipped preset or a TOML file says, not yet checked.

    Raises:
        ValueError: if there is neither, or the file is no TOML.
    """
    path = Path(preset)
    if preset in presets():
        text = files("search.presets").joinpath(f"{preset}.toml").read_text()
    elif path.suffix == ".toml" and path.is_file():
        text = path.read_text()
    else:
        hint = nearest(preset, presets())
        raise ValueError(
            f"PRESET must be one of {', '.join(presets())}, or a TOML file that exists, but got {preset!r}"
            + (f"; did you mean {hint!r}?" if hint else "")
        )
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{preset} is not valid TOML: {error}") from error


def resolve(values: dict[str, Any], overrides: Sequence[str] = ()) -> Settings:
    """The settings of `values` (as read_preset gave them) with each of `overrides`, "section.key=value", put in.

    Raises:
        ValueError: in one line: the first key that is unknown (with the nearest known one) or value that breaks a rule.
    """
    resolved = _checked(values)
    for override in overrides:
        tree = as_settings_json(resolved)
        _put(tree, override)
        resolved = _checked(tree)
    return resolved


def as_settings_json(settings: Settings) -> dict[str, Any]:
    """The settings as the JSON object that experiment.json stores, from which `resolve` makes them again."""
    dumped: dict[str, Any] = _SETTINGS.dump_python(settings, mode="json")
    return dumped


def nearest(word: str, known: Sequence[str]) -> str | None:
    """The one of `known` that `word` was most likely meant to be, None where none is near."""

    def likeness(candidate: str) -> float:
        whole = SequenceMatcher(None, word, candidate).ratio()
        return max(whole, 0.95 * SequenceMatcher(None, word.split(".")[-1], candidate.split(".")[-1]).ratio())

    best = max(known, key=likeness, default=None)
    return best if best is not None and likeness(best) >= 0.6 else None


def _put(tree: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise ValueError(f"--set takes section.key=value, but got {override!r}")
    *sections, key = path.split(".")
    for section in sections:
        if not isinstance(tree.get(section), dict):
            raise ValueError(_unknown(path))
        tree = tree[section]
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word: what needs quotes in TOML should not need them twice in a shell
    if key in ("family", "policy") and tree.get(key) != value:
        tree.clear()  # another family has other parameters: its own defaults
    tree[key] = value


def _unknown(path: str) -> str:
    hint = nearest(path, list(_paths(Settings)))
    return f"unknown setting {path!r}" + (f"; did you mean {hint!r}?" if hint else "")


def _checked(values: dict[str, Any]) -> Settings:
    try:
        return _SETTINGS.validate_python(values)
    except ValidationError as error:
        raise ValueError(explain(error)) from error


def explain(error: ValidationError) -> str:
    """What is wrong with a configuration, in one line: the first key that is unknown or value that breaks a rule."""
    first = error.errors()[0]
    tags = {*_tags("trial.alpha"), *_tags("trial.lr")}
    path = ".".join(str(part) for part in first["loc"] if part not in tags)
    if first["type"] == "unexpected_keyword_argument":
        return _unknown(path)
    if first["type"] in ("union_tag_not_found", "union_tag_invalid"):
        tag = first["ctx"]["discriminator"].strip("'")
        got = f"{first['ctx']['tag']!r}" if "tag" in first["ctx"] else "none"
        return f"{path}.{tag} must be one of {', '.join(_tags(path))}, but got {got}"
    rule = first["msg"].removeprefix("Value error, ").replace("Input should", "must")
    rule = rule[:1].lower() + rule[1:]
    got = "" if first["type"] == "value_error" else f", but got {first['input']!r}"
    return f"{path} {rule}{got}" if path else f"{rule}{got}"


def _tags(path: str) -> list[str]:
    """The families of trial.alpha, the policies of trial.lr."""
    union = AlphaSchedule if path.endswith("alpha") else LRPolicy
    members = get_args(get_args(union)[0])
    return [getattr(member, "family" if path.endswith("alpha") else "policy") for member in members]


def _paths(kind: Any, prefix: str = "") -> Iterator[str]:
    """The dotted paths of all settings, every member of every union included."""
    if is_dataclass(kind):
        for each in fields(kind):
            yield prefix + each.name
            yield from _paths(each.type, f"{prefix}{each.name}.")
    else:
        for part in get_args(kind):
            yield from _paths(part, prefix)

"""The settings of an experiment: those of a preset, overridden on the command line, and checked as a whole."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, fields, is_dataclass
from functools import partial
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from analysis.objectives import DEFAULT_OBJECTIVES, ObjectiveName
from search.nearest import suggest_nearest
from search.overrides import apply_override, set_value
from trainable.config import DataConfig, DenseConfig, NetworkConfig, Seed, TrialConfig
from trainable.function_import import is_function_name
from trainable.schedules.alpha import STRICT, AlphaSchedule
from trainable.schedules.lr_policies import LRPolicy

ControlKind = Literal["one_shot", "random_channels", "from_scratch"]
SAMPLERS = ("tpe", "gp", "random")
KINDS: tuple[ControlKind, ...] = ("one_shot", "random_channels", "from_scratch")


@dataclass(frozen=True, config=STRICT)
class SpaceSettings:
    """A space and its options."""

    function: str = "spaces.alpha_pruning:alpha_pruning"
    """The function that makes a trial's configuration, as package.module:function."""
    options: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the function; the shipped one takes the lists `amounts`, `families`, `policies`, `criteria`,
    `scopes` and `lr_spans`, from which it draws."""

    def __post_init__(self) -> None:
        try:
            json.dumps(self.options, allow_nan=False)
        except (TypeError, ValueError) as error:
            # TOML has dates and infinities, which experiment.json would give back to a resumed search as text or not
            # at all.
            raise ValueError(
                f"`options` must be text, finite numbers, booleans and lists or tables of them: {error}"
            ) from error


@dataclass(frozen=True, config=STRICT)
class ControlSettings:
    """Which controls there are."""

    kinds: tuple[ControlKind, ...] = KINDS
    """The cut without a fade (`one_shot`), the same with random channels (`random_channels`), and the same network
    trained from random weights (`from_scratch`)."""
    amounts: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.5, 0.75)
    """How much the controls cut: their `trial.pruning.amount`."""


@dataclass(frozen=True, config=STRICT)
class EarlyStoppingSettings:
    """When trials that do badly are stopped."""

    # Off, since a trial's accuracy tells little before its learning rate has fallen (benchmarks/NOTES.md).
    enabled: bool = False
    """Whether trials that do badly are stopped early; controls never are."""
    first: Annotated[float, Field(gt=0, lt=1)] = 0.34
    """Where the first rung is, as a fraction of a trial's epochs; nothing is stopped before it."""
    reduction: Annotated[float, Field(gt=1)] = 1.5
    """At each rung the best 1 / `reduction` of the trials continue; the next rung is at `reduction` times the epoch."""


@dataclass(frozen=True, config=STRICT)
class SearchSettings:
    """The trials that a study suggests."""

    trials: Annotated[int, Field(ge=0)] = 50
    """Number of trials, besides the controls."""
    objectives: Annotated[tuple[ObjectiveName, ...], Field(min_length=1)] = DEFAULT_OBJECTIVES
    """What is optimised: the accuracy of the pruned network is maximised, its costs are minimised; the training cost is
    that of the whole trial, in epochs of the dense network."""
    sampler: str = "tpe"
    """What draws the trials: `tpe`, `gp` (a Gaussian process), `random`, or package.module:function of a function that
    takes a seed and returns an Optuna sampler."""
    seed: Seed = 0
    """Seeds the sampler."""
    max_failures: Annotated[int, Field(ge=0)] = 2
    """How often a trial that crashed is restarted, from its newest checkpoint."""
    max_preemptions: Annotated[int, Field(ge=0)] = 20
    """How often a trial is continued after its node or process was lost (preempted, killed, out of memory)."""
    keep_at_alpha: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = ()
    """Alphas to branch from: the checkpoint of a trial's first epoch at or below each of them is kept."""
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 30.0
    """How old the newest checkpoint of a running trial may become; a crash costs a trial this long, and the epoch that
    was running (0: there is a checkpoint after every epoch)."""
    early_stopping: EarlyStoppingSettings = field(default_factory=EarlyStoppingSettings)
    """Asynchronous successive halving on the objectives (MO-ASHA where there are several)."""

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS and not is_function_name(self.sampler):
            raise ValueError(
                f"`sampler` must be {', '.join(SAMPLERS)} or package.module:function, but got {self.sampler!r}"
                + suggest_nearest(self.sampler, SAMPLERS)
            )


@dataclass(frozen=True, config=STRICT)
class ConfirmationSettings:
    """What is confirmed once the search has ended, as `alphaprune confirm` does."""

    top: Annotated[int, Field(ge=0)] = 0
    """Number of trials that are repeated with other seeds, each with its twins, besides all controls; 0 to leave that
    to `alphaprune confirm`."""
    seeds: Annotated[int, Field(ge=1)] = 3
    """Number of other seeds."""


@dataclass(frozen=True, config=STRICT)
class ResourceSettings:
    """A trial's share of the hardware, and how many run at once."""

    cpus_per_trial: Annotated[int, Field(ge=1)] = 1
    """CPUs of each trial, which is also how many threads it uses."""
    gpus_per_trial: Annotated[float, Field(ge=0)] | None = None
    """GPUs of each trial: a fraction of one, or a whole number (none: a quarter where there are GPUs, else 0)."""
    concurrency: Annotated[int, Field(ge=1)] | None = None
    """Maximum number of concurrent trials (none: as many as fit)."""
    longest_wait_seconds: Annotated[float, Field(gt=0, le=604_800)] = 600.0
    """How long training waits for a measurement on the same machine, and a measurement for training, whoever runs them;
    a measurement that was not alone says so."""


@dataclass(frozen=True, config=STRICT)
class ResultSettings:
    """The last steps of an experiment."""

    measure: bool = True
    """Whether the speed, memory, size and test accuracy of the Pareto front and the controls are measured."""
    report: bool = True
    """Whether report.html is written."""


@dataclass(frozen=True, config=STRICT)
class Settings:
    """Everything that makes an experiment; each field is a section of a preset."""

    data: DataConfig = field(default_factory=DataConfig)
    """Where the images come from, how they are split, and how they are augmented."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    """The network that is trained and pruned."""
    dense: DenseConfig = field(default_factory=DenseConfig)
    """The dense network's width and its training by one-cycle SGD."""
    trial: TrialConfig = field(default_factory=TrialConfig)
    """The trial that the space starts from and the controls are made of."""
    space: SpaceSettings = field(default_factory=SpaceSettings)
    """What the search may vary."""
    controls: ControlSettings = field(default_factory=ControlSettings)
    """What alpha has to beat with the same number of epochs: each of `kinds` at each of `amounts`."""
    search: SearchSettings = field(default_factory=SearchSettings)
    """How many trials there are, and what they are chosen for."""
    confirm: ConfirmationSettings = field(default_factory=ConfirmationSettings)
    """How the best are confirmed before anything is measured."""
    resources: ResourceSettings = field(default_factory=ResourceSettings)
    """Each trial's share of the machine or the cluster."""
    results: ResultSettings = field(default_factory=ResultSettings)
    """What happens once all trials have ended."""


_SETTINGS = TypeAdapter(Settings)


def resolve_settings(
    values: dict[str, Any], overrides: Sequence[str] = (), flags: Mapping[str, Any] = MappingProxyType({})
) -> Settings:
    """The settings of `values` (from read_preset), with `overrides` and then `flags` applied in order.

    Args:
        values: a section to each key.
        overrides: "section.key=value" each, with a value in TOML.
        flags: values by section.key.

    Raises:
        ValueError: in one line, about the first key that is unknown (and the nearest known one) or the first value that
            breaks a rule.
    """
    changes = [partial(apply_override, override=override) for override in overrides]
    changes += [partial(set_value, path=path, value=value) for path, value in flags.items()]
    resolved = _validate_settings(values)
    for change in changes:
        tree = as_settings_json(resolved)
        try:
            change(tree)
        except KeyError as error:
            raise ValueError(_describe_unknown(error.args[0])) from error
        resolved = _validate_settings(tree)
    return resolved


def as_settings_json(settings: Settings) -> dict[str, Any]:
    """The settings as the JSON object that experiment.json stores; resolve_settings turns it back into settings."""
    dumped: dict[str, Any] = _SETTINGS.dump_python(settings, mode="json")
    return dumped


def _describe_unknown(path: str) -> str:
    return f"unknown setting {path!r}" + suggest_nearest(path, list(_setting_paths(Settings)))


def _validate_settings(values: dict[str, Any]) -> Settings:
    try:
        return _SETTINGS.validate_python(values)
    except ValidationError as error:
        raise ValueError(explain_invalid(error)) from error


def explain_invalid(error: ValidationError) -> str:
    """What is wrong with a configuration, in one line: the first unknown key, or the first value that breaks a rule."""
    first = error.errors()[0]
    tags = {*_union_tags("trial.alpha"), *_union_tags("trial.lr")}
    path = ".".join(str(part) for part in first["loc"] if part not in tags)
    if first["type"] == "unexpected_keyword_argument":
        return _describe_unknown(path)
    if first["type"] in ("union_tag_not_found", "union_tag_invalid"):
        tag = first["ctx"]["discriminator"].strip("'")
        got = f"{first['ctx']['tag']!r}" if "tag" in first["ctx"] else "none"
        return f"{path}.{tag} must be one of {', '.join(_union_tags(path))}, but got {got}"
    rule = first["msg"].removeprefix("Value error, ").replace("Input should", "must")
    rule = rule[:1].lower() + rule[1:]
    if first["type"] == "too_short":
        rule = f"must have at least {first['ctx']['min_length']} values"
    if first["type"] == "too_long":
        rule = f"must have at most {first['ctx']['max_length']} values"
    got = "" if first["type"] == "value_error" else f", but got {first['input']!r}"
    return f"{path} {rule}{got}" if path else f"{rule}{got}"


def _union_tags(path: str) -> list[str]:
    """The families of trial.alpha, the policies of trial.lr."""
    union = AlphaSchedule if path.endswith("alpha") else LRPolicy
    members = get_args(get_args(union)[0])
    return [getattr(member, "family" if path.endswith("alpha") else "policy") for member in members]


def _setting_paths(kind: Any, prefix: str = "") -> Iterator[str]:
    """The dotted paths of all settings, including those of every member of every union."""
    if is_dataclass(kind):
        for each in fields(kind):
            yield prefix + each.name
            yield from _setting_paths(each.type, f"{prefix}{each.name}.")
    else:
        for part in get_args(kind):
            yield from _setting_paths(part, prefix)

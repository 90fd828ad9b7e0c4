"""What a space makes of an Optuna trial: checked alike before anything starts and for every trial of the search."""

import json
import traceback
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass
from enum import Enum
from math import isfinite
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, distribution_to_json
from pydantic import TypeAdapter, ValidationError

from records.trial import TrialRecord
from search.settings import explain_invalid
from trainable.config import TrialConfig, as_json, trial_config
from trainable.errors import TrialError
from trainable.function_import import describe_error

SpaceFunction = Callable[[optuna.Trial, TrialConfig], TrialConfig]

# How often a space is sampled: to see whether a distribution is always the same, and to find rare parameters.
LEAST_SAMPLES = 16
MOST_SAMPLES = 200

_RECORD = TypeAdapter(TrialRecord)


class SpaceError(TrialError):
    """A space cannot be sampled: its function is defective, or Optuna does not accept what it suggests."""


class SpaceTrial(optuna.Trial):
    """An Optuna trial as a space sees it.

    Optuna and the records get choices as plain values, whatever the space lists (NumPy's numbers, enumerations), and
    the space gets its own back. What Optuna raises is a SpaceError, so that it does not pass for a ValueError by which
    the space rejects a suggestion.
    """

    def __init__(self, trial: optuna.Trial) -> None:
        self.__dict__ = trial.__dict__  # the same trial: for another one, the sampler would draw again

    def suggest_categorical(self, name: str, choices: Iterable[Any]) -> Any:
        """One of `choices`; raises ValueError if one of them is neither text, a finite number, a boolean nor None."""
        own = list(choices)
        plain = [_as_plain_choice(name, choice) for choice in own]
        return own[plain.index(super().suggest_categorical(name, plain))]

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        try:
            return super()._suggest(name, distribution)
        except Exception as error:
            raise SpaceError(f"Optuna cannot suggest {name!r} from {distribution}: {describe_error(error)}") from error


@dataclass(frozen=True)
class Suggestion:
    """What a space has made of a trial."""

    trial: SpaceTrial
    config: TrialConfig

    def as_record(self, number: int) -> TrialRecord:
        """The record of a new trial."""
        distributions = {name: distribution_to_json(each) for name, each in self.trial.distributions.items()}
        return TrialRecord(number, as_json(self.config), params=self.trial.params, distributions=distributions)


def ask_study(study: optuna.Study) -> SpaceTrial:
    """The study's next trial; raises SpaceError if the study fails."""
    try:
        return SpaceTrial(study.ask())
    except Exception as error:
        raise SpaceError(f"Optuna cannot suggest a trial: {describe_error(error)}") from error


def suggest_config(space: SpaceFunction, trial: SpaceTrial, base: TrialConfig) -> Suggestion:
    """What `space` makes of `trial`, of which a record can be written.

    Raises:
        ValueError: if the space rejects what the trial suggests, or returns what no trial can be run or recorded with.
        SpaceError: if the space fails in another way, or Optuna does.
    """
    try:
        suggestion = Suggestion(trial, space(trial, base))
    except (ValueError, SpaceError):
        raise
    except Exception as error:
        line = traceback.extract_tb(error.__traceback__)[-1]
        raise SpaceError(
            f"the space failed with {describe_error(error)} ({line.filename}, line {line.lineno}); fix the function"
        ) from error
    if suggestion.config.epochs != base.epochs:
        raise ValueError(
            f"the space must leave trial.epochs unchanged, or trials cannot be compared, but it changed {base.epochs} "
            f"to {suggestion.config.epochs}; use `dataclasses.replace(base, ...)` without epochs"
        )
    _check_recordable(suggestion)
    return suggestion


def sample_distributions(
    space: SpaceFunction, base: TrialConfig, wanted: Collection[str]
) -> dict[str, BaseDistribution]:
    """The distributions that `space` suggests parameters from, by name, as far as random samples show them.

    Left out are parameters whose distribution is not always the same.

    Args:
        space: from load_space.
        base: the preset's.
        wanted: names of parameters to look for; sampling ends once all have been seen.
    """
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found: dict[str, set[BaseDistribution]] = {}
    for sample in range(1, MOST_SAMPLES + 1):
        trial = ask_study(study)
        try:
            suggest_config(space, trial, base)
        except ValueError:
            continue  # rejected: some other sample shows the same parameters
        for name, distribution in trial.distributions.items():
            found.setdefault(name, set()).add(distribution)
        if sample >= LEAST_SAMPLES and found.keys() >= set(wanted):
            break
    return {name: next(iter(each)) for name, each in found.items() if len(each) == 1}


def _check_recordable(suggestion: Suggestion) -> None:
    """Refuses what would come back from a record as something else, or not at all."""
    try:
        record = suggestion.as_record(0)
        json.dumps(suggestion.trial.user_attrs)  # for the study's journal
        read = _RECORD.validate_json(json.dumps(asdict(record), allow_nan=False), strict=True)
        if read == record and trial_config(read.config) == suggestion.config:
            return
        reason = "a value is read back as another"
    except (TypeError, ValueError) as error:
        reason = explain_invalid(error) if isinstance(error, ValidationError) else str(error)
    raise ValueError(
        f"what the space suggests and returns must be recordable as JSON, but {' '.join(reason.split())}; use plain "
        "numbers and text"
    )


def _as_plain_choice(name: str, choice: Any) -> str | float | bool | None:
    value = choice.value if isinstance(choice, Enum) else choice
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or isinstance(value, str | int) or (isinstance(value, float) and isfinite(value)):
        return value
    raise ValueError(
        f"the choices of {name!r} must be text, finite numbers, booleans or None, but got {choice!r}; suggest a name "
        "and look the value up"
    )

"""Tries a space out before anything is trained: `alphaprune check`, and `alphaprune.check` in unit tests."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution

from analysis.optuna_study import quiet_optuna
from analysis.text import format_count, printable
from search.sampling.suggestion import SpaceError, ask_study, suggest_config
from search.settings import Settings
from search.setup.validation import check_amount, check_settings, find_dense_layout
from trainable.config import TrialConfig, as_json
from trainable.function_import import user_folder_importable


@dataclass(frozen=True)
class SpaceSamples:
    """What random samples of a space gave; as `str`, a few lines for people.

    configs: one per sample. distinct: how many different ones. unseen: choices that no sample drew, by parameter; a
    choice in a branch of the space that no sample took is not known.
    """

    configs: tuple[TrialConfig, ...]
    distinct: int
    unseen: Mapping[str, tuple[Any, ...]]

    def __str__(self) -> str:
        lines = [f"{format_count(len(self.configs), 'sample')}, all valid, {self.distinct:,} of them distinct"]
        for name, choices in self.unseen.items():
            lines.append(f"never drawn: {name} = {', '.join(map(str, choices))}")
        return "\n".join(map(printable, lines))


def sample_space(settings: Settings, samples: int = 100, seed: int = 0) -> SpaceSamples:
    """Draws random samples from the space of `settings`, and checks each as if its trial were about to run.

    Args:
        settings: resolved.
        samples: how many.
        seed: of the samples; the same ones give the same configurations.

    Raises:
        ValueError: in one line, with what was suggested, for the first sample that makes no valid trial; and for a
            space that cannot be loaded, and a control that cannot cut as much as it has to.
    """
    if samples < 1:
        raise ValueError(f"`samples` must be at least 1, but got {samples}")
    with user_folder_importable(), quiet_optuna():
        space = check_settings(settings)
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
        layout = find_dense_layout(settings, classes=10)
        configs: list[TrialConfig] = []
        drawn: dict[str, set[Any]] = {}
        choices: dict[str, dict[Any, None]] = {}
        for number in range(1, samples + 1):
            try:
                trial = ask_study(study)
                config = suggest_config(space, trial, settings.trial).config
                check_amount(config, layout)
            except (ValueError, SpaceError) as error:
                raise ValueError(
                    f"sample {number} is not a valid trial: {error} (suggested: {trial.params})"
                ) from error
            configs.append(config)
            for name, distribution in trial.distributions.items():
                if isinstance(distribution, CategoricalDistribution):
                    choices.setdefault(name, {}).update(dict.fromkeys(distribution.choices))
                    drawn.setdefault(name, set()).add(trial.params[name])
    unseen = {name: tuple(each for each in known if each not in drawn[name]) for name, known in choices.items()}
    distinct = len({json.dumps(as_json(config), sort_keys=True) for config in configs})
    return SpaceSamples(tuple(configs), distinct, {name: left for name, left in unseen.items() if left})

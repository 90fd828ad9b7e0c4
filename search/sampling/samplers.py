"""What draws the trials: one of Optuna's samplers, or one of the user's."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import optuna
from optuna.samplers import BaseSampler

from analysis.objectives import OBJECTIVES
from search.settings import SAMPLERS, SearchSettings
from trainable.function_import import describe_error, import_function


def _create_tpe(seed: int) -> BaseSampler:
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)


_CREATE: Mapping[str, Callable[[int], BaseSampler]] = MappingProxyType(
    {
        "tpe": _create_tpe,
        "gp": lambda seed: optuna.samplers.GPSampler(seed=seed),
        "random": optuna.samplers.RandomSampler,
    }
)
assert _CREATE.keys() == set(SAMPLERS)


def create_sampler(name: str, *, seed: int) -> BaseSampler:
    """The sampler that `search.sampler` names.

    Raises:
        ValueError: if the user's function cannot be imported, fails, or returns no sampler.
    """
    if name in _CREATE:
        return _CREATE[name](seed)
    create = import_function("sampler", name)
    try:
        sampler = create(seed)
    except Exception as error:
        raise ValueError(
            f"sampler {name!r}: {describe_error(error)}; it is called with a seed and must return an Optuna sampler"
        ) from error
    if not isinstance(sampler, BaseSampler):
        raise ValueError(f"sampler {name!r} must return an Optuna sampler, but returned a {type(sampler).__name__}")
    return sampler


def create_study(settings: SearchSettings, *, asked: int) -> optuna.Study:
    """An empty study in memory.

    Args:
        settings: objectives, sampler and seed.
        asked: how many trials there are already. It is part of the sampler's seed, or a resumed search would be given
            the suggestions that it began with.

    Raises:
        ValueError: as `create_sampler`.
    """
    sampler = create_sampler(settings.sampler, seed=(settings.seed * 1_000_003 + asked) % 2**32)
    return optuna.create_study(sampler=sampler, directions=[OBJECTIVES[name].direction for name in settings.objectives])

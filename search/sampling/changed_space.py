"""A space that was changed after trials had been recorded: what the sampler can still learn from them.

Optuna refuses to suggest from other choices than before, from numbers of another kind or scale, and stays within the
oldest range where a range has changed. So a recorded trial is given the distributions that the space has now. It can be
if its values still are among them; the records themselves stay as they are.
"""

import copy
import logging
from collections.abc import Iterable, Mapping, Sequence

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

log = logging.getLogger("alphaprune")


def fit_trials(trials: Sequence[FrozenTrial], current: Mapping[str, BaseDistribution]) -> list[FrozenTrial]:
    """The trials with the space's current distributions; those that it could no longer suggest as failed ones.

    A failed trial teaches the sampler nothing, and keeps the numbers of the others. Logs one line if anything has
    changed.

    Args:
        trials: as recorded.
        current: distributions by name; those of other parameters count as unchanged.
    """
    changed = {
        name
        for trial in trials
        for name, distribution in trial.distributions.items()
        if name in current and current[name] != distribution
    }
    if not changed:
        return list(trials)
    unfit = [_find_unfit(trial, current) for trial in trials]
    if any(unfit):
        log.warning(
            "the space has changed: %d of %d recorded trials have values of %s that it no longer has, so the sampler "
            "does not learn from them",
            sum(map(bool, unfit)),
            len(trials),
            _list(name for names in unfit for name in names),
        )
    else:
        log.info("the space has changed (%s); the sampler keeps what it learned from recorded trials", _list(changed))
    return [
        _as_failed(trial) if names else _with_distributions(trial, current)
        for trial, names in zip(trials, unfit, strict=True)
    ]


def _find_unfit(trial: FrozenTrial, current: Mapping[str, BaseDistribution]) -> list[str]:
    return [name for name, value in trial.params.items() if name in current and not _contains(current[name], value)]


def _as_failed(trial: FrozenTrial) -> FrozenTrial:
    return create_trial(state=TrialState.FAIL, params=trial.params, distributions=trial.distributions)


def _contains(distribution: BaseDistribution, value: object) -> bool:
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except ValueError:  # Optuna's way to say that a choice is none of the choices, or no number
        return False


def _with_distributions(trial: FrozenTrial, current: Mapping[str, BaseDistribution]) -> FrozenTrial:
    fitted = copy.copy(trial)
    fitted.distributions = {name: current.get(name, own) for name, own in trial.distributions.items()}
    return fitted


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(set(names)))

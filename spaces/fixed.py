"""The space of a single point: the preset's own `[trial]`."""

import optuna

from trainable.config import TrialConfig


def fixed(trial: optuna.Trial, base: TrialConfig) -> TrialConfig:
    """`base` as it is; the study suggests nothing."""
    return base

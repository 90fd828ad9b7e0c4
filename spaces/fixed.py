"""The space of one point: the preset's own `[trial]`."""

import optuna

from trainable.config import TrialConfig


def fixed(trial: optuna.Trial, base: TrialConfig) -> TrialConfig:
    """`base` as it is; nothing is asked of the study."""
    return base

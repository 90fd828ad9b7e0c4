"""The weekly report replayed: its piecewise schedule, the jump to 0 and its learning rates, with both kinds of gate.

alpha = e^(-k t) with k = 0.05 until alpha = 0.4, then k = 0.5 until 0.018, then 0. The pruned network is retrained at a
learning rate of 0.001 and, each time it stagnates, at 0.01 and then 0.1. All lengths follow from one setting,
`trial.epochs`: half of them go to the 26 stages of alpha, as many to each as fit (the report's "at most 100" would make
5,200 in all).
"""

from dataclasses import replace
from typing import Literal

import optuna

from trainable.config import TrialConfig
from trainable.schedules.alpha import Piecewise
from trainable.schedules.lr_policies import StagnationRestart

GATES: tuple[Literal["bn_output", "conv_weight"], ...] = ("bn_output", "conv_weight")
# Piecewise's own default is the report's schedule.
SCHEDULE = Piecewise()
STAGES = len(SCHEDULE.stage_alphas(10_000))
RATES = (0.001, 0.01, 0.1)


def weekly_report(trial: optuna.Trial, base: TrialConfig) -> TrialConfig:
    """`base` with the report's schedule and learning rates; the gate alternates from trial to trial.

    Raises:
        ValueError: if base.epochs is less than two for each stage.
    """
    epochs_per_alpha = base.epochs // 2 // STAGES
    if not epochs_per_alpha:
        raise ValueError(
            f"trial.epochs must be at least {2 * STAGES}, one for each of the {STAGES} stages of alpha and as many to "
            f"retrain, but got {base.epochs}"
        )
    alpha_epochs = STAGES * epochs_per_alpha
    # A third of what is left for each rate, less the epochs in which it still improves.
    patience = max(1, (base.epochs - alpha_epochs) // (4 * len(RATES)))
    return replace(
        base,
        alpha=SCHEDULE,
        alpha_fraction=alpha_epochs / base.epochs,
        epochs_per_alpha=epochs_per_alpha,
        lr=StagnationRestart(rates=RATES, patience=patience),
        pruning=replace(base.pruning, gate=GATES[trial.number % len(GATES)]),
    )

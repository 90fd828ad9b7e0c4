"""What alpha and the learning rate do over a trial: the classes that a space puts into a TrialConfig."""

from trainable.schedules.alpha import (
    Cosine,
    Exponential,
    Multiplicative,
    OneShot,
    Piecewise,
    Polynomial,
    Segment,
    TimeBased,
)
from trainable.schedules.lr_policies import CosineAnnealing, CosineRestarts, OneCycle, Plateau, StagnationRestart

__all__ = [
    "Cosine",
    "CosineAnnealing",
    "CosineRestarts",
    "Exponential",
    "Multiplicative",
    "OneCycle",
    "OneShot",
    "Piecewise",
    "Plateau",
    "Polynomial",
    "Segment",
    "StagnationRestart",
    "TimeBased",
]

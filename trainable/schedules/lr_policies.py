"""Learning-rate policies; lr_schedulers.py makes PyTorch schedulers from them.

One class per policy, each with just its own parameters. Epochs are counted from where the policy starts: the cut, or
the start of the trial (TrialConfig.lr_span).
"""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from trainable.schedules.alpha import STRICT

Rate = Annotated[float, Field(gt=0, le=1)]
WarmupEpochs = Annotated[int, Field(ge=0)]
Epochs = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, config=STRICT)
class Plateau:
    """From the peak down whenever the validation loss stagnates (ReduceLROnPlateau)."""

    peak: Rate = 0.05
    """Learning rate after the warm-up."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """What the learning rate is multiplied by when the loss stagnates."""
    patience: Annotated[int, Field(ge=0)] = 2
    """Epochs in a row without a better loss that are tolerated."""
    warmup_epochs: WarmupEpochs = 3
    """Epochs of the linear rise to the peak, which takes at most a third of the phase."""
    policy: Literal["plateau"] = "plateau"
    """Selects this policy."""


@dataclass(frozen=True, config=STRICT)
class CosineAnnealing:
    """From the peak to 0 over the phase (CosineAnnealingLR)."""

    peak: Rate = 0.05
    """Learning rate after the warm-up."""
    warmup_epochs: WarmupEpochs = 3
    """Epochs of the linear rise to the peak, which takes at most a third of the phase."""
    policy: Literal["cosine"] = "cosine"
    """Selects this policy."""


@dataclass(frozen=True, config=STRICT)
class CosineRestarts:
    """From the peak to 0, again and again (CosineAnnealingWarmRestarts)."""

    peak: Rate = 0.05
    """Learning rate after the warm-up and after each restart."""
    period_epochs: Epochs = 4
    """Epochs of the first fall from the peak to 0; the last fall ends wherever the phase does."""
    period_factor: Annotated[int, Field(ge=1)] = 2
    """How many times as long each fall is as the one before it."""
    warmup_epochs: WarmupEpochs = 3
    """Epochs of the linear rise to the peak, which takes at most a third of the phase."""
    cycles: Annotated[int, Field(ge=1)] | None = None
    """Number of falls, the last of which ends with the phase (none: as many as `period_epochs` makes)."""
    policy: Literal["cosine_restarts"] = "cosine_restarts"
    """Selects this policy."""


@dataclass(frozen=True, config=STRICT)
class OneCycle:
    """Up to the peak, then down to 0 (OneCycleLR; Smith & Topin 2018)."""

    peak: Rate = 0.05
    """Highest learning rate."""
    rise: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of the phase in which the learning rate rises."""
    policy: Literal["one_cycle"] = "one_cycle"
    """Selects this policy."""


@dataclass(frozen=True, config=STRICT)
class StagnationRestart:
    """To the next of a list of learning rates whenever the validation accuracy stagnates."""

    rates: Annotated[tuple[Rate, ...], Field(min_length=1)] = (0.001, 0.01, 0.1)
    """The learning rates, in the order in which they are used; the last one stays."""
    patience: Epochs = 5
    """Epochs in a row without a better accuracy after which the next learning rate is used."""
    policy: Literal["stagnation_restart"] = "stagnation_restart"
    """Selects this policy."""


LRPolicy = Annotated[
    Plateau | CosineAnnealing | CosineRestarts | OneCycle | StagnationRestart, Field(discriminator="policy")
]

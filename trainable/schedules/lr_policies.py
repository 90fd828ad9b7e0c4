"""Learning-rate policies of the retrain phase: what they are; learning_rate.py makes PyTorch schedulers of them.

One class a policy, each with just its own parameters. Epochs are those of the retrain phase.
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
    """ReduceLROnPlateau: times `factor` when the validation loss has not improved for `patience` epochs."""

    peak: Rate = 0.05
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.3
    patience: Annotated[int, Field(ge=0)] = 2
    warmup_epochs: WarmupEpochs = 3
    policy: Literal["plateau"] = "plateau"


@dataclass(frozen=True, config=STRICT)
class CosineAnnealing:
    """CosineAnnealingLR: from the peak to 0 over the phase, after the warm-up."""

    peak: Rate = 0.05
    warmup_epochs: WarmupEpochs = 3
    policy: Literal["cosine"] = "cosine"


@dataclass(frozen=True, config=STRICT)
class CosineRestarts:
    """CosineAnnealingWarmRestarts: from the peak to 0 in `period_epochs`, then in `period_factor` times that, etc."""

    peak: Rate = 0.05
    period_epochs: Epochs = 4
    period_factor: Annotated[int, Field(ge=1)] = 2
    warmup_epochs: WarmupEpochs = 3
    policy: Literal["cosine_restarts"] = "cosine_restarts"


@dataclass(frozen=True, config=STRICT)
class OneCycle:
    """OneCycleLR (Smith & Topin 2018): up to the peak in the first `rise` of the phase, then down to 0."""

    peak: Rate = 0.05
    rise: Annotated[float, Field(gt=0, lt=1)] = 0.3
    policy: Literal["one_cycle"] = "one_cycle"


@dataclass(frozen=True, config=STRICT)
class StagnationRestart:
    """The weekly report's: the next of `rates` when validation accuracy has not improved for `patience` epochs."""

    rates: Annotated[tuple[Rate, ...], Field(min_length=1)] = (0.001, 0.01, 0.1)
    patience: Epochs = 5
    policy: Literal["stagnation_restart"] = "stagnation_restart"


LRPolicy = Annotated[
    Plateau | CosineAnnealing | CosineRestarts | OneCycle | StagnationRestart, Field(discriminator="policy")
]

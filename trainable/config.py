"""What makes a trial, a dense network and a data set what they are: frozen trees that validate themselves.

The same TrialConfig, dense network and data give the same numbers. A space returns a TrialConfig, a record stores one
as JSON, the trainable takes one. This module imports no torch, so that spaces and tools can use it cheaply.
"""

from dataclasses import field
from itertools import takewhile
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

from trainable.schedules.alpha import STRICT, AlphaSchedule, Exponential
from trainable.schedules.lr_policies import CosineAnnealing, LRPolicy

Seed = Annotated[int, Field(ge=0, lt=2**63)]
LearningRate = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True, config=STRICT)
class PruningConfig:
    """Which channels are doomed: at least `amount` (in (0, 1)) of the network's MACs, parameters or channels.

    criterion: what a channel's importance is; `random` is a control.
    scope: `uniform` takes the same fraction of each layer, `global` ranks over all layers and keeps at least a tenth
        of each. round_to: widths are rounded up to a multiple of it, as far as the layer is that wide.
    gate: where alpha multiplies; `conv_weight` is the ablation, BN divides its alpha out again.
    """

    amount: Annotated[float, Field(gt=0, lt=1)] = 0.75
    of: Literal["macs", "parameters", "channels"] = "macs"
    criterion: Literal["l1", "l2", "bn_scale", "taylor", "random"] = "l1"
    scope: Literal["uniform", "global"] = "global"
    round_to: Annotated[int, Field(ge=1, le=64)] = 8
    gate: Literal["bn_output", "conv_weight"] = "bn_output"


@dataclass(frozen=True, config=STRICT)
class OptimizerConfig:
    """SGD with Nesterov momentum; the weight decay is on the weights of convolutions and the classifier."""

    weight_decay: Annotated[float, Field(ge=0, le=0.1)] = 5e-4
    momentum: Annotated[float, Field(gt=0, lt=1)] = 0.9
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    batch_size: Annotated[int, Field(ge=2)] = 128


@dataclass(frozen=True, config=STRICT)
class TrialConfig:
    """One trial: `epochs` in all after the dense phase, about `alpha_fraction` of them in the alpha phase.

    alpha, epochs_per_alpha, alpha_lr: the schedule of the alpha phase, how many epochs a stage of it lasts, and its
        (constant) learning rate. lr: the policy of the retrain phase, which starts anew behind the cut.
    initial: `dense` goes on from the dense network; `random` trains the pruned network from scratch (a control, whose
        schedule must be one_shot).
    begun: of a branch, alpha of each epoch that another trial had done before; the schedule goes on from the last of
        them over the stages that are left, and the learning-rate policy begins anew.
    """

    seed: Seed = 0
    epochs: Annotated[int, Field(ge=1)] = 18
    alpha_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.33
    epochs_per_alpha: Annotated[int, Field(ge=1)] = 1
    alpha_lr: LearningRate = 0.01
    alpha: AlphaSchedule = field(default_factory=Exponential)
    lr: LRPolicy = field(default_factory=CosineAnnealing)
    pruning: PruningConfig = field(default_factory=PruningConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    initial: Literal["dense", "random"] = "dense"
    begun: tuple[Annotated[float, Field(ge=0, le=1)], ...] = ()

    def __post_init__(self) -> None:
        if self.initial == "random" and self.alpha.family != "one_shot":
            raise ValueError(
                "`alpha.family == 'one_shot'` must hold for initial='random' (an untrained network has nothing to "
                f"fade out), but got alpha.family={self.alpha.family!r}"
            )
        if len(self.begun) >= self.epochs:
            raise ValueError(
                f"`epochs` must leave a branch some to run behind the {len(self.begun)} that were done before it, but "
                f"got epochs={self.epochs}"
            )
        if self.alpha.family != "one_shot" and self.alpha_fraction > 0 and self._stages == 0 and not self.begun:
            raise ValueError(
                "`epochs_per_alpha <= alpha_fraction * epochs < epochs` must hold, or alpha has no stage, but got "
                f"epochs_per_alpha={self.epochs_per_alpha}, alpha_fraction={self.alpha_fraction} and "
                f"epochs={self.epochs}; for no alpha phase say alpha_fraction=0 or alpha.family='one_shot'"
            )

    @property
    def alphas(self) -> tuple[float, ...]:
        """Alpha of each epoch of the alpha phase, every one in (0, 1]; at least one epoch is left to retrain."""
        done = tuple(alpha for alpha in self.begun if alpha > 0)
        if len(done) < len(self.begun):  # branched behind the cut
            return done
        each, left = self.epochs_per_alpha, max(0, self._stages * self.epochs_per_alpha - len(done))
        if done:  # first the stage that was begun
            stood = sum(1 for _ in takewhile(lambda alpha: alpha == done[-1], reversed(done)))
            done += min(left, -stood % each) * (done[-1],)
            left = max(0, self._stages * each - len(done))
        stages = self.alpha.stages(left // each, done[-1] if done else 1.0)
        return done + tuple(alpha for alpha in stages for _ in range(each))

    @property
    def _stages(self) -> int:
        return min(round(self.alpha_fraction * self.epochs), self.epochs - 1) // self.epochs_per_alpha

    @property
    def retrain_epochs(self) -> int:
        """Epochs of its own behind the cut; what an early end of the alpha phase leaves over goes to them."""
        return self.epochs - max(len(self.alphas), len(self.begun))


@dataclass(frozen=True, config=STRICT)
class DenseConfig:
    """The dense network and its recipe: VGG16-BN of `width` times the published widths, one-cycle SGD."""

    width: Annotated[float, Field(gt=0, le=4)] = 1.0
    epochs: Annotated[int, Field(ge=1)] = 60
    peak: LearningRate = 0.1
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    seed: Seed = 0


@dataclass(frozen=True, config=STRICT)
class DataConfig:
    """The images. source: `digits`, `cifar10`, or a folder (Parquet or ImageFolder layout).

    validation_fraction of the training images is held out, chosen by split_seed; `images` limits both together.
    pad, flip: the augmentation: pixels of the reflect-padded random crop, and whether images are mirrored at random
        (None: mirrored, but for digits).
    """

    source: str = "digits"
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    split_seed: Seed = 0
    images: Annotated[int, Field(ge=2)] | None = None
    pad: Annotated[int, Field(ge=0, le=16)] = 4
    flip: bool | None = None


_TRIAL = TypeAdapter(TrialConfig)


def trial_config(values: dict[str, Any]) -> TrialConfig:
    """The TrialConfig that `as_json` gave; raises ValueError (pydantic's, naming every wrong field)."""
    return _TRIAL.validate_python(values)


def as_json(config: Any) -> dict[str, Any]:
    """A configuration tree as the JSON object that records store."""
    dumped: dict[str, Any] = TypeAdapter(type(config)).dump_python(config, mode="json")
    return dumped

"""The configurations of trials, dense networks and data sets: frozen trees that validate themselves.

The same TrialConfig, dense network and data give the same numbers. A space returns a TrialConfig, a record stores one
as JSON, the trainable takes one. This module imports no torch, so that spaces and tools can use it cheaply.

The string under a field is its help: `alphaprune settings` prints it and docs/settings.md is made from it.
"""

import json
import math
from dataclasses import field
from itertools import takewhile
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

from trainable.schedules.alpha import STRICT, AlphaSchedule, Exponential
from trainable.schedules.lr_policies import CosineAnnealing, LRPolicy

Seed = Annotated[int, Field(ge=0, lt=2**63)]
LearningRate = Annotated[float, Field(gt=0, le=1)]
# Batches of an epoch where they are not known.
_NOMINAL_STEPS = 100


@dataclass(frozen=True, config=STRICT)
class PruningConfig:
    """The cut of a trial: how much, which channels, and where alpha multiplies them."""

    amount: Annotated[float, Field(gt=0, lt=1)] = 0.75
    """Minimum fraction of the network to cut, counted as `of` says."""
    of: Literal["macs", "parameters", "channels"] = "macs"
    """What `amount` is a fraction of: multiply-accumulates, parameters or channels."""
    criterion: Literal["l1", "l2", "bn_scale", "taylor", "random"] = "l1"
    """How important a channel is: the norm of its filter (`l1`, `l2`), its |gamma| (`bn_scale`), what removing it does
    to the loss (`taylor`), or a random number (`random`, a control)."""
    scope: Literal["uniform", "global"] = "global"
    """How layers share the cut: each loses the same fraction (`uniform`), or the channels of all layers are ranked
    together and each layer keeps at least `least_kept` of its own (`global`)."""
    round_to: Annotated[int, Field(ge=1, le=64)] = 8
    """Widths are rounded up to a multiple of this many channels, but never beyond the dense layer's own."""
    gate: Literal["bn_output", "conv_weight"] = "bn_output"
    """What alpha multiplies: a doomed channel's output after batch normalisation, or its filter before it (an ablation:
    the normalisation divides alpha out again)."""
    least_kept: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Minimum fraction of its channels that each layer keeps where the scope is `global`; at least one is kept."""


@dataclass(frozen=True, config=STRICT)
class OptimizerConfig:
    """SGD, the batches it sees and the targets it is given."""

    weight_decay: Annotated[float, Field(ge=0, le=0.1)] = 5e-4
    """Weight decay of the convolutions and the classifier; biases, gamma and beta have none."""
    momentum: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Nesterov momentum."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the target probability that is spread evenly over all classes while training."""
    batch_size: Annotated[int, Field(ge=2)] = 128
    """Maximum number of images in a training batch; an epoch is divided into batches of about equal size."""


@dataclass(frozen=True, config=STRICT)
class TrialConfig:
    """One trial: its alpha phase, the cut and its retrain phase, from the dense network on."""

    seed: Seed = 0
    """Seeds the order of the images, their augmentation, random channels and random weights."""
    epochs: Annotated[int, Field(ge=1)] = 18
    """Epochs of the alpha phase and the retrain phase together."""
    alpha_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.33
    """Share of `epochs` that the alpha phase may take, rounded down to whole stages; 0 for no alpha phase."""
    epochs_per_alpha: Annotated[float, Field(ge=0)] = 1.0
    """Epochs for which alpha keeps each of its values: the length of a stage; below 1, alpha falls within an epoch,
    with every batch if it is 0, and the alpha phase may end within one."""
    lr_span: Literal["retrain", "trial"] = "retrain"
    """What the policy of `lr` spans: the retrain phase, after an alpha phase at the constant `alpha_lr` (`retrain`), or
    the whole trial, with the cut on its way (`trial`)."""
    alpha_lr: LearningRate = 0.01
    """Learning rate of the alpha phase where `lr` does not span it."""
    alpha: AlphaSchedule = field(default_factory=Exponential)
    """How alpha falls during the alpha phase, over which u runs from 0 to 1."""
    lr: LRPolicy = field(default_factory=CosineAnnealing)
    """Learning rate of the retrain phase, or of the whole trial: see `lr_span`."""
    pruning: PruningConfig = field(default_factory=PruningConfig)
    """Which channels are doomed, and where alpha multiplies them."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """SGD with Nesterov momentum, in both phases."""
    initial: Literal["dense", "random"] = "dense"
    """Initial weights: those of the dense network, or random ones, to train the pruned network from scratch (a control;
    it needs `alpha.family = "one_shot"`)."""
    begun: tuple[Annotated[float, Field(ge=0, le=1)], ...] = ()
    """Alpha in each epoch that a branch took over from its parent trial, set by `alphaprune branch`; the schedule
    continues from the last of them over the remaining stages, and the learning-rate policy starts again."""

    def __post_init__(self) -> None:
        if self.initial == "random" and self.alpha.family != "one_shot":
            raise ValueError(
                "`alpha.family == 'one_shot'` must hold for initial='random' (an untrained network has nothing to "
                f"fade out), but got alpha.family={self.alpha.family!r}"
            )
        if len(self.begun) >= self.epochs:
            raise ValueError(
                f"`epochs` must be more than the {len(self.begun)} that the branch took over from its parent, but got "
                f"epochs={self.epochs}"
            )
        room = self._longest_alpha_phase
        has_stage = room > 0 and self.epochs_per_alpha <= room
        if self.alpha.family != "one_shot" and self.alpha_fraction > 0 and not has_stage and not self.begun:
            raise ValueError(
                "`epochs_per_alpha <= alpha_fraction * epochs < epochs` must hold, or alpha has no stage, but got "
                f"epochs_per_alpha={self.epochs_per_alpha}, alpha_fraction={self.alpha_fraction} and "
                f"epochs={self.epochs}; for no alpha phase use alpha_fraction=0 or alpha.family='one_shot'"
            )

    def list_alphas(self, steps: int) -> tuple[float, ...]:
        """Alpha in each batch of the alpha phase, each in (0, 1]; at least one epoch is left to retrain.

        Args:
            steps: batches of an epoch.
        """
        done = [alpha for alpha in self.begun if alpha > 0]
        alphas = [alpha for alpha in done for _ in range(steps)]
        if len(done) < len(self.begun):  # branched after the cut
            return tuple(alphas)
        stage = max(1, round(self.epochs_per_alpha * steps))
        room = self._longest_alpha_phase * steps
        # A stage of a part of an epoch, which is rounded to whole batches, always fits in.
        least = 1 if self.epochs_per_alpha < 1 and room > 0 else 0
        length = max(least, math.floor(room / stage + 1e-9)) * stage
        if done and self.epochs_per_alpha >= 1:  # first the rest of the stage that the parent was in
            stood = steps * sum(1 for _ in takewhile(lambda alpha: alpha == done[-1], reversed(done)))
            alphas += min(max(0, length - len(alphas)), -stood % stage) * [done[-1]]
        stages = max(0, length - len(alphas)) // stage
        alphas += [alpha for alpha in self.alpha.stage_alphas(stages, done[-1] if done else 1.0) for _ in range(stage)]
        return tuple(alphas)

    @property
    def alpha_epochs(self) -> float:
        """The length of the alpha phase in epochs, those taken over from a parent included.

        Where alpha falls within an epoch, the batches of an epoch round it, so this is approximate.
        """
        return len(self.list_alphas(_NOMINAL_STEPS)) / _NOMINAL_STEPS

    @property
    def retrain_epochs(self) -> float:
        """The trial's own epochs after the cut, including those that an early end of the alpha phase leaves."""
        return self.epochs - max(self.alpha_epochs, len(self.begun))

    @property
    def _longest_alpha_phase(self) -> float:
        """In epochs; whole stages have yet to fit in."""
        epochs = self.alpha_fraction * self.epochs
        # 0.34 of 12 epochs is meant to be four stages of an epoch.
        return min(round(epochs) if self.epochs_per_alpha >= 1 else epochs, self.epochs - 1)


@dataclass(frozen=True, config=STRICT)
class NetworkConfig:
    """Which network is trained and pruned."""

    name: str = "vgg16"
    """`vgg11`, `vgg13`, `vgg16`, `vgg19`, `resnet20`, `resnet32`, `resnet56` (those for CIFAR), torchvision's
    `resnet18`, `resnet34`, `resnet50`, `mobilenet_v2` and `densenet121`, or package.module:function of a function that
    takes `classes` and returns the network (docs/networks.md)."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Other keyword arguments of the function."""

    def __post_init__(self) -> None:
        try:
            json.dumps(self.arguments, allow_nan=False)
        except (TypeError, ValueError) as error:  # TOML has dates and infinities, which arch.json could not hold
            raise ValueError(
                f"`arguments` must be text, finite numbers, booleans and lists or tables of them: {error}"
            ) from error


@dataclass(frozen=True, config=STRICT)
class DenseConfig:
    """The dense network and its recipe."""

    width: Annotated[float, Field(gt=0, le=4)] = 1.0
    """Channels of each layer as a multiple of the published network's."""
    epochs: Annotated[int, Field(ge=1)] = 60
    """Epochs that the dense network is trained for."""
    peak: LearningRate = 0.1
    """Highest learning rate of the one-cycle policy."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """SGD with Nesterov momentum, in the dense phase."""
    seed: Seed = 0
    """Seeds the initial weights, the order of the images and their augmentation."""
    weights: str | None = None
    """A file with trained weights of the network, safetensors or a state dict that torch.save wrote; then nothing is
    trained, and of the settings here only `width` counts (none: the network is trained)."""

    @property
    def training_epochs(self) -> int:
        """The epochs that it takes; 0 if the weights are given."""
        return 0 if self.weights else self.epochs


@dataclass(frozen=True, config=STRICT)
class DataConfig:
    """A data set as trials see it."""

    source: str = "digits"
    """`digits`, `cifar10`, `cifar100`, or a folder in the Parquet or the ImageFolder layout."""
    image_size: Annotated[int, Field(ge=32, le=224)] = 32
    """Height and width that all images are resized to, in pixels, whatever their proportions; memory and time grow with
    its square."""
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Fraction of the training images that is held out for validation."""
    split_seed: Seed = 0
    """Seeds the choice of `images` and of those held out."""
    images: Annotated[int, Field(ge=2)] | None = None
    """Number of training images to use, those held out included (none: all of them)."""
    pad: Annotated[int, Field(ge=0, le=16)] = 4
    """Training images are shifted at random by up to this many pixels in each direction, with reflected borders."""
    flip: bool | None = None
    """Whether training images are mirrored at random (none: yes, except for digits)."""
    mean: Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(min_length=3, max_length=3)] | None = None
    """Means of red, green and blue in [0, 1], by which images are normalised; with weights of your own, those that they
    were trained with (none: those of the training images)."""
    std: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=3, max_length=3)] | None = None
    """Standard deviations of red, green and blue; see `mean`."""

    def __post_init__(self) -> None:
        try:
            self.source.encode()
        except UnicodeEncodeError as error:  # a path of other bytes, which no record could hold
            raise ValueError(f"`source` must be a name in UTF-8, but got {self.source!r}; rename the folder") from error


_TRIAL = TypeAdapter(TrialConfig)


def trial_config(values: dict[str, Any]) -> TrialConfig:
    """The TrialConfig that `as_json` dumped; raises ValueError (pydantic's, naming every wrong field)."""
    return _TRIAL.validate_python(values)


def as_json(config: Any) -> dict[str, Any]:
    """A configuration tree as the JSON object that records store."""
    dumped: dict[str, Any] = TypeAdapter(type(config)).dump_python(config, mode="json")
    return dumped

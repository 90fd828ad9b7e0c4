"""One epoch of training, one pass of evaluation: the same for the dense network, a gated one and a pruned one.

No function here asks the device for a value until the end, so a GPU's queue never runs dry.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainable.config import OptimizerConfig
from trainable.data.batches import DeviceSplit, Draw
from trainable.errors import DivergedError
from trainable.network.placement import device_of
from trainable.schedules.lr_schedulers import LRDriver

# Enough batches for the cumulative average of the statistics to settle; more only take longer.
RECALIBRATION_BATCHES = 10


class TrainingResult(NamedTuple):
    """Means over one epoch's images; lr is the mean over its batches."""

    loss: float
    accuracy: float
    lr: float


@dataclass(frozen=True)
class TrainingSums:
    """What training on some batches gave, summed.

    loss: over the images. right: images that were classified correctly. lr: over the batches.
    """

    loss: float
    right: int
    images: int
    lr: float
    steps: int

    def __add__(self, other: "TrainingSums") -> "TrainingSums":
        return TrainingSums(
            self.loss + other.loss,
            self.right + other.right,
            self.images + other.images,
            self.lr + other.lr,
            self.steps + other.steps,
        )

    def average(self) -> TrainingResult:
        """Raises DivergedError if the mean loss is NaN or infinite, naming it and the mean learning rate."""
        averaged = TrainingResult(self.loss / self.images, self.right / self.images, self.lr / self.steps)
        _check_finite("training", averaged.loss, averaged.lr)
        return averaged


class EvaluationResult(NamedTuple):
    """Means over a split: cross-entropy, and the fraction that is classified correctly."""

    loss: float
    accuracy: float


def autocast_on(device: torch.device, *, cache_weights: bool = True) -> torch.autocast:
    """bfloat16 where it is fast: on CUDA. A cache of converted weights pays where each is used more than once."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda", cache_enabled=cache_weights)


def create_sgd(network: nn.Module, config: OptimizerConfig, lr: float) -> torch.optim.SGD:
    """SGD with Nesterov momentum; weight decay on matrices and filters, not on biases and batch normalisation."""
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=lr, momentum=config.momentum, nesterov=True)


def replace_network(
    optimizer: torch.optim.Optimizer,
    old: nn.Module,
    new: nn.Module,
    select: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]],
) -> None:
    """Makes `optimizer`, which trained `old`, train `new`, with its learning rate and what remains of its momentum.

    Args:
        optimizer: from create_sgd.
        old, new: networks whose parameters have the same names.
        select: from tensors like the parameters of `old`, by name, those like the parameters of `new`.
    """
    buffers = {name: optimizer.state[each].get("momentum_buffer") for name, each in old.named_parameters()}
    replacement = dict(zip(map(id, old.parameters()), new.parameters(), strict=True))
    for group in optimizer.param_groups:
        group["params"] = [replacement[id(parameter)] for parameter in group["params"]]
    optimizer.state.clear()
    # None has a momentum before the first step, nor has a frozen one.
    kept = select({name: buffer for name, buffer in buffers.items() if buffer is not None})
    for name, parameter in new.named_parameters():
        if name in kept:
            optimizer.state[parameter]["momentum_buffer"] = kept[name]


class TrainingStep:
    """A step of SGD on a batch: gather and augment it, forward, backward, update. Sums what the batches gave.

    Attributes:
        network: what is trained.
        optimizer: from create_sgd; its learning rate is set by others, between the steps.
    """

    def __init__(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, images: DeviceSplit, *, label_smoothing: float
    ) -> None:
        """Changes nothing yet.

        Args:
            network, optimizer: as above, on one device.
            images: what is trained on, on the same device.
            label_smoothing: in [0, 1).
        """
        self.network, self.optimizer = network, optimizer
        self._images, self._smoothing, self._device = images, label_smoothing, device_of(network)
        self._loss = torch.zeros((), device=self._device)
        self._right = torch.zeros((), device=self._device, dtype=torch.long)

    def train_batch(self, draw: Draw) -> None:
        """Trains on the batch that was drawn; does not wait for the device."""
        inputs, labels = self._images.augment_images(draw)
        with autocast_on(self._device, cache_weights=False):  # nor may a CUDA graph read what was cached before it
            logits = self.network(inputs)
            loss = functional.cross_entropy(logits, labels, label_smoothing=self._smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self._loss += loss.detach() * len(labels)
        self._right += (logits.detach().argmax(1) == labels).sum()

    def clear_sums(self) -> None:
        self._loss.zero_()
        self._right.zero_()

    def read_sums(self) -> tuple[float, int]:
        """The losses of all images since clear_sums, summed, and how many were classified correctly; waits for them."""
        return self._loss.item(), int(self._right.item())


def train_batches(step: TrainingStep, learning_rate: LRDriver, draws: Iterable[Draw]) -> TrainingSums:
    """Trains on each of `draws` in turn, and waits for the device at the end, so that the time it takes is known."""
    step.network.train()
    step.clear_sums()
    images = steps = 0
    lr_sum = 0.0
    for draw in draws:
        step.train_batch(draw)
        lr_sum, steps, images = lr_sum + learning_rate.current_lr, steps + 1, images + len(draw.chosen)
        learning_rate.after_batch()
    loss_sum, right = step.read_sums()
    return TrainingSums(loss_sum, right, images, lr_sum, steps)


def evaluate(network: nn.Module, images: DeviceSplit, *, lr: float | None = None) -> EvaluationResult:
    """Loss and accuracy on a whole split, in eval mode, in which `network` is left.

    Raises:
        DivergedError: if the loss is NaN or infinite, naming it and, if given, the learning rate that led to it.
    """
    device = device_of(network)
    network.eval()
    loss_sum, right = torch.zeros((), device=device), torch.zeros((), device=device, dtype=torch.long)
    with torch.inference_mode(), autocast_on(device):
        for inputs, labels in images.plain_batches():
            logits = network(inputs).float()
            loss_sum += functional.cross_entropy(logits, labels, reduction="sum")
            right += (logits.argmax(1) == labels).sum()
    evaluated = EvaluationResult(loss_sum.item() / len(images), right.item() / len(images))
    _check_finite("validation", evaluated.loss, lr)
    return evaluated


def recalibrate_norms(network: nn.Module, images: DeviceSplit, batch_size: int) -> None:
    """Sets the batch-norm statistics to the average over the first batches of `images`, weighted by their sizes.

    The images are not augmented.

    Removing channels shifts the statistics of all later layers; without this, accuracy after a cut says nothing.
    """
    device = device_of(network)
    norms = [each for each in network.modules() if isinstance(each, nn.BatchNorm2d) and each.momentum is not None]
    momenta = [norm.momentum for norm in norms]
    network.train()
    with torch.no_grad(), autocast_on(device):
        batches = images.plain_batches(batch_size, most=RECALIBRATION_BATCHES * batch_size)
        seen = 0
        for inputs, _ in batches:
            seen += len(inputs)
            for norm in norms:
                # A cumulative average. momentum=None would make PyTorch ask the device, and give a last batch of a
                # single image the weight of a whole one.
                norm.momentum = len(inputs) / seen
            network(inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _check_finite(split: str, loss: float, lr: float | None = None) -> None:
    if not abs(loss) < float("inf"):
        raise DivergedError(f"the {split} loss is {loss}" + (f" at learning rate {lr:.4g}" if lr is not None else ""))

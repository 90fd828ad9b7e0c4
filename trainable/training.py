"""One epoch of training, one pass of evaluation: the same for the dense network, a gated one and a pruned one.

No function here asks the device for a value until the end, so a GPU's queue never runs dry.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainable.config import OptimizerConfig
from trainable.data.batches import DeviceSplit
from trainable.errors import DivergedError
from trainable.network.vgg16 import VGG16
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


def autocast_on(device: torch.device) -> torch.autocast:
    """bfloat16 where it is fast: on CUDA."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


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
    select: Callable[[Sequence[Tensor]], Sequence[Tensor]],
) -> None:
    """Makes `optimizer`, which trained `old`, train `new`, with its learning rate and what remains of its momentum.

    Args:
        optimizer: from create_sgd.
        old, new: networks with as many parameters.
        select: from tensors like the parameters of `old`, those like the parameters of `new`.
    """
    buffers = [optimizer.state[parameter].get("momentum_buffer") for parameter in old.parameters()]
    replacement = dict(zip(map(id, old.parameters()), new.parameters(), strict=True))
    for group in optimizer.param_groups:
        group["params"] = [replacement[id(parameter)] for parameter in group["params"]]
    optimizer.state.clear()
    if all(buffer is not None for buffer in buffers):  # none has a momentum before the first step
        for parameter, buffer in zip(new.parameters(), select(buffers), strict=True):
            optimizer.state[parameter]["momentum_buffer"] = buffer


def train_batches(
    network: VGG16,
    optimizer: torch.optim.Optimizer,
    learning_rate: LRDriver,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    label_smoothing: float,
) -> TrainingSums:
    """Trains on each of `batches` in turn, and waits for the device at the end, so that the time it takes is known."""
    device = network.classifier.weight.device
    network.train()
    loss_sum, right = torch.zeros((), device=device), torch.zeros((), device=device, dtype=torch.long)
    images = steps = 0
    lr_sum = 0.0
    for inputs, labels in batches:
        with autocast_on(device):
            logits = network(inputs)
            loss = functional.cross_entropy(logits, labels, label_smoothing=label_smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        lr_sum, steps, images = lr_sum + learning_rate.current_lr, steps + 1, images + len(labels)
        learning_rate.after_batch()
        loss_sum += loss.detach() * len(labels)
        right += (logits.detach().argmax(1) == labels).sum()
    return TrainingSums(loss_sum.item(), int(right.item()), images, lr_sum, steps)


def evaluate(network: VGG16, images: DeviceSplit, *, lr: float | None = None) -> EvaluationResult:
    """Loss and accuracy on a whole split, in eval mode, in which `network` is left.

    Raises:
        DivergedError: if the loss is NaN or infinite, naming it and, if given, the learning rate that led to it.
    """
    device = network.classifier.weight.device
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


def recalibrate_norms(network: VGG16, images: DeviceSplit, batch_size: int) -> None:
    """Sets the batch-norm statistics to the average over the first batches of `images`, weighted by their sizes.

    The images are not augmented.

    Removing channels shifts the statistics of all later layers; without this, accuracy after a cut says nothing.
    """
    device = network.classifier.weight.device
    norms = [norm for _, norm in network.layers()]
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

"""Small networks for the tests: VGG16 at any widths, its layers, and networks of the blocks that others are made of."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from records.dense import DenseRecord
from trainable.dense import DenseNetwork
from trainable.network.architecture import Architecture
from trainable.network.grouping import find_layout
from trainable.network.layout import Layout
from trainable.network.placement import place_on
from trainable.network.vgg import VGG
from trainable.pruning.gates import GatedNetwork

# torchvision's configuration D.
LAYERS = (*(64, 64, "M", 128, 128, "M", 256, 256, 256, "M"), *(512, 512, 512, "M", 512, 512, 512, "M"))
FULL_WIDTHS = tuple(layer for layer in LAYERS if isinstance(layer, int))


def scale_widths(width: float) -> tuple[int, ...]:
    """VGG16's at `width` times the published ones."""
    return tuple(max(1, round(width * full)) for full in FULL_WIDTHS)


def build_vgg16(widths: Sequence[int], classes: int) -> VGG:
    """VGG16 at the widths of its 13 groups; random weights from the global generator."""
    remaining = iter(widths)
    return VGG([next(remaining) if isinstance(layer, int) else layer for layer in LAYERS], classes)


def create_vgg16(widths: Sequence[int], classes: int, seed: int) -> VGG:
    """As build_vgg16, with weights of `seed` alone, channels-last."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return place_on(build_vgg16(widths, classes), torch.device("cpu"))


def find_vgg16_layout(widths: Sequence[int], classes: int) -> Layout:
    return find_layout(Architecture("vgg16", classes, width=1 / 16)).resize(widths)


def create_dense(network: nn.Module, layout: Layout, architecture: Architecture) -> DenseNetwork:
    """A dense network whose record says nothing of its training."""
    record = DenseRecord(
        hash="",
        epochs=1,
        train_loss=1,
        train_accuracy=0,
        val_loss=1,
        val_accuracy=0,
        widths=layout.widths,
        channels=layout.count("channels", layout.widths),
        parameters=layout.count("parameters", layout.widths),
        macs=layout.count("macs", layout.widths),
        seconds=1,
        device="cpu",
        threads=1,
    )
    return DenseNetwork(network, architecture, layout, record)


def list_layers(network: Any) -> list[tuple[Any, Any]]:
    """The convolutions of a VGG, each with the batch normalisation after it; `network` may be gated."""
    features = (network.network if isinstance(network, GatedNetwork) else network).features
    return [(conv, norm) for conv, norm in pairwise(features) if isinstance(norm, nn.BatchNorm2d)]


def list_widths(network: nn.Module) -> tuple[int, ...]:
    """The widths of a VGG, which may be gated."""
    return tuple(norm.num_features for _, norm in list_layers(network))


def count_macs(network: nn.Module, image_size: int = 32) -> int:
    """Multiply-accumulates for one image, as torch counts them."""
    images = torch.zeros(1, 3, image_size, image_size, dtype=next(network.parameters()).dtype)
    training = network.training
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(images)
    network.train(training)
    return int(counter.get_total_flops()) // 2


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def draw_norms(network: nn.Module, seed: int) -> None:
    """Batch normalisations as if trained for long: negative scales and 0, and shifts, means and variances at random."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.weight, module.bias, module.running_mean):
                    if tensor is not None:
                        tensor.normal_(generator=generator)
                if module.running_var is not None:
                    module.running_var.uniform_(0.5, 2, generator=generator)
                if module.weight is not None:
                    module.weight.mul_(torch.rand(module.num_features, generator=generator) < 0.9)


def draw_masks(widths: Sequence[int], share: float) -> list[Tensor]:
    """About `share` of each group is kept, at least one channel; from the global generator."""
    masks = [torch.rand(width) < share for width in widths]
    for mask in masks:
        mask[torch.randint(len(mask), ())] = True
    return masks


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Whether two networks have the same tensors, to the bit."""
    return all(torch.equal(*pair) for pair in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


class ConvNorm(nn.Sequential):
    """A convolution that keeps the size of its maps, and a batch normalisation."""

    def __init__(self, inputs: int, outputs: int, size: int = 3, *, stride: int = 1, groups: int = 1) -> None:
        conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(outputs))


ACTIVATIONS = {
    "relu": functional.relu,
    "relu6": functional.relu6,
    "silu": functional.silu,
    "gelu": functional.gelu,
    "hardswish": functional.hardswish,
    "leaky_relu": functional.leaky_relu,
}


def _add_1(maps: Tensor) -> Tensor:
    """No activation: it does not keep 0 at 0."""
    return maps + 1


class MixedBlock(nn.Module):
    """One of the blocks that networks are made of; `outputs` is how many channels it has in the end.

    kind: plain: a layer. residual: two layers, added to the input. project: as residual, of half the size and other
    channels. add, concatenate: two layers beside each other, whose outputs are added or concatenated. append: the
    output of a layer is concatenated to the input. inverted: as in MobileNet, with a depthwise convolution. squeeze: a
    layer with squeeze-and-excitation. pool: a maximum.
    """

    def __init__(self, kind: str, inputs: int, width: int, activation: str) -> None:
        super().__init__()
        self.kind, self.activate = kind, {**ACTIVATIONS, "plus_1": _add_1}[activation]
        self.outputs = {"residual": inputs, "pool": inputs, "concatenate": 2 * width + 1, "append": inputs + width}.get(
            kind, width
        )
        match kind:
            case "plain":
                self.first = ConvNorm(inputs, width)
            case "residual":
                self.first, self.second = ConvNorm(inputs, width), ConvNorm(width, inputs)
            case "project":
                self.first, self.second = ConvNorm(inputs, width, stride=2), ConvNorm(width, width)
                self.shortcut = ConvNorm(inputs, width, 1, stride=2)
            case "add":
                self.first, self.second = ConvNorm(inputs, width), ConvNorm(inputs, width, 1)
            case "concatenate":
                self.first, self.second = ConvNorm(inputs, width), ConvNorm(inputs, width + 1, 1)
            case "append":
                self.first = ConvNorm(inputs, width)
            case "inverted":
                self.first, self.depthwise = (
                    ConvNorm(inputs, 2 * width, 1),
                    ConvNorm(2 * width, 2 * width, groups=2 * width),
                )
                self.second = ConvNorm(2 * width, width, 1)
            case "squeeze":
                self.first = ConvNorm(inputs, width)
                self.reduce, self.expand = nn.Conv2d(width, 2, 1), nn.Conv2d(2, width, 1)

    def forward(self, maps: Tensor) -> Tensor:
        act = self.activate
        match self.kind:
            case "plain":
                return act(self.first(maps))
            case "residual":
                return act(maps + self.second(act(self.first(maps))))
            case "project":
                return act(self.shortcut(maps) + self.second(act(self.first(maps))))
            case "add":
                return act(self.first(maps) + self.second(maps))
            case "concatenate":
                return act(torch.cat([self.first(maps), self.second(maps)], 1))
            case "append":
                return torch.cat([maps, act(self.first(maps))], 1)
            case "inverted":
                return self.second(act(self.depthwise(act(self.first(maps)))))  # type: ignore[no-any-return]
            case "squeeze":
                inner = act(self.first(maps))
                squeezed = self.expand(torch.relu(self.reduce(inner.mean((2, 3), keepdim=True))))
                return inner * torch.sigmoid(squeezed)
            case _:
                return functional.max_pool2d(maps, 2)


class Mixed(nn.Module):
    """A layer, blocks, and a classifier of the flattened maps or of their means."""

    def __init__(
        self, classes: int, blocks: Sequence[Sequence[Any]], *, width: int, flattens: bool, image_size: int
    ) -> None:
        super().__init__()
        self.stem, self.flattens = ConvNorm(3, width), flattens
        layers = list[MixedBlock]()
        inputs, size = width, image_size
        for kind, channels, activation in blocks:
            layers.append(MixedBlock(kind, inputs, channels, activation))
            inputs, size = layers[-1].outputs, size // 2 if kind in ("pool", "project") else size
        self.blocks = nn.Sequential(*layers)
        self.classifier = nn.Linear(inputs * size**2 if flattens else inputs, classes)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.blocks(torch.relu(self.stem(images)))
        return self.classifier(maps.flatten(1) if self.flattens else maps.mean((2, 3)))  # type: ignore[no-any-return]


def build_mixed(
    classes: int, image_size: int, blocks: Sequence[Sequence[Any]], channels: int = 4, flattens: bool = False
) -> Mixed:
    """A network of `blocks`, each a kind, a width and the name of an activation."""
    return Mixed(classes, blocks, width=channels, flattens=flattens, image_size=image_size)


class Dropping(nn.Module):
    """A layer, Dropout of its maps, another layer and a classifier."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.first, self.second = ConvNorm(3, 8, stride=4), ConvNorm(8, 8)
        self.dropout, self.classifier = nn.Dropout(0.3), nn.Linear(8, classes)

    def forward(self, images: Tensor) -> Tensor:
        maps = torch.relu(self.second(self.dropout(torch.relu(self.first(images)))))
        return self.classifier(maps.mean((2, 3)))  # type: ignore[no-any-return]


def build_dropping(classes: int) -> Dropping:
    return Dropping(classes)


class Unusual(nn.Module):
    """A frozen layer, one that starts at 0, a parameter called as ours is, and a tensor that no state dict has."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.first, self.second = ConvNorm(3, 8, stride=4).requires_grad_(False), ConvNorm(8, 8)
        self.alpha = nn.Parameter(torch.ones(()))
        self.means = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
        self.classifier = nn.Linear(8, classes)
        nn.init.zeros_(self.classifier.weight)

    def forward(self, images: Tensor) -> Tensor:
        maps = torch.relu(self.second(torch.relu(self.first(images - self.means.to(images)))))
        return self.alpha * self.classifier(maps.mean((2, 3)))  # type: ignore[no-any-return]


def build_unusual(classes: int) -> Unusual:
    return Unusual(classes)

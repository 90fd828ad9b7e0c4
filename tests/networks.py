"""Small networks for the tests: VGG16 at any widths, its layers, and networks with what pruning has to cope with."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from records.dense import DenseRecord
from trainable.dense import DenseNetwork
from trainable.network.architecture import Architecture
from trainable.network.grouping import find_layout
from trainable.network.layout import Group, Layout, Span
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
    return resize_layout(find_layout(Architecture("vgg16", classes, width=1 / 16)), widths)


def resize_layout(layout: Layout, widths: Sequence[int]) -> Layout:
    """The layout of the same network at other widths of its groups."""

    def resize(axis: Sequence[Span]) -> tuple[Span, ...]:
        return tuple(
            span
            if span.group is None
            else Span(span.group, span.entries // layout.widths[span.group] * widths[span.group])
            for span in axis
        )

    groups = tuple(Group(group.name, width) for group, width in zip(layout.groups, widths, strict=True))
    layers = tuple(replace(each, rows=resize(each.rows), columns=resize(each.columns)) for each in layout.layers)
    return replace(layout, groups=groups, layers=layers)


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
                    assert tensor is not None
                    tensor.normal_(generator=generator)
                assert module.running_var is not None
                module.running_var.uniform_(0.5, 2, generator=generator)
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

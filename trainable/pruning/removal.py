"""Removal: the physically smaller network that a gated network is at alpha = 0."""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainable.network.vgg16 import VGG16, create_empty
from trainable.pruning.gates import GatedVGG16
from trainable.pruning.masks import widths_of


def remove_channels(network: GatedVGG16) -> VGG16:
    """The network without its doomed channels: a new one, on the same device, sharing nothing with the old one.

    With the gate at `bn_output` its output is that of `network` at alpha = 0: a doomed channel is then 0 after its
    batch normalisation, and so after ReLU and pooling, for whatever reads it. With `conv_weight` a doomed channel is
    left with the constant relu(beta), so the outputs differ.
    """
    device = network.classifier.weight.device
    pruned = create_empty(widths_of(network.masks), network.classes, device)
    with torch.no_grad():
        kept = select_channels(list(network.parameters()), network.masks)
        for target, source in zip(pruned.parameters(), kept, strict=True):
            target.copy_(source)
        for (_, old), (_, new), mask in zip(network.layers(), pruned.layers(), network.masks, strict=True):
            for name, buffer in new.named_buffers():
                source = old.get_buffer(name)
                buffer.copy_(source[mask.to(device)] if source.ndim else source)
    return pruned.train(network.training)


def select_channels(tensors: Sequence[Tensor], masks: Sequence[Tensor]) -> list[Tensor]:
    """What the kept channels have of `tensors`, which are shaped and ordered like the parameters of a VGG16.

    Copies, laid out as the parameters are: parameters themselves, or what an optimizer keeps of each.
    """
    remaining, kept = iter(tensors), []
    inputs: Tensor | slice = slice(None)
    for mask in masks:
        outputs = mask.to(tensors[0].device)
        weight, *others = (next(remaining) for _ in range(4))  # of the convolution; its bias; the norm's two
        kept.append(weight[outputs][:, inputs].contiguous(memory_format=torch.channels_last))
        kept += [each[outputs] for each in others]
        inputs = outputs
    return [*kept, next(remaining)[:, inputs], next(remaining).clone()]


def relative_difference(network: GatedVGG16, pruned: VGG16, images: Tensor) -> float:
    """The largest difference of the two networks' logits on `images`, relative to the largest logit of `network`.

    `network` is run at alpha = 0. Both are left as they were. 1e-5 or less is rounding.
    """
    alpha, training = network.alpha.clone(), (network.training, pruned.training)
    try:
        network.set_alpha(0)
        with torch.no_grad():
            expected, got = network.eval()(images), pruned.eval()(images)
    finally:
        network.alpha.copy_(alpha)
        network.train(training[0])
        pruned.train(training[1])
    return float((expected - got).abs().max() / expected.abs().max())

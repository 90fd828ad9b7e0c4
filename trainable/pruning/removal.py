"""Removal: the physically smaller network that a gated network is at alpha = 0."""

import torch
from torch import Tensor, nn

from trainable.network.vgg16 import VGG16, create_empty
from trainable.pruning.gates import GatedBatchNorm2d, GatedVGG16
from trainable.pruning.masks import widths_of


def remove_channels(network: GatedVGG16) -> VGG16:
    """The network without its doomed channels: a new one, on the same device, sharing nothing with the old one.

    With the gate at `bn_output` its output is that of `network` at alpha = 0: a doomed channel is then 0 after its
    batch normalisation, and so after ReLU and pooling, for whatever reads it. With `conv_weight` a doomed channel is
    left with the constant relu(beta), so the outputs differ.
    """
    weight = network.classifier.weight
    pruned = create_empty(widths_of(network.masks), network.classes, weight.device)
    inputs: Tensor | slice = slice(None)
    with torch.no_grad():
        for old, new, kept in zip(network.layers(), pruned.layers(), network.masks, strict=True):
            outputs = kept.to(weight.device)
            (old_conv, old_norm), (new_conv, new_norm) = old, new
            new_conv.weight.copy_(old_conv.weight[outputs][:, inputs])
            new_conv.bias.copy_(old_conv.bias[outputs])  # type: ignore[union-attr,index]
            _copy_norm(old_norm, new_norm, outputs)
            inputs = outputs
        pruned.classifier.weight.copy_(weight[:, inputs])
        pruned.classifier.bias.copy_(network.classifier.bias)
    return pruned.train(network.training)


def _copy_norm(old: nn.BatchNorm2d, new: nn.BatchNorm2d, outputs: Tensor) -> None:
    assert isinstance(old, GatedBatchNorm2d)
    for target, source in zip((new.weight, new.bias), old.affine_parameters(), strict=True):
        target.copy_(source[outputs])
    for name, buffer in new.named_buffers():
        source = old.get_buffer(name)
        buffer.copy_(source[outputs] if source.ndim else source)


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

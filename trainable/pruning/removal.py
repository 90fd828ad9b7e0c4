"""Removal: the physically smaller network that a gated network is at alpha = 0."""

import torch
from torch import Tensor, nn

from trainable.network.placement import device_of, replace_tensors
from trainable.pruning.gates import GatedNetwork


def remove_channels(network: GatedNetwork) -> nn.Module:
    """The network without its doomed channels: a new one, on the same device, sharing nothing with the old one.

    With the gate at `bn_output` its output is that of `network` at alpha = 0: a doomed channel is then 0 after its
    batch normalisation, and so after ReLU and pooling, for whatever reads it. With `conv_weight` a doomed channel is
    left with the constant relu(beta), so the outputs differ.
    """
    pruned = replace_tensors(network.dense, network.layout.select(network.list_tensors(), network.masks))
    return pruned.to(device_of(network)).train(network.training)


def relative_difference(network: GatedNetwork, pruned: nn.Module, images: Tensor) -> float:
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


def find_inexact_group(network: GatedNetwork, images: Tensor, tolerance: float) -> str:
    """The name of a group whose removal alone changes the network's output by more than `tolerance`; "" if none does.

    network: its gates are at `bn_output`.
    """
    trained = replace_tensors(network.dense, network.list_tensors())
    for group, mask in enumerate(network.masks):
        masks = [mask if other == group else torch.ones_like(each) for other, each in enumerate(network.masks)]
        gated = GatedNetwork(trained, network.layout, masks, "bn_output")
        if not relative_difference(gated, remove_channels(gated), images) <= tolerance:
            return network.layout.groups[group].name
    return ""

"""How important a channel is: one tensor of scores [width] per layer, on the CPU; higher is more important.

l1, l2 (Li et al. 2017): the norm of the channel's filter. bn_scale (Liu et al. 2017): |gamma|. taylor (Molchanov et
al. 2019): the squared first-order change of the loss if the channel's batch-norm output were removed, which is the
gate's own gradient. random: a control.
"""

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from trainable.network.vgg16 import VGG16

Criterion = Literal["l1", "l2", "bn_scale", "taylor", "random"]


def score_channels(
    network: VGG16, criterion: Criterion, *, batches: Iterable[tuple[Tensor, Tensor]], seed: int
) -> list[Tensor]:
    """Scores of all channels.

    Args:
        network: the trained dense network; it is left as it was.
        criterion: which of the five.
        batches: normalised images and labels, not augmented, read by `taylor` alone.
        seed: of the random numbers of `random`.
    """
    if criterion == "taylor":
        return _score_by_taylor(network, batches)
    if criterion == "random":
        generator = torch.Generator().manual_seed(seed)
        return [torch.rand(width, generator=generator) for width in network.widths]
    scores = []
    for conv, norm in network.layers():
        if criterion == "bn_scale":
            scores.append(norm.weight.detach().abs().cpu())
        else:
            filters = conv.weight.detach().flatten(1)
            scores.append(torch.linalg.vector_norm(filters, ord=1 if criterion == "l1" else 2, dim=1).cpu())
    return scores


def _score_by_taylor(network: VGG16, batches: Iterable[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """With a gate g on the batch-norm output, dL/dg at 1 is gamma dL/dgamma + beta dL/dbeta."""
    norms = [norm for _, norm in network.layers()]
    affine = [parameter for norm in norms for parameter in (norm.weight, norm.bias)]
    totals = [torch.zeros_like(norm.weight) for norm in norms]
    training = network.training
    network.eval()  # to use the running statistics, which must not change
    largest = 0
    for images, labels in batches:
        largest = max(largest, len(labels))
        gradients = torch.autograd.grad(functional.cross_entropy(network(images), labels), affine)
        for layer, norm in enumerate(norms):
            d_scale, d_shift = gradients[2 * layer : 2 * layer + 2]
            # The gradient is a mean over the batch; that of a small last batch must not count as much.
            weight = len(labels) / largest
            totals[layer] += weight * (norm.weight * d_scale + norm.bias * d_shift).detach() ** 2
    network.train(training)
    return [total.cpu() for total in totals]

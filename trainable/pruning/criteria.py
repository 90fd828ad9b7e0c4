"""How important a channel is: one tensor of scores [width] per group, on the CPU; higher is more important.

l1, l2 (Li et al. 2017): the norm of the channel's filters. bn_scale (Liu et al. 2017): |gamma|. taylor (Molchanov et
al. 2019): the squared first-order change of the loss if the channel's batch-norm outputs were removed, which is the
gate's own gradient. random: a control.

A channel of a group may have several filters and normalisations, such as those of a residual stream: their norms count
as those of one filter (the sum for l1, the root of the sum of squares for l2), their |gamma| are added, and so are
their gradients, before they are squared.
"""

from collections.abc import Callable, Iterable
from functools import reduce
from itertools import chain
from operator import add
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainable.network.layout import Layout

Criterion = Literal["l1", "l2", "bn_scale", "taylor", "random"]


def score_channels(
    network: nn.Module,
    layout: Layout,
    criterion: Criterion,
    *,
    batches: Iterable[tuple[Tensor, Tensor]],
    seed: int,
) -> list[Tensor]:
    """Scores of all channels.

    Args:
        network: the trained dense network; it is left as it was.
        layout: of the network.
        criterion: which of the five.
        batches: normalised images and labels, not augmented, read by `taylor` alone.
        seed: of the random numbers of `random`.
    """
    if criterion == "taylor":
        return _score_by_taylor(network, layout, batches)
    if criterion == "random":
        generator = torch.Generator().manual_seed(seed)
        return [torch.rand(width, generator=generator) for width in layout.widths]
    found: list[list[Tensor]] = [[] for _ in layout.groups]
    combine: Callable[[Tensor, Tensor], Tensor] = torch.hypot if criterion == "l2" else add
    kinds = ("normalisation",) if criterion == "bn_scale" else ("convolution", "linear")
    for group, layer, rows in chain.from_iterable(map(layout.list_members, kinds)):
        weight = cast(Tensor, network.get_submodule(layer.name).weight).detach()[rows]
        if criterion == "bn_scale":
            found[group].append(weight.abs().cpu())
        else:
            norm = torch.linalg.vector_norm(weight.flatten(1), ord=1 if criterion == "l1" else 2, dim=1)
            found[group].append(norm.cpu())
    return [reduce(combine, scores) for scores in found]


def _score_by_taylor(network: nn.Module, layout: Layout, batches: Iterable[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """With a gate g on the batch-norm outputs, dL/dg at 1 is the sum of gamma dL/dgamma + beta dL/dbeta."""
    members = list(layout.list_members("normalisation"))
    norms = {layer.name: cast(nn.BatchNorm2d, network.get_submodule(layer.name)) for _, layer, _ in members}
    affine = [parameter for norm in norms.values() for parameter in (norm.weight, norm.bias)]
    frozen = [parameter for parameter in affine if not parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(True)
    device = affine[0].device
    totals = [torch.zeros(width, device=device) for width in layout.widths]
    training = network.training
    network.eval()  # to use the running statistics, which must not change
    largest = 0
    for images, labels in batches:
        largest = max(largest, len(labels))
        gradients = iter(torch.autograd.grad(functional.cross_entropy(network(images), labels), affine))
        of_norms = {
            name: (norm.weight * next(gradients) + norm.bias * next(gradients)).detach() for name, norm in norms.items()
        }
        changes: list[list[Tensor]] = [[] for _ in layout.groups]
        for group, layer, rows in members:
            changes[group].append(of_norms[layer.name][rows])
        # The gradient is a mean over the batch; that of a small last batch must not count as much.
        weight = len(labels) / largest
        for total, change in zip(totals, changes, strict=True):
            total += weight * reduce(add, change) ** 2
    network.train(training)
    for parameter in frozen:
        parameter.requires_grad_(False)
    return [total.cpu() for total in totals]

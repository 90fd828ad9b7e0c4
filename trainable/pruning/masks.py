"""Which channels are doomed: for each group a mask [width] of bool, True where the channel is kept.

Chosen once, from the trained dense network. The widths are the largest that cut at least the requested amount.
"""

from collections.abc import Callable, Sequence
from math import ceil

import torch
from torch import Tensor

from trainable.config import PruningConfig
from trainable.network.layout import Layout


def choose_masks(scores: Sequence[Tensor], pruning: PruningConfig, layout: Layout) -> list[Tensor]:
    """The masks that cut at least `pruning.amount`, the least important channels of each group first.

    Args:
        scores: the importance of each channel, [width] per group (criteria.py).
        pruning: amount, of, scope, least_kept and round_to are used.
        layout: of the network, for counting.

    Raises:
        ValueError: if not even the smallest network that the scope and round_to allow cuts that much.
    """
    dense = layout.widths
    total = layout.count(pruning.of, dense)
    widths_of = _uniform_widths(dense) if pruning.scope == "uniform" else _global_widths(scores, pruning.least_kept)

    def widths(step: int) -> list[int]:
        least = pruning.round_to
        return [min(width, ceil(kept / least) * least) for kept, width in zip(widths_of(step), dense, strict=True)]

    def reached(step: int) -> bool:
        # 1 - 0.9 is a little less than 0.1, and a cut of exactly the amount is enough.
        return layout.count(pruning.of, widths(step)) <= (1 - pruning.amount) * total * (1 + 1e-12)

    # More steps never keep more channels, so bisection finds the first that reaches the amount.
    low, high = 0, sum(dense)
    if not reached(high):
        # Rounded down, so that it can be asked for.
        most = (total - layout.count(pruning.of, widths(high))) * 10_000 // total / 10_000
        raise ValueError(
            f"pruning.amount must be at most {most:.4f} of the {pruning.of} with scope={pruning.scope!r}, "
            f"least_kept={pruning.least_kept} and round_to={pruning.round_to} at this width, but got {pruning.amount}; "
            "lower it, least_kept or round_to" + _explain_whole(layout)
        )
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle + 1, high)
    return [mask_highest(group, kept) for group, kept in zip(scores, widths(low), strict=True)]


def _explain_whole(layout: Layout) -> str:
    return f" (never cut: {'; '.join(layout.whole)})" if layout.whole else ""


def _uniform_widths(dense: Sequence[int]) -> Callable[[int], list[int]]:
    """Widths after `step` of sum(dense) equal steps: the same fraction of each group, never a whole one."""
    steps = sum(dense)
    return lambda step: [max(1, ceil(width * (steps - step) / steps)) for width in dense]


def _global_widths(scores: Sequence[Tensor], least_kept: float) -> Callable[[int], list[int]]:
    """Widths without the `step` least important channels of all groups, as far as `least_kept` lets them go.

    Fan-in alone makes the scores of groups differ in size, so each score is taken relative to its group's mean.
    """
    dense = torch.tensor([len(group) for group in scores])
    spare = [len(group) - max(1, ceil(least_kept * len(group))) for group in scores]
    relative = [(group.double() / group.double().mean().clamp_min(1e-30)).sort().values for group in scores]
    values = torch.cat([group[:count] for group, count in zip(relative, spare, strict=True)])
    owners = torch.repeat_interleave(torch.arange(len(scores)), torch.tensor(spare))
    order = owners[values.argsort(stable=True)]
    return lambda step: (dense - order[:step].bincount(minlength=len(scores))).tolist()


def mask_highest(scores: Tensor, kept: int) -> Tensor:
    """The mask of the `kept` highest scores; of equal scores the first are kept."""
    mask = torch.zeros(len(scores), dtype=torch.bool)
    mask[scores.argsort(descending=True, stable=True)[:kept]] = True
    return mask


def widths_of(masks: Sequence[Tensor]) -> tuple[int, ...]:
    """The widths of the pruned network."""
    return tuple(int(mask.sum()) for mask in masks)

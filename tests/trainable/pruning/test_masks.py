"""The masks cut at least what is asked, no more than they must, and the least important channels first."""

import re
from dataclasses import replace
from itertools import pairwise
from math import ceil

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from networks import find_vgg16_layout, scale_widths
from torch import Tensor

from trainable.config import PruningConfig
from trainable.network.layout import Layout
from trainable.pruning.masks import choose_masks, widths_of

CLASSES = 10
PRUNING = st.builds(
    PruningConfig,
    amount=st.floats(0.01, 0.99),
    of=st.sampled_from(["macs", "parameters", "channels"]),
    scope=st.sampled_from(["uniform", "global"]),
    least_kept=st.sampled_from([0.0, 0.1, 0.3]),
    round_to=st.sampled_from([1, 2, 3, 8, 16]),
)
WIDTH = st.sampled_from([1 / 64, 1 / 16, 0.13, 0.25])


@st.composite
def score_lists(draw: st.DrawFn) -> list[Tensor]:
    """Scores of a network's channels: layers of very different sizes, and many ties."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    levels = draw(st.sampled_from([1, 3, 10**6]))
    sizes = draw(st.lists(st.sampled_from([1e-6, 1.0, 1e3]), min_size=13, max_size=13))
    widths = scale_widths(draw(WIDTH))
    return [
        torch.randint(levels, (width,), generator=generator) * size for width, size in zip(widths, sizes, strict=True)
    ]


def layout_of(scores: list[Tensor]) -> Layout:
    return find_vgg16_layout([len(layer) for layer in scores], CLASSES)


def fraction_cut(widths: tuple[int, ...] | list[int], scores: list[Tensor], pruning: PruningConfig) -> float:
    layout = layout_of(scores)
    return 1 - layout.count(pruning.of, widths) / layout.count(pruning.of, layout.widths)


def chosen(scores: list[Tensor], pruning: PruningConfig) -> list[Tensor]:
    """The masks, if the amount can be reached."""
    try:
        return choose_masks(scores, pruning, layout_of(scores))
    except ValueError:
        assume(False)
        raise


@given(score_lists(), PRUNING)
@settings(max_examples=150)
def test_at_least_the_amount_is_cut_and_no_layer_is_emptied(scores: list[Tensor], pruning: PruningConfig) -> None:
    masks = chosen(scores, pruning)
    widths = widths_of(masks)
    assert all(mask.dtype == torch.bool and len(mask) == len(s) for mask, s in zip(masks, scores, strict=True))
    assert fraction_cut(widths, scores, pruning) >= pruning.amount - 1e-12
    for width, layer in zip(widths, scores, strict=True):
        assert width >= 1
        assert width % pruning.round_to == 0 or width == len(layer)
        if pruning.scope == "global":
            assert width >= pruning.least_kept * len(layer)


@given(score_lists(), PRUNING)
@settings(max_examples=100)
def test_the_least_important_of_a_layer_go_first(scores: list[Tensor], pruning: PruningConfig) -> None:
    for mask, layer in zip(chosen(scores, pruning), scores, strict=True):
        if not mask.all():
            assert layer[mask].min() >= layer[~mask].max()


@given(score_lists(), PRUNING)
@settings(max_examples=100)
def test_no_wider_choice_reaches_the_amount(scores: list[Tensor], pruning: PruningConfig) -> None:
    """Of all widths that the scope and round_to allow, listed slowly, the widest that reach the amount are chosen."""
    dense, layout = [len(layer) for layer in scores], layout_of(scores)
    kept = list(dense)
    candidates = [tuple(dense)]
    if pruning.scope == "uniform":
        candidates += [tuple(max(1, ceil(w * n / sum(dense))) for w in dense) for n in range(sum(dense) - 1, -1, -1)]
    else:
        relative = [layer.double() / max(layer.double().mean().item(), 1e-30) for layer in scores]
        ranked = sorted((value, layer) for layer, values in enumerate(relative) for value in values.tolist())
        for _, layer in ranked:
            if kept[layer] - 1 >= max(1, pruning.least_kept * dense[layer]):
                kept[layer] -= 1
                candidates.append(tuple(kept))
    least = pruning.round_to
    rounded = [
        tuple(min(w, ceil(k / least) * least) for k, w in zip(widths, dense, strict=True)) for widths in candidates
    ]
    assert all(a >= b for wide, narrow in pairwise(rounded) for a, b in zip(wide, narrow, strict=True))
    allowed = (1 - pruning.amount) * layout.count(pruning.of, dense) * (1 + 1e-12)
    reaching = [widths for widths in rounded if layout.count(pruning.of, widths) <= allowed]
    assume(reaching)
    assert widths_of(choose_masks(scores, pruning, layout_of(scores))) == reaching[0]


@given(score_lists(), PRUNING)
@settings(max_examples=150)
def test_what_cannot_be_reached_is_refused_and_what_the_message_offers_can(
    scores: list[Tensor], pruning: PruningConfig
) -> None:
    greedy = replace(pruning, amount=0.9999999)
    with pytest.raises(ValueError, match=r"pruning\.amount") as caught:
        choose_masks(scores, greedy, layout_of(scores))
    offered = float(re.findall(r"at most ([\d.]+)", str(caught.value))[0])
    assume(offered > 0)
    offer = replace(pruning, amount=offered)
    widths = widths_of(choose_masks(scores, offer, layout_of(scores)))
    # And it is the greatest: the next amount that the message could offer cannot be reached.
    assert fraction_cut(widths, scores, pruning) - offered < 1e-4


def test_global_ranks_over_layers_and_uniform_does_not() -> None:
    scores = [torch.linspace(0.9, 1.1, 32) for _ in range(13)]
    scores[6] = torch.cat([torch.full((24,), 1e-3), torch.full((8,), 4.0)])
    layout = layout_of(scores)
    uniform = widths_of(choose_masks(scores, PruningConfig(0.05, "channels", scope="uniform", round_to=1), layout))
    ranked = widths_of(choose_masks(scores, PruningConfig(0.05, "channels", round_to=1), layout))
    assert uniform == (30,) * 13
    assert ranked == (32,) * 6 + (11,) + (32,) * 6


def test_scores_of_unequal_size_do_not_make_one_layer_pay_for_all() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = [torch.rand(32, generator=generator) + 0.5 for _ in range(13)]
    scaled = [layer * 10.0**exponent for exponent, layer in enumerate(scores, start=-6)]
    masks, same = (choose_masks(each, PruningConfig(0.5, round_to=1), layout_of(each)) for each in (scores, scaled))
    assert widths_of(masks) == widths_of(same)


@pytest.mark.parametrize(("amount", "width"), [(0.9, 4), (0.7, 12), (0.1, 36), (0.3, 28)])
def test_exactly_the_amount_is_enough(amount: float, width: int) -> None:
    """Where rounding makes (1 - amount) * channels a little less than the channels that are left."""
    scores = [torch.ones(40) for _ in range(13)]
    masks = choose_masks(scores, PruningConfig(amount, "channels", scope="uniform", round_to=1), layout_of(scores))
    assert widths_of(masks) == (width,) * 13


def test_a_layer_keeps_a_tenth_and_others_pay_for_the_rest() -> None:
    scores = [torch.linspace(1, 2, 40) for _ in range(13)]
    # Relative to its layer's mean all but one channel of this layer are close to nothing.
    scores[3] = torch.cat([torch.full((39,), 1e-6), torch.ones(1)])
    widths = widths_of(choose_masks(scores, PruningConfig(37 / (13 * 40), "channels", round_to=1), layout_of(scores)))
    assert widths == (39, 40, 40, 4) + (40,) * 9

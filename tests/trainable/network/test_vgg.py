"""The network's size is what torch itself counts, and its weights come from the seed alone."""

from collections.abc import Sequence
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from trainable.network.vgg16 import (
    FULL_WIDTHS,
    IMAGE_SIZE,
    VGG16,
    compute_sparsities,
    count_channels,
    count_macs,
    count_parameters,
    create_initialised,
    dense_widths,
)

from trainable.network import vgg16

WIDTHS = st.lists(st.integers(1, 24), min_size=13, max_size=13)


@given(WIDTHS, st.integers(2, 12))
@settings(max_examples=15, deadline=None)
def test_costs_are_what_torch_counts(widths: list[int], classes: int) -> None:
    network = VGG16(widths, classes).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        logits = network(torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE))
    assert logits.shape == (1, classes)
    assert count_macs(widths, classes) == counter.get_total_flops() / 2
    assert count_parameters(widths, classes) == sum(parameter.numel() for parameter in network.parameters())
    assert count_channels(widths, classes) == sum(
        m.num_features for m in network.modules() if isinstance(m, nn.BatchNorm2d)
    )


def test_the_full_network_is_the_published_one() -> None:
    assert FULL_WIDTHS == dense_widths(1) == (64, 64, 128, 128, 256, 256, 256, *[512] * 6)
    assert count_parameters(FULL_WIDTHS, 10) == 14_728_266
    assert count_macs(FULL_WIDTHS, 10) == 313_201_664  # 313.7 M in papers, which count the hidden linear layer, too


def test_layers_and_weights_are_those_of_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import vgg

    assert list(vgg16.LAYOUT) == vgg.cfgs["D"]
    ours = create_initialised(dense_widths(1 / 16), 10, seed=3)
    monkeypatch.setattr(vgg16, "_make_layers", partial(vgg.make_layers, batch_norm=True))
    theirs = create_initialised(dense_widths(1 / 16), 10, seed=3)
    assert repr(ours) == repr(theirs)
    assert all(torch.equal(weights, theirs.state_dict()[name]) for name, weights in ours.state_dict().items())


@pytest.mark.parametrize(
    ("width", "first_and_last"),
    [(1 / 16, (4, 32)), (0.5, (32, 256)), (1e-9, (1, 1)), (0.3, (19, 154)), (2, (128, 1024))],
)
def test_widths_scale_and_never_vanish(width: float, first_and_last: tuple[int, int]) -> None:
    widths = dense_widths(width)
    assert (widths[0], widths[-1]) == first_and_last


@given(WIDTHS)
@settings(max_examples=5, deadline=None)
def test_a_network_knows_its_widths(widths: list[int]) -> None:
    network = VGG16(widths, 7)
    assert (network.widths, network.classes) == (tuple(widths), 7)
    assert [conv.out_channels for conv, _ in network.layers()] == [norm.num_features for _, norm in network.layers()]


@pytest.mark.parametrize("widths", [(), (4,) * 12, (4,) * 14, (4,) * 12 + (0,), (4,) * 12 + (-1,)])
def test_impossible_widths_are_refused(widths: Sequence[int]) -> None:
    with pytest.raises(ValueError, match="13 widths of at least 1"):
        VGG16(widths, 10)


def test_the_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = create_initialised(dense_widths(1 / 16), 10, seed=5)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    again, other = create_initialised(first.widths, 10, seed=5), create_initialised(first.widths, 10, seed=6)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    for (conv, _), (other_conv, _) in zip(first.layers(), other.layers(), strict=True):
        assert not torch.equal(conv.weight, other_conv.weight)


def test_channels_last_is_the_same_function() -> None:
    network = create_initialised(dense_widths(1 / 16), 10, seed=0).eval()
    assert all(conv.weight.is_contiguous(memory_format=torch.channels_last) for conv, _ in network.layers())
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    plain = VGG16(network.widths, 10).eval()
    plain.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert torch.allclose(plain(images), network(images), atol=1e-5)


def test_sparsities_are_fractions_of_the_dense_network() -> None:
    widths = dense_widths(0.5)
    assert compute_sparsities(FULL_WIDTHS, FULL_WIDTHS, 10) == dict.fromkeys(
        ("channel_sparsity", "parameter_sparsity", "mac_sparsity"), 0
    )
    found = compute_sparsities(widths, FULL_WIDTHS, 10)
    assert found["channel_sparsity"] == 0.5
    assert found["parameter_sparsity"] == 1 - count_parameters(widths, 10) / 14_728_266
    # By hand: a quarter of every layer but the first, which keeps its three inputs, and the classifier.
    assert found["mac_sparsity"] == 1 - (1_769_472 / 2 + 311_427_072 / 4 + 2_560) / 313_201_664

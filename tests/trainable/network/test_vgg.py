"""The network's size is what torch itself counts, and its weights come from the seed alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import (
    FULL_WIDTHS,
    LAYERS,
    build_vgg16,
    count_macs,
    count_parameters,
    create_vgg16,
    find_vgg16_layout,
    list_layers,
    list_widths,
    scale_widths,
)
from torch import nn

from trainable.network import vgg
from trainable.network.architecture import Architecture
from trainable.network.grouping import find_layout

WIDTHS = st.lists(st.integers(1, 24), min_size=13, max_size=13)
FULL = Architecture("vgg16", 10)


@given(WIDTHS, st.integers(2, 12))
@settings(max_examples=15)
def test_costs_are_what_torch_counts(widths: list[int], classes: int) -> None:
    network, layout = build_vgg16(widths, classes).eval(), find_vgg16_layout(widths, classes)
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 32, 32)).shape == (1, classes)
    assert layout.widths == tuple(widths)
    assert layout.count("macs", widths) == count_macs(network)
    assert layout.count("parameters", widths) == count_parameters(network)
    assert layout.count("channels", widths) == sum(
        m.num_features for m in network.modules() if isinstance(m, nn.BatchNorm2d)
    )


def test_the_full_network_is_the_published_one() -> None:
    layout = find_layout(FULL)
    assert layout.widths == FULL_WIDTHS == scale_widths(1) == (64, 64, 128, 128, 256, 256, 256, *[512] * 6)
    assert layout.whole == ()
    assert layout.count("parameters", FULL_WIDTHS) == 14_728_266
    # 313.7 M in papers, which count the hidden linear layer, too
    assert layout.count("macs", FULL_WIDTHS) == 313_201_664


@pytest.mark.parametrize(("name", "letter"), [("vgg11", "A"), ("vgg13", "B"), ("vgg16", "D"), ("vgg19", "E")])
def test_layers_and_weights_are_those_of_torchvision(name: str, letter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models.vgg import cfgs, make_layers

    assert list(vgg._LAYOUTS[name]) == cfgs[letter]
    assert vgg._LAYOUTS["vgg16"] == LAYERS
    ours = Architecture(name, 10, 1 / 16).create(seed=3)
    monkeypatch.setattr(vgg, "_make_layers", lambda layout: make_layers(list(layout), batch_norm=True))
    theirs = Architecture(name, 10, 1 / 16).create(seed=3)
    assert repr(ours) == repr(theirs)
    assert all(torch.equal(weights, theirs.state_dict()[name]) for name, weights in ours.state_dict().items())


@pytest.mark.parametrize(
    ("width", "first_and_last"),
    [(1 / 16, (4, 32)), (0.5, (32, 256)), (1e-9, (1, 1)), (0.3, (19, 154)), (2, (128, 1024))],
)
def test_widths_scale_and_never_vanish(width: float, first_and_last: tuple[int, int]) -> None:
    with torch.device("meta"):
        widths = list_widths(vgg.vgg16(10, width))
    assert (widths[0], widths[-1]) == first_and_last
    assert widths == scale_widths(width)


@given(WIDTHS)
@settings(max_examples=5)
def test_a_layout_knows_the_widths_of_the_network(widths: list[int]) -> None:
    """What these tests take for the layout of a VGG16 of other widths is the one that is found."""
    network = build_vgg16(widths, 7)
    assert list_widths(network) == tuple(widths)
    assert [conv.out_channels for conv, _ in list_layers(network)] == widths
    found = find_layout(Architecture("networks:build_vgg16", 7, arguments={"widths": widths}))
    assert found == find_vgg16_layout(widths, 7)


def test_the_weights_depend_on_the_seed_alone() -> None:
    narrow = Architecture("vgg16", 10, 1 / 16)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = narrow.create(seed=5)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    again, other = narrow.create(seed=5), narrow.create(seed=6)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    for (conv, _), (other_conv, _) in zip(list_layers(first), list_layers(other), strict=True):
        assert not torch.equal(conv.weight, other_conv.weight)


def test_channels_last_is_the_same_function() -> None:
    network = create_vgg16(scale_widths(1 / 16), 10, seed=0).eval()
    assert all(conv.weight.is_contiguous(memory_format=torch.channels_last) for conv, _ in list_layers(network))
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    plain = build_vgg16(scale_widths(1 / 16), 10).eval()
    plain.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert torch.allclose(plain(images), network(images), atol=1e-5)


def test_sparsities_are_fractions_of_the_dense_network() -> None:
    widths, layout = scale_widths(0.5), find_layout(FULL)
    assert layout.compute_sparsities(FULL_WIDTHS) == dict.fromkeys(
        ("channel_sparsity", "parameter_sparsity", "mac_sparsity"), 0
    )
    found = layout.compute_sparsities(widths)
    assert found["channel_sparsity"] == 0.5
    assert found["parameter_sparsity"] == 1 - count_parameters(build_vgg16(widths, 10)) / 14_728_266
    # By hand: a quarter of every layer but the first, which keeps its three inputs, and the classifier.
    assert found["mac_sparsity"] == 1 - (1_769_472 / 2 + 311_427_072 / 4 + 2_560) / 313_201_664

"""A strided 1x1 convolution computes what it did; other tensors make another network and leave the first alone."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import build_vgg16, create_vgg16, same_weights
from torch import nn

from trainable.network.placement import SubsampledConv2d, place_on, replace_tensors

CPU = torch.device("cpu")


@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from([2, 3, (1, 2), (3, 1)]),
    st.sampled_from([0, "valid"]),
    st.booleans(),
    st.integers(4, 9),
    st.integers(0, 99),
)
@settings(max_examples=40)
def test_a_strided_1x1_convolution_computes_what_the_plain_one_does(
    inputs: int, outputs: int, stride: Any, padding: Any, bias: bool, size: int, seed: int
) -> None:
    torch.manual_seed(seed)
    plain = nn.Conv2d(inputs, outputs, 1, stride, padding, bias=bias)
    placed = place_on(nn.Sequential(copy.deepcopy(plain)), CPU)
    assert type(placed[0]) is SubsampledConv2d
    images = torch.randn(3, inputs, size, size + 1)
    torch.testing.assert_close(placed(images.to(memory_format=torch.channels_last)), plain(images))
    gradients = []
    for network in (placed, plain):
        network.zero_grad()
        network(images).square().sum().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "conv",
    [nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, stride=2), nn.Conv2d(4, 4, 1, stride=2, padding=1)],
    ids=["no stride", "3x3", "padded"],
)
def test_other_convolutions_stay_as_they_are(conv: nn.Conv2d) -> None:
    assert type(place_on(nn.Sequential(conv), CPU)[0]) is nn.Conv2d


def test_a_depthwise_strided_1x1_convolution_keeps_its_groups() -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 6, 1, stride=2, groups=6)
    placed = place_on(nn.Sequential(copy.deepcopy(plain)), CPU)
    images = torch.randn(2, 6, 8, 8)
    torch.testing.assert_close(placed(images), plain(images))


class Normalising(nn.Module):
    """Buffers of both kinds, and a depthwise convolution."""

    offset: torch.Tensor
    scale: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("offset", torch.full((3, 1, 1), 0.5), persistent=False)
        self.register_buffer("scale", torch.ones(3, 1, 1))
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.classifier = nn.Linear(8, 2)
        self.conv.weight.requires_grad_(False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.depthwise(self.norm(self.conv((images - self.offset) * self.scale)))
        logits: torch.Tensor = self.classifier(maps.mean((2, 3)))
        return logits


def select_half(network: nn.Module) -> dict[str, torch.Tensor]:
    """Every second of the eight channels."""
    tensors = {}
    for name, tensor in network.state_dict().items():
        kept = tensor[::2] if tensor.ndim and len(tensor) == 8 else tensor
        tensors[name] = (kept[:, ::2] if name == "classifier.weight" else kept).clone()
    return tensors


def test_other_tensors_make_another_network_and_leave_the_first_alone() -> None:
    torch.manual_seed(0)
    network = Normalising()
    before = copy.deepcopy(network)
    tensors = select_half(network)
    made: Any = replace_tensors(network, tensors)
    assert same_weights(network, before)
    assert repr(network) == repr(before)
    assert (made.conv.in_channels, made.conv.out_channels, made.norm.num_features) == (3, 4, 4)
    assert (made.depthwise.groups, made.depthwise.in_channels, made.depthwise.out_channels) == (4, 4, 4)
    assert (made.classifier.in_features, made.classifier.out_features) == (4, 2)
    # They are used, not copied; what is trained stays what is trained.
    assert all(made.state_dict()[name].data_ptr() == tensor.data_ptr() for name, tensor in tensors.items())
    assert not made.conv.weight.requires_grad
    assert made.norm.weight.requires_grad
    assert {name for name, _ in made.named_parameters()} == {name for name, _ in network.named_parameters()}
    assert torch.equal(made.offset, network.offset)
    assert made.offset.data_ptr() != network.offset.data_ptr()
    images = torch.randn(2, 3, 8, 8)
    made(images).sum().backward()
    assert all(parameter.grad is None for parameter in network.parameters())
    half = replace_tensors(network.eval(), select_half(network))
    inner = network.norm(network.conv(images - network.offset))[:, ::2]
    expected = torch.nn.functional.conv2d(
        inner, network.depthwise.weight[::2], network.depthwise.bias[::2], padding=1, groups=4
    ).mean((2, 3))
    expected = expected @ network.classifier.weight[:, ::2].T + network.classifier.bias
    torch.testing.assert_close(half(images), expected)


def test_a_network_on_meta_gets_its_memory_from_the_tensors() -> None:
    tensors = create_vgg16((4,) * 13, 4, 0).state_dict()
    with torch.device("meta"):
        shell = build_vgg16((8,) * 13, 4)
    made = replace_tensors(shell, tensors)
    assert {tensor.device.type for tensor in made.state_dict().values()} == {"cpu"}
    with torch.no_grad():
        assert made(torch.zeros(1, 3, 32, 32)).shape == (1, 4)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"conv.weight": torch.zeros(4)}, "conv.weight must have 4 dimensions, but has shape \\[4\\]"),
        ({"conv.weight": torch.zeros(8, 3, 5, 5)}, "conv.weight must have a kernel of \\(3, 3\\)"),
        ({"another": torch.zeros(4)}, "'another' is in only one of the two"),
        ({"conv.weight": None}, "'conv.weight' is in only one of the two"),
    ],
)
def test_tensors_of_another_network_are_refused(changed: dict[str, Any], message: str) -> None:
    network = Normalising()
    tensors = {name: each for name, each in (network.state_dict() | changed).items() if each is not None}
    with pytest.raises(ValueError, match=message):
        replace_tensors(network, tensors)

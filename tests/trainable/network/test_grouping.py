"""Groups that are found can be cut exactly, and cost what is counted; what cannot be is left whole, with a reason."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import ACTIVATIONS, count_macs, count_parameters, draw_masks, draw_norms
from torch import nn

from trainable.network.architecture import NETWORKS, Architecture
from trainable.network.grouping import find_layout
from trainable.network.layout import Layout, read_layout, write_layout
from trainable.pruning.gates import GatedNetwork
from trainable.pruning.masks import widths_of
from trainable.pruning.removal import relative_difference, remove_channels

KINDS = ("plain", "residual", "project", "add", "concatenate", "append", "inverted", "squeeze", "pool")


@st.composite
def mixed_networks(draw: st.DrawFn, kinds: tuple[str, ...] = KINDS) -> Architecture:
    block = st.tuples(st.sampled_from(kinds), st.integers(1, 6), st.sampled_from(sorted(ACTIVATIONS)))
    blocks = [list(each) for each in draw(st.lists(block, min_size=1, max_size=5))]
    size = draw(st.sampled_from([8, 16]))
    while sum(kind in ("pool", "project") for kind, *_ in blocks) > size.bit_length() - 2:
        blocks.pop()
    # The dependency graph loses its way where a concatenation is flattened.
    flattens = draw(st.booleans()) and not {kind for kind, *_ in blocks} & {"concatenate", "append"}
    arguments = {"blocks": blocks, "channels": draw(st.integers(2, 5)), "flattens": flattens}
    return Architecture("networks:build_mixed", draw(st.integers(2, 5)), 1.0, size, arguments)


def check_cut(architecture: Architecture, *, seed: int = 0, share: float = 0.5) -> Layout:
    """Cuts a network at random, and counts it; returns its layout."""
    layout, size = find_layout(architecture), architecture.image_size
    network = architecture.create(seed)
    torch.manual_seed(seed)
    draw_norms(network, seed)
    gated = GatedNetwork(network.eval(), layout, draw_masks(layout.widths, share), "bn_output")
    pruned, images = remove_channels(gated), torch.randn(4, 3, size, size)
    assert relative_difference(gated, pruned, images) < 1e-5
    widths = widths_of(gated.masks)
    for each, at in ((network, layout.widths), (pruned, widths)):
        assert layout.count("macs", at) == count_macs(each, size)
        assert layout.count("parameters", at) == count_parameters(each)
        convolutions = [module for module in each.modules() if isinstance(module, nn.Conv2d)]
        assert layout.count("channels", at) == sum(module.out_channels for module in convolutions)
    return layout


@given(mixed_networks(), st.integers(0, 999), st.sampled_from([0.0, 0.3, 0.7]))
@settings(max_examples=25)
def test_what_is_removed_was_0_and_what_is_left_costs_what_is_counted(
    architecture: Architecture, seed: int, share: float
) -> None:
    check_cut(architecture, seed=seed, share=share)


# What is added to a concatenation makes one group of all its channels, which have no order then; it is left whole.
SUMS, CONCATENATIONS = (
    tuple(kind for kind in KINDS if kind not in others) for others in (("concatenate", "append"), ("residual",))
)


# Of these, only the first layer of squeeze-and-excitation cannot be cut: it has no batch normalisation.
@given(mixed_networks(SUMS) | mixed_networks(CONCATENATIONS))
@settings(max_examples=15)
def test_all_that_has_a_norm_is_cut(architecture: Architecture) -> None:
    layout = find_layout(architecture)
    kinds = [kind for kind, *_ in architecture.arguments["blocks"]]
    reasons = [
        f"blocks.{n}.reduce: no batch normalisation comes after it" for n, kind in enumerate(kinds) if kind == "squeeze"
    ]
    assert list(layout.whole) == reasons
    # One for each layer, but those that go into a sum or out of a depthwise convolution are no groups of their own.
    own = {"residual": 1, "project": 2, "concatenate": 2, "inverted": 2, "pool": 0}
    assert len(layout.groups) == 1 + sum(own.get(kind, 1) for kind in kinds)


def test_a_relu_that_happens_to_give_0_is_no_gate() -> None:
    """Squeeze-and-excitation has maps of one pixel, so that there is little that it could give."""
    for activation in ACTIVATIONS:
        for width in range(1, 7):
            blocks = [["squeeze", width, activation], ["plain", 3, "relu"]]
            layout = find_layout(Architecture("networks:build_mixed", 3, 1.0, 8, {"blocks": blocks, "channels": 3}))
            assert [group.name for group in layout.groups] == ["stem.0", "blocks.0.first.0", "blocks.1.first.0"]


SMALLEST = {"vgg11": 1 / 32, "vgg13": 1 / 32, "vgg16": 1 / 32, "vgg19": 1 / 32}
SMALLEST |= {"resnet20": 0.25, "resnet32": 0.25, "resnet56": 0.125, "mobilenet_v2": 0.1}


@pytest.mark.parametrize("name", NETWORKS)
def test_each_network_that_has_a_name_can_be_cut(name: str) -> None:
    layout = check_cut(Architecture(name, 3, SMALLEST.get(name, 1.0), 32 if "vgg" in name else 16))
    assert layout.whole == ()
    assert len(layout.groups) > 5


def test_a_residual_stream_is_one_group() -> None:
    layout = find_layout(Architecture("resnet20", 10))
    # Three streams, and the inner layer of each of the nine blocks.
    assert sorted(layout.widths) == sorted([16, 32, 64] + 3 * [16, 32, 64])
    members = {
        layer.name for group, layer, _ in layout.list_members("normalisation") if layout.groups[group].name == "conv"
    }
    assert members == {"norm", "blocks.0.norm2", "blocks.1.norm2", "blocks.2.norm2"}
    # He et al. 2016: 0.27 million parameters, 41 million MACs.
    assert layout.count("parameters", layout.widths) == 272_474
    assert 40_000_000 < layout.count("macs", layout.widths) < 42_000_000


def test_the_layout_has_nothing_of_the_generator() -> None:
    architecture = Architecture("resnet20", 10, 0.25)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = find_layout(architecture)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(4)
    find_layout.__globals__["_find_layout_of"].cache_clear()
    assert find_layout(architecture) == first


def test_a_layout_comes_back_from_its_file(tmp_path: Any) -> None:
    layout = find_layout(Architecture("resnet20", 10, 0.25))
    write_layout(tmp_path, layout)
    assert read_layout(tmp_path) == layout
    text = (tmp_path / "layout.json").read_text()
    (tmp_path / "layout.json").write_text(text.replace('"positions": ', '"positions": 1', 1))
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path / 'layout.json'}")):
        read_layout(tmp_path)


HEAD = """
import torch
from torch import nn
from torch.nn import functional


class Plain(nn.Module):
    '''A layer that can be cut, then `inner`, which takes and gives six channels, and a classifier.'''

    def __init__(self, classes, inner, width=6, first=None):
        super().__init__()
        self.first = first or nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.inner = inner
        self.last = nn.Sequential(nn.Conv2d(width, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU())
        self.classifier = nn.Linear(5, classes)

    def forward(self, images):
        return self.classifier(self.last(self.inner(self.first(images))).mean((2, 3)))


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, maps):
        return self.function(maps)

"""


@pytest.fixture
def write(write_module: Callable[[str, str], None]) -> Callable[[str], Architecture]:
    def written(body: str) -> Architecture:
        find_layout.__globals__["_find_layout_of"].cache_clear()
        write_module("own_network", HEAD + body)
        return Architecture("own_network:build", 3, 1.0, 8)

    return written


def plain(inner: str, extra: str = "") -> str:
    return f"{extra}\n\ndef build(classes):\n    return Plain(classes, {inner})\n"


MOVED = "what reads it still gets something where its batch normalisation is 0"
# What comes after a layer with batch normalisation, and why the layer is left whole: "" if it is not.
INNER: dict[str, tuple[str, str]] = {
    "identity": ("nn.Identity()", ""),
    "dropout": ("nn.Dropout(0.5)", ""),
    "average": ("nn.AvgPool2d(2)", ""),
    "tanh keeps 0": ("nn.Tanh()", ""),
    "PReLU": ("nn.PReLU(6)", "inner is of the class PReLU, which is not supported"),
    "GroupNorm": ("nn.GroupNorm(2, 6)", "inner is of the class GroupNorm, which is not supported"),
    "GroupNorm of each": ("nn.GroupNorm(6, 6)", "inner is of the class GroupNorm, which is not supported"),
    "LayerNorm": ("nn.LayerNorm([6, 8, 8])", "inner is of the class LayerNorm, which is not supported"),
    "InstanceNorm": (
        "nn.InstanceNorm2d(6, affine=True)",
        "inner is of the class InstanceNorm2d, which is not supported",
    ),
    "grouped": ("nn.Conv2d(6, 6, 3, padding=1, groups=2)", "inner is a convolution in 2 groups"),
    "transposed": ("nn.ConvTranspose2d(6, 6, 1)", "inner is of the class ConvTranspose2d, which is not supported"),
    "plus 1": ("Function(lambda maps: maps + 1)", MOVED),
    "sigmoid": ("nn.Sigmoid()", MOVED),
    "fixed sizes": (
        "Function(lambda maps: maps.view(len(maps), 6, 8, 8))",
        "without some of its channels, the network raises RuntimeError: shape '[2, 6, 8, 8]' is invalid for input of "
        "size 384",
    ),
    "softmax over channels": ("nn.Softmax(1)", MOVED),
    "maximum with 1": ("Function(lambda maps: maps.clamp(min=1))", MOVED),
    "mean of channels": ("Function(lambda maps: maps - maps.mean(1, keepdim=True))", MOVED),
    "depthwise without norm": ("nn.Conv2d(6, 6, 3, padding=1, groups=6)", MOVED),
}


@pytest.mark.parametrize(("inner", "reason"), INNER.values(), ids=INNER.keys())
def test_what_comes_after_a_layer_decides(inner: str, reason: str, write: Callable[[str], Architecture]) -> None:
    architecture = write(plain(inner))
    layout = find_layout(architecture)
    names = [group.name for group in layout.groups]
    if reason:
        assert f"first.0: {reason}" in layout.whole
        assert "first.0" not in names
    else:
        assert "first.0" in names
        assert layout.whole == ()
    assert "last.0" in names
    check_cut(architecture)


def test_groups_of_one_layer_have_names_of_their_own(write: Callable[[str], Architecture]) -> None:
    architecture = write(
        """
class Joined(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.stem, self.one, self.other = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs))
            for inputs, outputs in ((3, 10), (10, 6), (10, 4))
        )
        self.last = nn.Sequential(nn.Conv2d(10, 5, 3), nn.BatchNorm2d(5), nn.ReLU())
        self.classifier = nn.Linear(5, classes)

    def forward(self, images):
        maps = functional.relu(self.stem(images))
        maps = functional.relu(maps + torch.cat([self.one(maps), self.other(maps)], 1))
        return self.classifier(self.last(maps).mean((2, 3)))


def build(classes):
    return Joined(classes)
"""
    )
    names = [group.name for group in find_layout(architecture).groups]
    assert names == ["stem.0", "stem.0 (2)", "last.0"]
    check_cut(architecture)


def test_a_network_that_gives_more_in_training_is_refused(write: Callable[[str], Architecture]) -> None:
    architecture = write(
        """
class Both(Plain):
    def forward(self, images):
        logits = super().forward(images)
        return (logits, logits) if self.training else logits


def build(classes):
    return Both(classes, nn.Identity())
"""
    )
    with pytest.raises(
        ValueError, match=r"must return logits of shape \[2, 3\], but returned tuple in training mode; return"
    ):
        find_layout(architecture)


def test_a_network_that_starts_at_0_is_tried_with_other_weights(write: Callable[[str], Architecture]) -> None:
    """As a classifier or a branch may start, whose output no cut changes then."""
    layout = find_layout(
        write(
            """
def build(classes):
    network = Plain(classes, nn.Sigmoid())
    nn.init.zeros_(network.classifier.weight)
    return network
"""
        )
    )
    assert layout.whole == (f"first.0: {MOVED}",)


# A layer that cannot be cut: what it is, and the reason.
FIRST: dict[str, tuple[str, str]] = {
    "no norm": ("nn.Conv2d(3, 6, 1)", "no batch normalisation comes after it"),
    "no norm but ReLU": ("nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU())", "no batch normalisation comes after it"),
    "norm without scale": (
        "nn.Sequential(nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6, affine=False))",
        "first.1 has no scale and shift",
    ),
    "norm of ones own": (
        "nn.Sequential(nn.Conv2d(3, 6, 1), Norm(6))",
        "first.1 is of the class Norm, which is not supported",
    ),
    "norm without averages": (
        "nn.Sequential(nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6, track_running_stats=False))",
        "first.1 keeps no moving averages",
    ),
    "cumulative averages": (
        "nn.Sequential(nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6, momentum=None))",
        "first.1 keeps no moving averages",
    ),
    "convolution of ones own": (
        "nn.Sequential(Conv(3, 6, 1), nn.BatchNorm2d(6))",
        "first.0 is of the class Conv, which is not supported",
    ),
}
CLASSES = """
class Norm(nn.BatchNorm2d):
    def forward(self, maps):
        return super().forward(maps) * 2


class Conv(nn.Conv2d):
    def forward(self, maps):
        return super().forward(maps) * 2
"""


@pytest.mark.parametrize(("first", "reason"), FIRST.values(), ids=FIRST.keys())
def test_what_a_layer_is_decides(first: str, reason: str, write: Callable[[str], Architecture]) -> None:
    architecture = write(f"{CLASSES}\n\ndef build(classes):\n    return Plain(classes, nn.Identity(), first={first})\n")
    layout = find_layout(architecture)
    assert len(layout.whole) == 1
    assert layout.whole[0].endswith(f": {reason}")
    assert [group.name for group in layout.groups] == ["last.0"]
    check_cut(architecture)


def test_a_wrong_cut_is_noticed_behind_many_layers(write: Callable[[str], Architecture]) -> None:
    """With statistics that were not those of its images, a network of 12 layers gave the same logits up to 1e-9."""
    layer = "nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU()"
    layout = find_layout(write(plain(f"nn.Sequential(nn.Sigmoid(){f', {layer}' * 24})")))
    assert len(layout.groups) == 25
    assert layout.whole == (f"first.0: {MOVED}",)


def test_a_parameter_of_the_same_channels_leaves_the_group_whole(write: Callable[[str], Architecture]) -> None:
    scale = """
class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(1, 6, 1, 1))

    def forward(self, maps):
        return maps * self.gamma
"""
    architecture = write(plain("Scale()", scale))
    layout = find_layout(architecture)
    assert [group.name for group in layout.groups] == ["last.0"]
    assert layout.whole[0].startswith("first.0: ")
    check_cut(architecture)


def test_a_concatenation_that_is_flattened_is_left_whole(write: Callable[[str], Architecture]) -> None:
    """The dependency graph gives wrong entries for it; that it is not cut wrongly is what matters."""
    architecture = write(
        """
class Branches(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 5, 3, 1, 1), nn.BatchNorm2d(5), nn.ReLU())
        self.one = nn.Sequential(nn.Conv2d(5, 3, 3, 2, 1), nn.BatchNorm2d(3), nn.ReLU())
        self.other = nn.Sequential(nn.Conv2d(5, 4, 1, 2), nn.BatchNorm2d(4), nn.ReLU())
        self.classifier = nn.Linear(7 * 16, classes)

    def forward(self, images):
        maps = self.stem(images)
        return self.classifier(torch.cat([self.one(maps), self.other(maps)], 1).flatten(1))


def build(classes):
    return Branches(classes)
"""
    )
    layout = check_cut(architecture)
    assert [group.name for group in layout.groups] == ["stem.0"]
    assert [reason.partition(":")[0] for reason in layout.whole] == ["one.0"]


def test_layers_after_one_that_is_left_whole_are_cut(write: Callable[[str], Architecture]) -> None:
    """The group of a layer that is not supported once had the name of what reads it, which was then left whole, too."""
    layout = check_cut(write(plain("nn.Conv2d(6, 12, 3, padding=1, groups=6), 12")))
    assert [group.name for group in layout.groups] == ["last.0"]
    assert layout.whole == tuple(f"{name}: inner is a convolution in 6 groups" for name in ("first.0", "inner"))


def test_a_norm_that_comes_before_its_layers_in_the_module(write: Callable[[str], Architecture]) -> None:
    """As in networks that normalise what they concatenate: the norm has the channels of two groups, of either name."""
    architecture = write(
        """
class Branches(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.norm = nn.BatchNorm2d(7)
        self.one, self.other = nn.Conv2d(3, 3, 3, 1, 1), nn.Conv2d(3, 4, 1)
        self.classifier = nn.Linear(7, classes)

    def forward(self, images):
        maps = torch.cat([self.one(images), self.other(images)], 1)
        return self.classifier(torch.relu(self.norm(maps)).mean((2, 3)))


def build(classes):
    return Branches(classes)
"""
    )
    layout = check_cut(architecture)
    assert [group.name for group in layout.groups] == ["one", "other"]
    assert layout.whole == ()


def test_a_network_with_nothing_to_cut_is_refused(write: Callable[[str], Architecture]) -> None:
    body = (
        "def build(classes):\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, classes))"
    )
    with pytest.raises(
        ValueError,
        match=r"network 'own_network:build' must have channels that can be cut, but has none: 0: no batch norm",
    ):
        find_layout(write(body))


def test_a_network_without_convolutions_is_refused(write: Callable[[str], Architecture]) -> None:
    body = "def build(classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(192, classes))"
    said = "must have channels that can be cut, but has none: no convolutions; docs/networks.md says what can be cut$"
    with pytest.raises(ValueError, match=said):
        find_layout(write(body))


SHARED = """
class Shared(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.one = nn.Conv2d(3, 3, 1)
        self.other = nn.Conv2d(3, 3, 1)
        self.other.weight = self.one.weight
        self.classifier = nn.Linear(3, classes)

    def forward(self, images):
        return self.classifier(self.other(self.one(images)).mean((2, 3)))

"""
REFUSED = {
    "shared tensors": (
        SHARED + "\ndef build(classes):\n    return Shared(classes)",
        r"must not share tensors, but one.weight is also other.weight; give each layer its own",
    ),
    "wrong shape": (
        "def build(classes):\n    return Plain(classes + 1, nn.Identity())",
        r"must return logits of shape \[2, 3\], but returned \[2, 4\]",
    ),
    "no tensor": (
        "def build(classes):\n    network = Plain(classes, nn.Identity())\n"
        "    return nn.Sequential(network, Function(lambda logits: (logits,)))",
        r"must return logits of shape \[2, 3\], but returned tuple",
    ),
    "another image size": (
        "def build(classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, classes))",
        r"must take images of shape \[2, 3, 8, 8\] in double precision, but raised RuntimeError: ",
    ),
    "fails": ("def build(classes):\n    raise KeyError('x')", r"could not be built: KeyError: 'x' \(classes=3\)"),
    "no classes": (
        "def build():\n    return Plain(3, nn.Identity())",
        "must take `classes`, the number of its outputs",
    ),
}


@pytest.mark.parametrize(("body", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_pruned_at_all_is_refused_in_one_line(
    body: str, message: str, write: Callable[[str], Architecture]
) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        find_layout(write(body))
    assert "\n" not in str(refused.value)
    assert "own_network:build" in str(refused.value)


def test_a_width_needs_a_network_that_has_one() -> None:
    message = r"dense\.width must be 1 for network 'resnet18', which takes no `width`, but got 0\.5"
    with pytest.raises(ValueError, match=message):
        find_layout(Architecture("resnet18", 3, 0.5))

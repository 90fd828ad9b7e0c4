"""The smaller network is the gated one at alpha = 0, whatever the weights, the masks and the images."""

import copy
from collections.abc import Sequence
from typing import Any, Literal

import pytest
import torch
import torch_pruning
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import (
    build_vgg16,
    count_parameters,
    draw_masks,
    draw_norms,
    find_vgg16_layout,
    list_layers,
    list_widths,
)
from torch import Tensor, nn

from trainable.dense import DenseNetwork
from trainable.network.architecture import NETWORKS, Architecture
from trainable.network.grouping import find_layout
from trainable.network.placement import place_on, replace_tensors
from trainable.network.vgg import VGG
from trainable.pruning.gates import GatedNetwork
from trainable.pruning.masks import widths_of
from trainable.pruning.removal import relative_difference, remove_channels

CLASSES = 4
CPU = torch.device("cpu")


def random_network(widths: Sequence[int], seed: int) -> VGG:
    """Nothing in it is as initialised: scales are negative and 0, too, and shifts, means and variances are random."""
    torch.manual_seed(seed)
    network = build_vgg16(widths, CLASSES)
    draw_norms(network, seed)
    for conv, norm in list_layers(network):
        nn.init.normal_(conv.bias)
        norm.num_batches_tracked.fill_(seed)
    return place_on(network, torch.device("cpu"))


def gate_network(dense: nn.Module, masks: Sequence[Tensor], gate: Literal["bn_output", "conv_weight"]) -> GatedNetwork:
    return GatedNetwork(dense, find_vgg16_layout(list_widths(dense), CLASSES), masks, gate)


@st.composite
def gated_networks(draw: st.DrawFn, gate: Literal["bn_output", "conv_weight"] = "bn_output") -> GatedNetwork:
    widths = draw(st.lists(st.integers(1, 12), min_size=13, max_size=13))
    dense = random_network(widths, draw(st.integers(0, 2**31)))
    gated = gate_network(dense, draw_masks(widths, draw(st.sampled_from([0.0, 0.2, 0.5, 0.9]))), gate)
    gated.set_alpha(draw(st.sampled_from([1.0, 0.3, 0.0])))
    return gated


def images(count: int = 8) -> Tensor:
    return torch.randn(count, 3, 32, 32)


@given(gated_networks())
@settings(max_examples=40)
def test_the_smaller_network_gives_the_same_output(gated: GatedNetwork) -> None:
    pruned = remove_channels(gated)
    assert list_widths(pruned) == widths_of(gated.masks)
    assert count_parameters(pruned) == gated.layout.count("parameters", list_widths(pruned))
    assert relative_difference(gated, pruned, images()) < 1e-5


@given(gated_networks(), st.booleans())
@settings(max_examples=25)
def test_every_layer_gives_the_kept_channels_and_the_doomed_are_0(gated: GatedNetwork, training: bool) -> None:
    """Also with the batch's own statistics, which training uses."""
    gated.set_alpha(0)
    pruned = remove_channels(gated.train(training))
    assert all(module.training is training for module in pruned.modules())
    read = torch.ones(3, dtype=torch.bool)
    for (conv, norm), (small_conv, small_norm), kept in zip(
        list_layers(gated), list_layers(pruned), gated.masks, strict=True
    ):
        x = torch.randn(4, len(read), 6, 6)
        x[:, ~read] = 0
        with torch.no_grad():
            wide, narrow = norm(conv(x)), small_norm(small_conv(x[:, read]))
        assert not wide[:, ~kept].any()
        torch.testing.assert_close(narrow, wide[:, kept], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(small_norm.running_mean, norm.running_mean[kept], rtol=1e-4, atol=1e-4)
        read = kept


@given(gated_networks())
@settings(max_examples=10)
def test_nothing_is_shared_and_the_gated_network_stays_as_it_is(gated: GatedNetwork) -> None:
    before = {name: tensor.clone() for name, tensor in gated.state_dict().items()}
    pruned = remove_channels(gated)
    assert type(pruned) is VGG
    theirs = {tensor.data_ptr() for tensor in gated.state_dict().values()}
    for tensor in pruned.state_dict().values():
        assert tensor.data_ptr() not in theirs
        tensor.fill_(1)
    for name, tensor in gated.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@given(gated_networks())
@settings(max_examples=20)
def test_its_tensors_are_laid_out_as_those_of_a_checkpoint(gated: GatedNetwork) -> None:
    """With one channel, strides may be this or that, and the last bits of a convolution depend on them."""
    pruned = remove_channels(gated)
    loaded = place_on(replace_tensors(pruned, {name: each.clone() for name, each in pruned.state_dict().items()}), CPU)
    for (name, one), other in zip(pruned.named_parameters(), loaded.parameters(), strict=True):
        assert one.stride() == other.stride(), name


@pytest.mark.parametrize("training", [(True, True), (True, False), (False, True), (False, False)])
def test_measuring_the_difference_leaves_both_as_they_were(training: tuple[bool, bool]) -> None:
    dense = random_network((4,) * 13, 0)
    gated = gate_network(dense, draw_masks(list_widths(dense), 0.5), "bn_output")
    pruned = remove_channels(gated)
    gated.train(training[0]).set_alpha(0.3)
    pruned.train(training[1])
    before = [tensor.clone() for network in (gated, pruned) for tensor in network.state_dict().values()]
    relative_difference(gated, pruned, images())
    assert (gated.training, pruned.training) == training
    after = [tensor for network in (gated, pruned) for tensor in network.state_dict().values()]
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))


def test_the_difference_is_the_greatest_relative_to_the_greatest_logit() -> None:
    dense = random_network((4,) * 13, 0)
    gated = gate_network(dense, draw_masks(list_widths(dense), 0.5), "bn_output")
    pruned, x = remove_channels(gated), images()
    with torch.no_grad():
        pruned.classifier.bias[2] += 5
        largest = pruned.eval()(x).sub(torch.tensor([0, 0, 5, 0])).abs().max()
    assert relative_difference(gated, pruned, x) == pytest.approx(5 / largest.item(), rel=1e-4)


def test_torch_pruning_makes_the_same_network(dense: DenseNetwork) -> None:
    """Another library removes the doomed channels from the network whose gamma and beta are folded to 0."""
    torch.manual_seed(0)
    masks = draw_masks(dense.layout.widths, 0.5)
    folded = folded_at_0(dense.network, masks, ("weight", "bias"))
    graph = torch_pruning.DependencyGraph().build_dependency(folded, example_inputs=images(1))
    for (conv, _), mask in zip(list_layers(folded), masks, strict=True):
        doomed = (~mask).nonzero().flatten().tolist()
        if doomed:
            graph.get_pruning_group(conv, torch_pruning.prune_conv_out_channels, idxs=doomed).prune()
    ours = remove_channels(gate_network(dense.network, masks, "bn_output"))
    assert list_widths(folded) == list_widths(ours) == widths_of(masks)
    x = images()
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(x), folded.eval()(x), rtol=1e-5, atol=1e-5)


def folded_at_0(network: nn.Module, masks: Sequence[Tensor], scaled: Sequence[str]) -> nn.Module:
    """The whole network with the parameters `scaled` of the doomed channels' norms set to 0."""
    folded = copy.deepcopy(network).eval()
    with torch.no_grad():
        for (_, norm), mask in zip(list_layers(folded), masks, strict=True):
            for name in scaled:
                norm.get_parameter(name).mul_(mask)
    return folded


@pytest.mark.parametrize(("scaled", "same"), [(("weight", "bias"), True), (("weight",), False), (("bias",), False)])
def test_gamma_and_beta_have_to_go_together(scaled: tuple[str, ...], same: bool) -> None:
    network = random_network((12,) * 13, 0).eval()
    masks = draw_masks(list_widths(network), 0.5)
    pruned, x = remove_channels(gate_network(network, masks, "bn_output").eval()), images()
    with torch.no_grad():
        expected = folded_at_0(network, masks, scaled)(x)
        difference = (pruned(x) - expected).abs().max() / expected.abs().max()
    assert difference < 1e-5 if same else difference > 1e-2


@given(gated_networks("conv_weight"))
@settings(max_examples=10)
def test_with_conv_weight_the_kept_weights_are_still_copied(gated: GatedNetwork) -> None:
    pruned = remove_channels(gated)
    inputs = torch.ones(3, dtype=torch.bool)
    for (old, _), (new, _), kept in zip(list_layers(gated), list_layers(pruned), gated.masks, strict=True):
        assert torch.equal(new.weight, old.weight[kept][:, inputs])
        inputs = kept
    assert torch.equal(pruned.classifier.weight, gated.network.classifier.weight[:, inputs])


def test_a_gate_before_the_norm_is_not_the_smaller_network(dense: DenseNetwork) -> None:
    masks = draw_masks(dense.layout.widths, 0.5)
    differences: dict[str, Any] = {}
    for gate in ("bn_output", "conv_weight"):
        gated = gate_network(dense.network, masks, gate)
        differences[gate] = relative_difference(gated, remove_channels(gated), images(32))
    assert differences["bn_output"] < 1e-5
    assert differences["conv_weight"] > 1e-2


# At a small width, where they have one.
SMALL = dict.fromkeys(("vgg11", "vgg13", "vgg16", "vgg19"), 1 / 32) | {"mobilenet_v2": 0.1}
SMALL |= dict.fromkeys(("resnet20", "resnet32", "resnet56"), 0.25)


SLOW = ("densenet121", "resnet50", "resnet34")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in NETWORKS]
)
def test_torch_pruning_makes_the_same_of_every_network(name: str) -> None:
    """The same tensors, and the same output as the whole network in which the doomed channels' norms are 0."""
    architecture = Architecture(name, CLASSES, SMALL.get(name, 1.0), 32)
    layout = find_layout(architecture)
    network = architecture.create(0).eval()
    draw_norms(network, 0)
    torch.manual_seed(0)
    masks = draw_masks(layout.widths, 0.5)
    ours = remove_channels(GatedNetwork(network, layout, masks, "bn_output").eval())
    theirs = copy.deepcopy(network)
    for group, layer, rows in layout.list_members("normalisation"):
        norm = theirs.get_submodule(layer.name)
        with torch.no_grad():
            for parameter in (norm.get_parameter("weight"), norm.get_parameter("bias")):
                parameter[rows] *= masks[group]
    graph = torch_pruning.DependencyGraph().build_dependency(theirs, example_inputs=images(1))
    for group, mask in zip(layout.groups, masks, strict=True):
        doomed = (~mask).nonzero().flatten().tolist()
        if doomed:
            conv = theirs.get_submodule(group.name)
            graph.get_pruning_group(conv, torch_pruning.prune_conv_out_channels, idxs=doomed).prune()
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for each, tensor in ours.state_dict().items():
        assert torch.equal(tensor, theirs.state_dict()[each]), each
    x = images()
    with torch.no_grad():
        expected, got = theirs(x), ours(x)
    assert (got - expected).abs().max() <= 1e-6 * expected.abs().max()

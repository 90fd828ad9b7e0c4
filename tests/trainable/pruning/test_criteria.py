"""Each criterion against its definition; none of them changes the network."""

import copy
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from networks import create_vgg16, find_vgg16_layout, list_layers, list_widths
from torch import Tensor, nn
from torch.nn import functional

from trainable.data.batches import DeviceSplit
from trainable.data.dataset import Data
from trainable.dense import DenseNetwork
from trainable.network.architecture import Architecture
from trainable.network.grouping import find_layout
from trainable.pruning.criteria import Criterion, score_channels


@pytest.fixture
def batches(data: Data) -> list[tuple[Tensor, Tensor]]:
    return list(DeviceSplit(data.train, data, torch.device("cpu")).plain_batches(12))


def test_norms_and_scales_by_hand() -> None:
    network, layout = create_vgg16((2,) * 13, 4, seed=0), find_vgg16_layout((2,) * 13, 4)
    conv, norm = list_layers(network)[0]
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[0, 0, 0, 0], conv.weight[0, 2, 1, 1], conv.weight[1, 1, 2, 2] = 3, -4, -6
        norm.weight.copy_(torch.tensor([-0.5, 0.25]))
    criteria: list[Criterion] = ["l1", "l2", "bn_scale"]
    first = {each: score_channels(network, layout, each, batches=(), seed=0)[0].tolist() for each in criteria}
    assert first == {"l1": [7, 6], "l2": [5, 6], "bn_scale": [0.5, 0.25]}


LINEAR = """
from torch import nn


class Pixel(nn.Module):
    def forward(self, features):
        return features[:, :, None, None]


def build(classes):
    first = [nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    second = [nn.Linear(6, 5), Pixel(), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*first, *second, nn.Linear(5, classes))
"""


def test_a_linear_layer_has_filters_as_well(write_module: Callable[[str, str], None]) -> None:
    write_module("linear_network", LINEAR)
    architecture = Architecture("linear_network:build", 3, image_size=8)
    layout, network = find_layout(architecture), architecture.create(0)
    assert [group.name for group in layout.groups] == ["0", "5"]
    weight = network.get_parameter("5.weight").detach()
    criteria: list[Criterion] = ["l1", "l2", "bn_scale"]
    scores = {each: score_channels(network, layout, each, batches=(), seed=0)[1] for each in criteria}
    torch.testing.assert_close(scores["l1"], weight.abs().sum(1))
    torch.testing.assert_close(scores["l2"], weight.norm(dim=1))
    assert torch.equal(scores["bn_scale"], torch.ones(5))


def gate_gradients(network: nn.Module, images: Tensor, labels: Tensor) -> list[Tensor]:
    """dL/dg at 1 of a factor g on each channel's batch-norm output, by autograd through the factor itself."""
    gates = [torch.ones(width, requires_grad=True) for width in list_widths(network)]

    def gated(gate: Tensor) -> Callable[[nn.Module, tuple[Tensor], Tensor], Tensor]:
        return lambda module, inputs, output: output * gate.view(1, -1, 1, 1)

    hooks = [
        norm.register_forward_hook(gated(gate)) for (_, norm), gate in zip(list_layers(network), gates, strict=True)
    ]
    gradients = torch.autograd.grad(functional.cross_entropy(network(images), labels), gates)
    for hook in hooks:
        hook.remove()
    return list(gradients)


def test_taylor_is_the_squared_gradient_of_a_gate(dense: DenseNetwork, batches: list[tuple[Tensor, Tensor]]) -> None:
    network = dense.network
    scores = score_channels(network, dense.layout, "taylor", batches=batches, seed=0)
    expected = [
        sum(grads) for grads in zip(*([g**2 for g in gate_gradients(network, *b)] for b in batches), strict=True)
    ]
    assert len(batches) == 3
    for layer, by_hand in zip(scores, expected, strict=True):
        assert layer.max() > 0
        torch.testing.assert_close(layer, by_hand, rtol=1e-3, atol=1e-6 * float(layer.max()))


def test_a_small_last_batch_counts_as_much_as_its_images(
    dense: DenseNetwork, batches: list[tuple[Tensor, Tensor]]
) -> None:
    """The gradient of one image is much larger than that of a batch, in which most of it cancels out."""
    network, (images, labels) = dense.network, batches[1]
    whole, single = (gate_gradients(network, *batch) for batch in (batches[0], (images[:1], labels[:1])))
    scores = score_channels(network, dense.layout, "taylor", batches=[batches[0], (images[:1], labels[:1])], seed=0)
    for layer, ours, its in zip(scores, whole, single, strict=True):
        torch.testing.assert_close(layer, ours**2 + its**2 / 12, rtol=1e-3, atol=1e-6 * float(layer.max()))


def test_taylor_predicts_what_the_loss_does_with_a_little_less_of_the_channel(
    dense: DenseNetwork, batches: list[tuple[Tensor, Tensor]]
) -> None:
    """A finite difference: the loss with the highest channel's output times 1 - h and 1 + h."""
    network, step = dense.network, 1e-2
    images, labels = batches[0]
    (layer, *_) = score_channels(network, dense.layout, "taylor", batches=batches[:1], seed=0)
    channel = int(layer.argmax())
    _, norm = list_layers(network)[0]
    losses = []
    for factor in (1 + step, 1 - step):
        gate = torch.ones(len(layer))
        gate[channel] = factor
        hook = norm.register_forward_hook(lambda module, inputs, output, gate=gate: output * gate.view(1, -1, 1, 1))
        with torch.no_grad():
            losses.append(functional.cross_entropy(network(images).double(), labels).item())
        hook.remove()
    assert layer[channel].item() == pytest.approx(((losses[0] - losses[1]) / (2 * step)) ** 2, rel=0.05)


def test_random_depends_on_its_seed_alone() -> None:
    first, second = (create_vgg16((5,) * 13, 4, seed) for seed in (0, 1))
    layout = find_vgg16_layout((5,) * 13, 4)
    before = torch.get_rng_state()
    scores, same, other = (
        torch.cat(score_channels(network, layout, "random", batches=(), seed=seed))
        for network, seed in ((first, 3), (second, 3), (first, 4))
    )
    assert torch.equal(scores, same)
    assert not torch.equal(scores, other)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("criterion", get_args(Criterion))
@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(
    criterion: Criterion, training: bool, dense: DenseNetwork, batches: list[tuple[Tensor, Tensor]]
) -> None:
    network = copy.deepcopy(dense.network).train(training)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    scores = score_channels(network, dense.layout, criterion, batches=batches, seed=0)
    assert [len(layer) for layer in scores] == list(dense.layout.widths)
    assert not any(layer.requires_grad for layer in scores)
    assert network.training is training
    assert all(module.training is training for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name

"""A gate multiplies what docs/method.md says, changes nothing at alpha = 1, and training cannot work against it."""

import copy
from typing import Literal

import pytest
import torch
from networks import build_vgg16, list_layers
from torch import Tensor, nn
from torch.nn import functional

from trainable.config import OptimizerConfig
from trainable.dense import DenseNetwork
from trainable.network.layout import Layout
from trainable.pruning.gates import GatedBatchNorm2d, GatedNetwork
from trainable.training import create_sgd

Gate = Literal["bn_output", "conv_weight"]
GATES: tuple[Gate, ...] = ("bn_output", "conv_weight")


@pytest.fixture
def source(dense: DenseNetwork) -> nn.Module:
    return copy.deepcopy(dense.network)


@pytest.fixture
def layout(dense: DenseNetwork) -> Layout:
    return dense.layout


@pytest.fixture
def masks(layout: Layout) -> list[Tensor]:
    """About half of each layer is kept, at least one channel kept and one doomed."""
    torch.manual_seed(0)
    masks = [torch.rand(width) < 0.5 for width in layout.widths]
    for mask in masks:
        mask[0], mask[-1] = True, False
    return masks


@pytest.fixture
def images() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(8, 3, 32, 32).to(memory_format=torch.channels_last)


def train(network: nn.Module, images: Tensor, steps: int = 3) -> None:
    """A few steps with as much weight decay and learning rate as anyone would use."""
    optimizer = create_sgd(network, OptimizerConfig(weight_decay=0.1), lr=0.1)
    network.train()
    for _ in range(steps):
        optimizer.zero_grad()
        functional.cross_entropy(network(images), torch.arange(len(images)) % 4).backward()
        optimizer.step()


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("training", [True, False])
def test_at_alpha_1_the_gated_network_is_the_dense_one(
    gate: Gate, training: bool, source: nn.Module, layout: Layout, masks: list[Tensor], images: Tensor
) -> None:
    gated = GatedNetwork(source, layout, masks, gate).train(training)
    assert gated.alpha == 1
    with torch.no_grad():
        assert torch.equal(gated(images), source.train(training)(images))
    for (_, old), (_, new) in zip(list_layers(source), list_layers(gated), strict=True):
        assert torch.equal(old.running_mean, new.running_mean)
        assert torch.equal(old.running_var, new.running_var)


@pytest.mark.parametrize("alpha", [1, 0.3, 1e-3, 0])
@pytest.mark.parametrize("training", [True, False])
def test_bn_output_multiplies_the_doomed_channels_after_the_norm(
    alpha: float, training: bool, source: nn.Module, layout: Layout, masks: list[Tensor]
) -> None:
    gated = GatedNetwork(source, layout, masks, "bn_output").train(training)
    gated.set_alpha(alpha)
    for (_, old), (_, new), mask in zip(list_layers(source.train(training)), list_layers(gated), masks, strict=True):
        with torch.no_grad():
            old.bias.normal_()
            new.load_state_dict(GatedBatchNorm2d(old, mask, gated.alpha, gate_output=True).state_dict())
            x = torch.randn(4, len(mask), 5, 5) * 3 + 1
            expected = old(x) * torch.where(mask, 1.0, alpha).view(1, -1, 1, 1)
            torch.testing.assert_close(new(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("alpha", [1, 0.3, 1e-3, 0])
def test_conv_weight_multiplies_the_doomed_channels_before_the_norm(
    alpha: float, source: nn.Module, layout: Layout, masks: list[Tensor]
) -> None:
    for conv, _ in list_layers(source):
        nn.init.normal_(conv.bias)  # which a gate on the filter has to multiply, too
    gated = GatedNetwork(source, layout, masks, "conv_weight")
    gated.set_alpha(alpha)
    for (old, old_norm), (new, new_norm), mask in zip(list_layers(source), list_layers(gated), masks, strict=True):
        x = torch.randn(2, old.in_channels, 6, 6)
        with torch.no_grad():
            expected = old(x) * torch.where(mask, 1.0, alpha).view(1, -1, 1, 1)
            torch.testing.assert_close(new(x), expected, rtol=1e-4, atol=1e-5)
            y = torch.randn(2, len(mask), 6, 6)
            assert torch.equal(old_norm.eval()(y), new_norm.eval()(y))


@pytest.mark.parametrize(
    ("alpha", "ratio"),
    [(0.5, 1), (0.1, 0.999), (0.05, 0.994), (0.018, 0.956), (0.01, 0.877), (0.005, 0.676), (0.001, 0.182)],
)
def test_batch_norm_divides_the_alpha_of_conv_weight_out_again(
    alpha: float, ratio: float, source: nn.Module, layout: Layout, images: Tensor
) -> None:
    """The table of docs/method.md: the standard deviation after the norm, relative to alpha = 1, of the first layer.

    There the variance of a convolution's outputs is about 1/3; 1e-5 is added to it before the division.
    """
    gated = GatedNetwork(
        source, layout, [torch.zeros(width, dtype=torch.bool) for width in layout.widths], "conv_weight"
    )
    conv, norm = list_layers(gated)[0]
    with torch.no_grad():
        conv.weight.mul_((1 / 3 / conv(images).var(dim=(0, 2, 3))).sqrt().view(-1, 1, 1, 1))
        conv.bias.zero_()
        stds = []
        for each in (1, alpha):
            gated.set_alpha(each)
            stds.append(norm.train()(conv(images)).std(dim=(0, 2, 3)))
    torch.testing.assert_close(stds[1] / stds[0], torch.full_like(stds[0], ratio), rtol=0, atol=3e-3)


@pytest.mark.parametrize("gate", GATES)
def test_training_moves_gamma_and_beta_of_kept_channels_only(
    gate: Gate, source: nn.Module, layout: Layout, masks: list[Tensor], images: Tensor
) -> None:
    gated = GatedNetwork(source, layout, masks, gate)
    gated.set_alpha(0.1)
    train(gated, images)
    for (_, old), (_, new), mask in zip(list_layers(source), list_layers(gated), masks, strict=True):
        assert isinstance(new, GatedBatchNorm2d)
        gated.set_alpha(1)
        for before, after in zip((old.weight, old.bias), new.affine_parameters(), strict=True):
            assert torch.equal(before[~mask], after[~mask])
            assert not torch.equal(before[mask], after[mask])


@pytest.mark.parametrize("gate", GATES)
def test_a_state_dict_restores_everything(
    gate: Gate, source: nn.Module, layout: Layout, masks: list[Tensor], images: Tensor
) -> None:
    gated = GatedNetwork(source, layout, masks, gate)
    gated.set_alpha(0.2)
    train(gated, images)
    # Other channels, other weights, another alpha: all of it comes with the state.
    other = build_vgg16(layout.widths, 4)
    again = GatedNetwork(other, layout, [~mask for mask in masks], gate)
    again.load_state_dict(gated.state_dict())
    with torch.no_grad():
        assert torch.equal(gated.eval()(images), again.eval()(images))
        before = again(images)
        again.set_alpha(0.9)
        assert not torch.equal(before, again(images))
        gated.set_alpha(0.9)
        assert torch.equal(gated(images), again(images))


@pytest.mark.parametrize("gate", GATES)
def test_a_deep_copy_has_an_alpha_of_its_own(
    gate: Gate, source: nn.Module, layout: Layout, masks: list[Tensor], images: Tensor
) -> None:
    gated = GatedNetwork(source, layout, masks, gate).eval()
    with torch.no_grad():
        before = gated(images)
        twin = copy.deepcopy(gated)
        twin.set_alpha(0)
        assert not torch.equal(before, twin(images))
        assert torch.equal(before, gated(images))


@pytest.mark.parametrize("gate", GATES)
def test_the_source_is_neither_shared_nor_changed(
    gate: Gate, source: nn.Module, layout: Layout, masks: list[Tensor], images: Tensor
) -> None:
    before = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    gated = GatedNetwork(source, layout, masks, gate)
    gated.set_alpha(0.5)
    train(gated, images)
    own = {tensor.data_ptr() for tensor in gated.state_dict().values()}
    for name, tensor in source.state_dict().items():
        assert tensor.data_ptr() not in own
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("gate", GATES)
def test_gates_keep_the_filters_channels_last(
    gate: Gate, source: nn.Module, layout: Layout, masks: list[Tensor]
) -> None:
    for conv, _ in list_layers(GatedNetwork(source, layout, masks, gate)):
        assert conv.weight.is_contiguous(memory_format=torch.channels_last)

"""Gates: what alpha multiplies in the network of the alpha phase.

At `bn_output` alpha multiplies a doomed channel's batch-norm output, that is, gamma and beta together. The two vectors
are multiplied before the normalisation uses them, which is the same function at no cost per image. Gamma and beta of
a doomed channel are frozen (as buffers that no optimizer sees), or training would scale them up against alpha.

At `conv_weight` alpha multiplies the filter before the normalisation, which divides it out again: the ablation that
shows why the place matters.
"""

from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainable.network.layout import Layout
from trainable.network.placement import device_of, place_on, replace_tensors


class GatedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation whose doomed channels are frozen in gamma and beta and multiplied by alpha."""

    kept: Tensor
    doomed_weight: Tensor
    doomed_bias: Tensor

    def __init__(self, norm: nn.BatchNorm2d, mask: Tensor, alpha: Tensor, *, gate_output: bool) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, device=norm.weight.device)
        self.load_state_dict(norm.state_dict())
        self.weight.requires_grad_(norm.weight.requires_grad)
        self.bias.requires_grad_(norm.bias.requires_grad)
        self.register_buffer("kept", mask.to(self.weight))
        self.register_buffer("doomed_weight", norm.weight.detach() * (1 - self.kept))
        self.register_buffer("doomed_bias", norm.bias.detach() * (1 - self.kept))
        self._alpha = (alpha,) if gate_output else ()  # in a tuple, or each layer would register it as its own buffer

    def affine_parameters(self) -> tuple[Tensor, Tensor]:
        """Gamma and beta [width] as they act at the current alpha."""
        weight, bias = self.doomed_weight, self.doomed_bias
        for alpha in self._alpha:
            weight, bias = weight * alpha, bias * alpha
        return self.weight * self.kept + weight, self.bias * self.kept + bias

    def forward(self, x: Tensor) -> Tensor:
        assert self.momentum is not None  # cumulative averages are left to recalibrate_norms
        weight, bias = self.affine_parameters()
        return functional.batch_norm(
            x, self.running_mean, self.running_var, weight, bias, self.training, self.momentum, self.eps
        )


class GatedConv2d(nn.Module):
    """A convolution whose doomed filters are multiplied by alpha."""

    kept: Tensor

    def __init__(self, conv: nn.Conv2d, mask: Tensor, alpha: Tensor) -> None:
        """Takes over the parameters of `conv`."""
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.register_buffer("kept", mask.to(conv.weight))
        self._alpha, self._conv = (alpha,), (conv,)  # in tuples, or they would be registered as parts of this module

    def forward(self, x: Tensor) -> Tensor:
        gate = self.kept + (1 - self.kept) * self._alpha[0]
        bias = self.bias if self.bias is None else self.bias * gate
        return cast(Tensor, self._conv[0]._conv_forward(x, self.weight * gate.view(-1, 1, 1, 1), bias))


class GatedNetwork(nn.Module):
    """The dense network with gates on its doomed channels; trains at the alpha of `set_alpha`.

    Attributes:
        network: what is gated; its parameters have the names of the dense network's.
        layout: of the dense network.
        masks: for each group, [width] of bool, True where the channel is kept.
        alpha: of all gates.
    """

    alpha: Tensor

    def __init__(
        self,
        dense: nn.Module,
        layout: Layout,
        masks: Sequence[Tensor],
        gate: Literal["bn_output", "conv_weight"],
    ) -> None:
        """Copies `dense`, which is not changed.

        Args:
            dense: the trained network.
            layout, masks: as above.
            gate: `bn_output` or `conv_weight`.
        """
        super().__init__()
        device = device_of(dense)
        self.network = replace_tensors(dense, {name: each.clone() for name, each in dense.state_dict().items()})
        self.layout, self.masks = layout, list(masks)
        self._dense = (dense,)  # in a tuple, or it would be a part of this module
        self.register_buffer("alpha", torch.ones((), device=device))
        for layer in layout.layers:
            mask = layout.mask_axis(layer.rows, self.masks)
            if mask is None:
                continue
            module = self.network.get_submodule(layer.name)
            if isinstance(module, nn.BatchNorm2d):
                gated = GatedBatchNorm2d(module, mask, self.alpha, gate_output=gate == "bn_output")
                self.network.set_submodule(layer.name, gated)
            elif isinstance(module, nn.Conv2d) and gate == "conv_weight":
                self.network.set_submodule(layer.name, place_on(GatedConv2d(module, mask, self.alpha), device))

    @property
    def dense(self) -> nn.Module:
        """The network without gates, with the weights that it had before the alpha phase."""
        return self._dense[0]

    def list_tensors(self) -> dict[str, Tensor]:
        """The parameters and buffers as they are now, by name, without those that only the gates have."""
        state = self.network.state_dict()
        return {name: state[name] for name in self.dense.state_dict()}

    def set_alpha(self, alpha: float) -> None:
        """Sets the alpha of all gates, in [0, 1]; in place, so that the device need not wait for it."""
        self.alpha.fill_(alpha)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes] of normalised images [N, 3, H, W]."""
        return self.network(images)  # type: ignore[no-any-return]

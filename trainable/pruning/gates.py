"""Gates: what alpha multiplies in the network of the alpha phase.

At `bn_output` alpha multiplies a doomed channel's batch-norm output, that is, gamma and beta together. The two vectors
are multiplied before the normalisation uses them, which is the same function at no cost per image. Gamma and beta of
a doomed channel are frozen (as buffers that no optimizer sees), or training would scale them up against alpha.

At `conv_weight` alpha multiplies the filter before the normalisation, which divides it out again: the ablation that
shows why the place matters.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainable.network.vgg16 import VGG16, place_on


class GatedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation whose doomed channels are frozen in gamma and beta and multiplied by alpha."""

    kept: Tensor
    doomed_weight: Tensor
    doomed_bias: Tensor

    def __init__(self, norm: nn.BatchNorm2d, mask: Tensor, alpha: Tensor, *, gate_output: bool) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, device=norm.weight.device)
        self.load_state_dict(norm.state_dict())
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


class GatedConv2d(nn.Conv2d):
    """A convolution whose doomed filters are multiplied by alpha."""

    kept: Tensor

    def __init__(self, conv: nn.Conv2d, mask: Tensor, alpha: Tensor) -> None:
        device, bias = conv.weight.device, conv.bias is not None
        super().__init__(conv.in_channels, conv.out_channels, (3, 3), padding=1, bias=bias, device="meta")
        self.to_empty(device=device)
        self.load_state_dict(conv.state_dict())
        self.register_buffer("kept", mask.to(self.weight))
        self._alpha = (alpha,)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.kept + (1 - self.kept) * self._alpha[0]
        bias = self.bias if self.bias is None else self.bias * gate
        return functional.conv2d(x, self.weight * gate.view(-1, 1, 1, 1), bias, self.stride, self.padding)


class GatedVGG16(VGG16):
    """The dense network with gates on its doomed channels; trains at the alpha of `set_alpha`."""

    alpha: Tensor

    def __init__(self, dense: VGG16, masks: Sequence[Tensor], gate: Literal["bn_output", "conv_weight"]) -> None:
        """Copies `dense`, which is not changed.

        Args:
            dense: the trained network.
            masks: per layer, [width] of bool, True where the channel is kept.
            gate: `bn_output` or `conv_weight`.
        """
        device = dense.classifier.weight.device
        with torch.device("meta"):  # everything is overwritten right away
            super().__init__(dense.widths, dense.classes)
        place_on(self.to_empty(device=device), device)
        self.load_state_dict(dense.state_dict())
        self.masks = list(masks)
        self.register_buffer("alpha", torch.ones((), device=device))
        position = {module: index for index, module in enumerate(self.features)}
        for (conv, norm), mask in zip(list(self.layers()), masks, strict=True):
            if gate == "conv_weight":
                self.features[position[conv]] = place_on(GatedConv2d(conv, mask, self.alpha), device)
            self.features[position[norm]] = GatedBatchNorm2d(norm, mask, self.alpha, gate_output=gate == "bn_output")

    def set_alpha(self, alpha: float) -> None:
        """Sets the alpha of all gates, in [0, 1]; in place, so that the device need not wait for it."""
        self.alpha.fill_(alpha)

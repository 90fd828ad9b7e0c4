"""Puts networks where they are fast, and makes copies of them with other tensors."""

import copy
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

AnyModule = TypeVar("AnyModule", bound=nn.Module)


class SubsampledConv2d(nn.Conv2d):
    """A 1x1 convolution with a stride, which first drops the pixels that it does not read.

    oneDNN's own strided 1x1 convolution writes outside its memory in channels-last (uxlfoundation/oneDNN#6035): with a
    few channels, the process dies.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002
        down, right = (int(stride) for stride in self.stride)
        return functional.conv2d(input[:, :, ::down, ::right], weight, bias, groups=self.groups)


def place_on(module: AnyModule, device: torch.device) -> AnyModule:
    """`module` on `device`, channels-last, the layout in which convolutions are fastest on CPU and GPU alike."""
    for each in module.modules():
        if type(each) is nn.Conv2d and each.kernel_size == (1, 1) and each.stride != (1, 1) and _is_unpadded(each):
            each.__class__ = SubsampledConv2d  # the same module, which computes the same
    return cast(AnyModule, module.to(device=device, memory_format=torch.channels_last))  # type: ignore[call-overload]


def _is_unpadded(conv: nn.Conv2d) -> bool:
    return conv.padding in (0, (0, 0), "valid")


def device_of(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def replace_tensors(network: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """A copy of `network` with other parameters and buffers, which may have other sizes.

    Args:
        network: it is left as it was; its tensors may be on the `meta` device.
        tensors: by the names of its state dict, all of them. They are used, not copied.

    Raises:
        ValueError: if a name is missing or unknown, or has another number of dimensions.
    """
    own = network.state_dict(keep_vars=True)
    if missing := [name for name in own if name not in tensors] + [name for name in tensors if name not in own]:
        raise ValueError(f"the tensors must be those of the network, but {missing[0]!r} is in only one of the two")
    memo: dict[int, Any] = {}
    for name, old in own.items():
        new = tensors[name]
        if new.ndim != old.ndim:
            raise ValueError(f"{name} must have {old.ndim} dimensions, but has shape {list(new.shape)}")
        # What deepcopy finds in its memo, it takes for the copy.
        memo[id(old)] = nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new
    copied = copy.deepcopy(network, memo)
    for name, module in copied.named_modules():
        _adapt_sizes(name, module)
    return copied


def _adapt_sizes(name: str, module: nn.Module) -> None:
    """Sets what `module` says of its sizes to what its weights have."""
    match module:
        case nn.Conv2d():
            outputs, inputs = module.weight.shape[:2]
            if module.groups > 1 and module.groups == module.in_channels == module.out_channels:
                module.groups = outputs  # one group for each channel, of which there are fewer now
            if module.weight.shape[2:] != module.kernel_size:
                raise ValueError(f"{name}.weight must have a kernel of {module.kernel_size}, but has another")
            module.in_channels, module.out_channels = inputs * module.groups, outputs
        case nn.Linear():
            module.out_features, module.in_features = module.weight.shape
        case nn.BatchNorm2d() if module.weight is not None:
            module.num_features = len(module.weight)

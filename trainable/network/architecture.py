"""What builds a dense network: a name, or a function of the user's own, and what it is given."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import nn

from trainable.config import NetworkConfig
from trainable.function_import import (
    announce_import,
    describe_error,
    describe_nearest,
    import_function,
    is_function_name,
)
from trainable.network.placement import place_on

# The networks that have a name, and the functions that build them.
_VGG, _RESNET, _TORCHVISION = (f"trainable.network.{module}" for module in ("vgg", "resnet", "from_torchvision"))
NETWORKS = {
    **{name: f"{_VGG}:{name}" for name in ("vgg11", "vgg13", "vgg16", "vgg19")},
    **{name: f"{_RESNET}:{name}" for name in ("resnet20", "resnet32", "resnet56")},
    **{name: f"{_TORCHVISION}:{name}" for name in ("resnet18", "resnet34", "resnet50", "mobilenet_v2", "densenet121")},
}


@dataclass(frozen=True)
class Architecture:
    """A dense network without its weights.

    name: one of NETWORKS, or package.module:function. arguments: keyword arguments of the function. width: channels as
    a multiple of the published ones, for networks that can be made wider and narrower. classes: outputs. image_size:
    height and width of the images, in pixels.
    """

    name: str
    classes: int
    width: float = 1.0
    image_size: int = 32
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, network: NetworkConfig, *, width: float, classes: int, image_size: int = 32) -> "Architecture":
        return cls(network.name, classes, width, image_size, network.arguments)

    def build(self) -> nn.Module:
        """The network with random weights, drawn from the global generator, on torch's default device.

        Raises:
            ValueError: if there is no such function, it cannot be called with the arguments, or returns no network.
        """
        if self.name not in NETWORKS and not is_function_name(self.name):
            raise ValueError(
                f"network.name must be one of {', '.join(NETWORKS)}, or package.module:function, but got "
                f"{self.name!r}; {describe_nearest(self.name, list(NETWORKS), 'there is none')}"
            )
        if self.name not in NETWORKS:
            _announce_once(self.name)
        function = import_function("network", NETWORKS.get(self.name, self.name))
        parameters = inspect.signature(function).parameters
        given = dict(self.arguments)
        takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
        if decided := next((name for name in ("classes", "num_classes", "image_size") if name in given), None):
            raise ValueError(
                f"network.arguments must not have {decided!r}, which the data decide, but got {given[decided]!r}; "
                "remove it"
            )
        if "classes" in parameters:
            given["classes"] = self.classes
        elif "num_classes" in parameters or takes_any:
            given["num_classes"] = self.classes
        else:
            raise ValueError(f"network {self.name!r} must take `classes`, the number of its outputs; add the parameter")
        if "image_size" in parameters:
            given["image_size"] = self.image_size
        if "width" in parameters:
            given.setdefault("width", self.width)
        elif self.width != 1:
            raise ValueError(
                f"dense.width must be 1 for network {self.name!r}, which takes no `width`, but got {self.width}; "
                "set it to 1, or add the parameter"
            )
        try:
            network = function(**given)
        except Exception as error:
            shown = ", ".join(f"{name}={value!r}" for name, value in given.items())
            raise ValueError(
                f"network {self.name!r} could not be built: {describe_error(error)} ({shown}); "
                "fix the function, or network.arguments"
            ) from error
        if not isinstance(network, nn.Module):
            raise ValueError(
                f"network {self.name!r} must be a torch.nn.Module, but the function returned {network!r}; return it"
            )
        return network

    def build_shell(self) -> nn.Module:
        """The network, whose tensors are there only to be replaced: without memory, if it is one of ours."""
        if self.name not in NETWORKS:
            return self.create(seed=0)  # code of the user's may need values, or keep some outside the state dict
        # Drawing random weights, only to overwrite them, takes 0.2 s for VGG16 at full width.
        with torch.device("meta"):
            return self.build()

    def create(self, seed: int) -> nn.Module:
        """An untrained network on the CPU, with weights of `seed` alone; the global generator stays as it is."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return place_on(self.build(), torch.device("cpu"))


@cache
def _announce_once(name: str) -> None:
    announce_import("network", name)


def initialise_weights(network: nn.Module, architecture: Architecture, seed: int) -> nn.Module:
    """A pruned `network` on the CPU with new random weights, as torchvision's VGG and ResNet draw theirs.

    What builds a network knows only its dense sizes, so a pruned one that is trained from scratch needs this. What the
    user's own modules hold, which is never cut, is as `architecture` builds it.
    """
    network = network.to(device="cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    fresh = architecture.create(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, module in network.named_modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
                continue
            own = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
            for key, tensor in own:
                tensor.data.copy_(getattr(fresh.get_submodule(name), key))
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
    return place_on(network, torch.device("cpu"))

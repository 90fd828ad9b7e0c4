"""VGG16 with batch normalisation for 32x32 images, with any widths: the dense network and every pruned one alike."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

# torchvision's configuration D: output channels of the 13 convolutions, "M" a 2x2 max-pool.
LAYOUT: tuple[int | str, ...] = (
    *(64, 64, "M", 128, 128, "M", 256, 256, 256, "M"),
    *(512, 512, 512, "M", 512, 512, 512, "M"),
)
FULL_WIDTHS = tuple(width for width in LAYOUT if isinstance(width, int))
IMAGE_SIZE = 32

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def dense_widths(width: float) -> tuple[int, ...]:
    """The widths of the dense network at `width` times the published ones, each at least 1."""
    return tuple(max(1, round(width * full)) for full in FULL_WIDTHS)


class VGG16(nn.Module):
    """torchvision's VGG16-BN features at the given widths, and one linear layer as classifier.

    Five poolings take 32x32 images to 1x1, so the published network's average pooling and its hidden linear layers,
    which are made for 224x224, have no use here.
    """

    def __init__(self, widths: Sequence[int], classes: int) -> None:
        super().__init__()
        if len(widths) != len(FULL_WIDTHS) or min(widths) < 1:
            raise ValueError(f"VGG16 needs {len(FULL_WIDTHS)} widths of at least 1, but got {list(widths)}")
        remaining = iter(widths)
        layout = [next(remaining) if isinstance(layer, int) else layer for layer in LAYOUT]
        self.features = _make_layers(layout)
        self.classifier = nn.Linear(widths[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # as torchvision.models.vgg.VGG does
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    @property
    def widths(self) -> tuple[int, ...]:
        """Output channels of the 13 convolutions."""
        return tuple(conv.out_channels for conv, _ in self.layers())

    @property
    def classes(self) -> int:
        return self.classifier.out_features

    def layers(self) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d]]:
        """The 13 convolutions, each with the batch normalisation after it."""
        for conv, norm in pairwise(self.features):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                yield conv, norm

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes] of normalised images [N, 3, 32, 32]."""
        return self.classifier(torch.flatten(self.features(images), 1))  # type: ignore[no-any-return]


def _make_layers(layout: Sequence[int | str]) -> nn.Sequential:
    """What torchvision.models.vgg.make_layers makes, whose import would double the time that the command starts in."""
    layers, inputs = list[nn.Module](), 3
    for layer in layout:
        if isinstance(layer, int):
            convolution = nn.Conv2d(inputs, layer, kernel_size=3, padding=1)
            layers += [convolution, nn.BatchNorm2d(layer), nn.ReLU(inplace=True)]
            inputs = layer
        else:
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
    return nn.Sequential(*layers)


def place_on(module: AnyModule, device: torch.device) -> AnyModule:
    """`module` on `device`, channels-last, the layout in which convolutions are fastest on CPU and GPU alike."""
    return cast(AnyModule, module.to(device=device, memory_format=torch.channels_last))  # type: ignore[call-overload]


def create_empty(widths: Sequence[int], classes: int, device: torch.device) -> VGG16:
    """A network on `device` whose values are uninitialised memory; all of them have yet to be set."""
    # Drawing random weights, only to overwrite them, takes 0.2 s at full width.
    with torch.device("meta"):
        network = VGG16(widths, classes)
    return place_on(network.to_empty(device=device), device)


def create_initialised(widths: Sequence[int], classes: int, seed: int) -> VGG16:
    """An untrained network whose weights are drawn from `seed` alone; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return place_on(VGG16(widths, classes), torch.device("cpu"))


def count_macs(widths: Sequence[int], classes: int) -> int:
    """Multiply-accumulates of convolutions and classifier for one image, as in torch.utils.flop_counter (/ 2)."""
    total, size, inputs, remaining = 0, IMAGE_SIZE, 3, iter(widths)
    for layer in LAYOUT:
        if isinstance(layer, int):
            outputs = next(remaining)
            total += size * size * 9 * inputs * outputs
            inputs = outputs
        else:
            size //= 2
    return total + inputs * classes


def count_parameters(widths: Sequence[int], classes: int) -> int:
    """Weights, biases, and the scale and shift of the batch normalisations."""
    inputs = (3, *widths[:-1])
    return sum((9 * i + 3) * o for i, o in zip(inputs, widths, strict=True)) + (widths[-1] + 1) * classes


def count_channels(widths: Sequence[int], classes: int) -> int:
    """Output channels of the convolutions; the classes do not count."""
    return sum(widths)


COSTS = {"macs": count_macs, "parameters": count_parameters, "channels": count_channels}


def compute_sparsities(widths: Sequence[int], dense: Sequence[int], classes: int) -> dict[str, float]:
    """The fractions in [0, 1) of `dense` that `widths` lack: channel_, parameter_ and mac_sparsity."""
    names = {"channel_sparsity": count_channels, "parameter_sparsity": count_parameters, "mac_sparsity": count_macs}
    return {name: 1 - cost(widths, classes) / cost(dense, classes) for name, cost in names.items()}

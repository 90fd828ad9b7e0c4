"""VGG with batch normalisation for small images (Simonyan and Zisserman 2015)."""

from collections.abc import Sequence

from torch import Tensor, nn

# torchvision's configurations: output channels of the convolutions, "M" a 2x2 max-pool.
_LAYOUTS: dict[str, tuple[int | str, ...]] = {
    "vgg11": (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "vgg13": (64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "vgg16": (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"),
    "vgg19": (
        *(64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M"),
        *(512, 512, 512, 512, "M", 512, 512, 512, 512, "M"),
    ),
}


class VGG(nn.Module):
    """torchvision's VGG-BN features, and one linear layer as classifier.

    Five poolings take 32x32 images to 1x1, so the published network's hidden linear layers, which are made for 224x224,
    have no use here; what larger images leave is averaged.
    """

    def __init__(self, layout: Sequence[int | str], classes: int) -> None:
        super().__init__()
        self.features = _make_layers(layout)
        self.classifier = nn.Linear([layer for layer in layout if isinstance(layer, int)][-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # as torchvision.models.vgg.VGG does
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes] of normalised images [N, 3, H, W], H and W at least 32."""
        return self.classifier(self.features(images).mean((2, 3)))  # type: ignore[no-any-return]


def vgg11(classes: int, width: float = 1.0) -> VGG:
    return _create_vgg("vgg11", classes, width)


def vgg13(classes: int, width: float = 1.0) -> VGG:
    return _create_vgg("vgg13", classes, width)


def vgg16(classes: int, width: float = 1.0) -> VGG:
    return _create_vgg("vgg16", classes, width)


def vgg19(classes: int, width: float = 1.0) -> VGG:
    return _create_vgg("vgg19", classes, width)


def _create_vgg(name: str, classes: int, width: float) -> VGG:
    """The network with `width` times the published channels, each layer with at least one."""
    layout = [max(1, round(width * layer)) if isinstance(layer, int) else layer for layer in _LAYOUTS[name]]
    return VGG(layout, classes)


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

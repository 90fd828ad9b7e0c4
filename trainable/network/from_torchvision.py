"""torchvision's networks, with a first layer for small images where the images are small.

Made for 224x224, they would reduce 32x32 to 1x1 halfway. As is usual for CIFAR, images of at most SMALL pixels a side
meet a first convolution of stride 1, of 3x3 where it was 7x7, and no pooling after it.
"""

from torch import nn

SMALL = 64


def resnet18(classes: int, image_size: int) -> nn.Module:
    return _create_resnet("resnet18", classes, image_size)


def resnet34(classes: int, image_size: int) -> nn.Module:
    return _create_resnet("resnet34", classes, image_size)


def resnet50(classes: int, image_size: int) -> nn.Module:
    return _create_resnet("resnet50", classes, image_size)


def mobilenet_v2(classes: int, image_size: int, width: float = 1.0) -> nn.Module:
    from torchvision import models

    network: nn.Module = models.mobilenet_v2(num_classes=classes, width_mult=width)
    if image_size <= SMALL:
        network.get_submodule("features.0.0").stride = (1, 1)  # type: ignore[assignment]
    return network


def densenet121(classes: int, image_size: int) -> nn.Module:
    from torchvision import models

    network: nn.Module = models.densenet121(num_classes=classes)
    if image_size <= SMALL:
        features = network.get_submodule("features")
        features.conv0 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(features.conv0.weight)
        features.pool0 = nn.Identity()
    return network


def _create_resnet(name: str, classes: int, image_size: int) -> nn.Module:
    from torchvision import models

    network: nn.Module = getattr(models, name)(num_classes=classes)
    if image_size <= SMALL:
        network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
        network.maxpool = nn.Identity()
    return network

"""The residual networks for CIFAR (He et al. 2016, section 4.2): three stages of 16, 32 and 64 channels.

Where a stage begins, the shortcut is a 1x1 convolution with batch normalisation (the paper's option B): zeros that are
padded to the channels (option A) would leave no way to remove them.
"""

from torch import Tensor, nn
from torch.nn import functional

STAGES = (16, 32, 64)


class Block(nn.Module):
    """Two 3x3 convolutions, added to what they are given."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if inputs != outputs or stride != 1:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, maps: Tensor) -> Tensor:
        inner = functional.relu(self.norm1(self.conv1(maps)))
        return functional.relu(self.norm2(self.conv2(inner)) + self.shortcut(maps))


class CifarResNet(nn.Module):
    """A residual network of 6 `blocks` + 2 layers."""

    def __init__(self, blocks: int, classes: int, width: float) -> None:
        super().__init__()
        widths = [max(1, round(width * stage)) for stage in STAGES]
        self.conv = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(widths[0])
        layers, inputs = list[nn.Module](), widths[0]
        for stage, outputs in enumerate(widths):
            for block in range(blocks):
                layers.append(Block(inputs, outputs, stride=2 if stage > 0 and block == 0 else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*layers)
        self.classifier = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes] of normalised images [N, 3, H, W]."""
        maps = self.blocks(functional.relu(self.norm(self.conv(images))))
        return self.classifier(maps.mean((2, 3)))  # type: ignore[no-any-return]


def resnet20(classes: int, width: float = 1.0) -> CifarResNet:
    return CifarResNet(3, classes, width)


def resnet32(classes: int, width: float = 1.0) -> CifarResNet:
    return CifarResNet(5, classes, width)


def resnet56(classes: int, width: float = 1.0) -> CifarResNet:
    return CifarResNet(9, classes, width)

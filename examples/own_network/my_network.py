"""A small network of one's own: inverted residual blocks with squeeze-and-excitation, as in MobileNetV3."""

from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """Widens its channels, filters each on its own, weighs them by squeeze-and-excitation, and adds what results."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = 4 * channels
        self.widen = nn.Sequential(nn.Conv2d(channels, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.SiLU())
        depthwise = nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False)
        self.filter = nn.Sequential(depthwise, nn.BatchNorm2d(inner), nn.SiLU())
        self.squeeze, self.excite = nn.Conv2d(inner, channels, 1), nn.Conv2d(channels, inner, 1)
        self.narrow = nn.Sequential(nn.Conv2d(inner, channels, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, maps: Tensor) -> Tensor:
        filtered = self.filter(self.widen(maps))
        weights = self.excite(functional.relu(self.squeeze(filtered.mean((2, 3), keepdim=True))))
        return maps + self.narrow(filtered * weights.sigmoid())  # type: ignore[no-any-return]


def my_network(classes: int, width: float = 1.0, blocks: int = 2) -> nn.Module:
    """The network with `width` times 16 channels; it takes normalised images [N, 3, H, W]."""
    channels = max(1, round(16 * width))
    stem = nn.Conv2d(3, channels, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
    stages = [Block(channels) for _ in range(blocks)]
    return nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))

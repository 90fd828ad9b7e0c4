"""Networks of which a part, or nothing at all, can be cut. The plan of a search says why: --dry-run shows it."""

from torch import Tensor, nn


class TwoLayers(nn.Module):
    def __init__(self, classes: int, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1), first, nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(16, 64, 3, stride=2, padding=1), second, nn.ReLU())
        self.classifier = nn.Linear(64, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.second(self.first(images)).mean((2, 3)))  # type: ignore[no-any-return]


def one_group_norm(classes: int) -> nn.Module:
    """The first layer is left whole: GroupNorm computes one mean for several channels, so none can go alone."""
    return TwoLayers(classes, nn.GroupNorm(4, 16), nn.BatchNorm2d(64))


def only_group_norm(classes: int) -> nn.Module:
    """It is refused, since nothing could be cut."""
    return TwoLayers(classes, nn.GroupNorm(4, 16), nn.GroupNorm(4, 64))

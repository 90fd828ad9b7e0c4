"""A network on disk, without pickle: arch.json (what it is) and model.safetensors (its weights)."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from records.files import describe_unreadable, read_bytes, replace_file
from records.network import WEIGHTS_NAME, NetworkRecord, read_network_record, write_network_record
from trainable.network.architecture import Architecture
from trainable.network.placement import place_on, replace_tensors

# Weights and checkpoints larger than this are not ours: VGG16's take 0.06 and 0.12 GB.
MOST_TENSOR_BYTES = 4 << 30
# What earlier versions called VGG16.
_EARLIER_NAMES = {"vgg16_bn": "vgg16"}


class PrunedNetwork(nn.Module):
    """A network that normalises its images itself, as they were in training.

    Attributes:
        network: takes normalised images.
        widths: channels of each group of the network.
        classes: how many logits it gives.
        image_size: height and width of the images, in pixels.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, record: NetworkRecord) -> None:
        super().__init__()
        self.network = network
        self.widths, self.classes, self.image_size = record.widths, record.classes, record.image_size
        for name, values in (("mean", record.mean), ("std", record.std)):
            # They are in arch.json, so not among the weights.
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes] of images [N, 3, H, W] in [0, 1]."""
        return self.network((images - self.mean) / self.std)  # type: ignore[no-any-return]


def save_network(
    network: nn.Module,
    folder: Path,
    architecture: Architecture,
    widths: Sequence[int],
    *,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> None:
    """Writes `network` into `folder`, with the normalisation that its inputs (in [0, 1]) need.

    The weights are written first and arch.json last: if it exists, the network is complete.

    Args:
        network: the dense network or one with fewer channels.
        folder: is created if it does not exist.
        architecture: of the dense network.
        widths: of the network's groups.
        mean, std: of red, green and blue.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    content = save(tensors)
    replace_file(folder / WEIGHTS_NAME, lambda file: file.write(content))
    record = NetworkRecord(
        network=architecture.name,
        arguments=dict(architecture.arguments),
        width=architecture.width,
        classes=architecture.classes,
        image_size=architecture.image_size,
        widths=tuple(widths),
        mean=mean,
        std=std,
        sha256=hashlib.sha256(content).hexdigest(),
    )
    write_network_record(folder, record)


def load_pruned(folder: str | Path) -> PrunedNetwork:
    """The network in `folder`, on the CPU and in eval mode: it takes images [N, 3, H, W] in [0, 1].

    So does what `alphaprune export` writes, and gives the same logits. A network that a function of your own builds
    needs that function: its module is imported, from where it is installed or from the current folder.

    Raises:
        ValueError: if the folder holds no complete network, naming the file.
    """
    folder = Path(folder)
    record = read_network_record(folder)
    return PrunedNetwork(_load(folder, record), record).eval()


def load_network(folder: Path) -> nn.Module:
    """As load_pruned, but it takes images that are already normalised, as training and measuring have them."""
    return _load(folder, read_network_record(folder))


def read_architecture(record: NetworkRecord) -> Architecture:
    """The architecture of the dense network that a network comes from."""
    name = _EARLIER_NAMES.get(record.network, record.network)
    return Architecture(name, record.classes, record.width, record.image_size, record.arguments)


def _load(folder: Path, record: NetworkRecord) -> nn.Module:
    path = folder / WEIGHTS_NAME
    try:
        content = read_bytes(path, most=MOST_TENSOR_BYTES)
    except OSError as error:
        raise ValueError(describe_unreadable(path, error)) from error
    if hashlib.sha256(content).hexdigest() != record.sha256:
        raise ValueError(f"{path} is damaged: it does not match its digest in arch.json")
    shell = read_architecture(record).build_shell()
    try:
        network = replace_tensors(shell, load(content))
    except ValueError as error:  # names or shapes
        raise ValueError(f"{path} does not hold the network that arch.json describes: {error}") from error
    return place_on(network, torch.device("cpu")).eval()

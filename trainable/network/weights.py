"""A network on disk, without pickle: arch.json (what it is) and model.safetensors (its weights)."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor

from records.files import describe_unreadable, read_bytes, replace_file
from records.network import WEIGHTS_NAME, NetworkRecord, read_network_record, write_network_record
from trainable.network.vgg16 import VGG16, place_on

# Weights and checkpoints larger than this are not ours: at full width they take 0.06 and 0.12 GB.
MOST_TENSOR_BYTES = 4 << 30


class PrunedNetwork(VGG16):
    """A network that normalises its images itself, as they were in training."""

    mean: Tensor
    std: Tensor

    def __init__(self, widths: Sequence[int], classes: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(widths, classes)
        for name, values in (("mean", mean), ("std", std)):
            # On the CPU even where the weights are not there yet. They are in arch.json, so not among the weights.
            buffer = torch.tensor(values, device="cpu").view(1, 3, 1, 1)
            self.register_buffer(name, buffer, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes] of images [N, 3, 32, 32] in [0, 1]."""
        return super().forward((images - self.mean) / self.std)


def save_network(
    network: VGG16, folder: Path, *, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> None:
    """Writes `network` into `folder`, with the normalisation that its inputs (in [0, 1]) need.

    The weights are written first and arch.json last: if it exists, the network is complete.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    content = save(tensors)
    replace_file(folder / WEIGHTS_NAME, lambda file: file.write(content))
    sha256 = hashlib.sha256(content).hexdigest()
    record = NetworkRecord(widths=network.widths, classes=network.classes, mean=mean, std=std, sha256=sha256)
    write_network_record(folder, record)


def load_pruned(folder: str | Path) -> PrunedNetwork:
    """The network in `folder`, on the CPU and in eval mode: it takes images [N, 3, 32, 32] in [0, 1].

    So does what `alphaprune export` writes, and gives the same logits.

    Raises:
        ValueError: if the folder holds no complete network, naming the file.
    """
    folder = Path(folder)
    record = read_network_record(folder)
    with torch.device("meta"):
        network = PrunedNetwork(record.widths, record.classes, record.mean, record.std)
    _fill_with_weights(network, folder, record)
    return network


def load_network(folder: Path) -> VGG16:
    """As load_pruned, but it takes images that are already normalised, as training and measuring have them."""
    record = read_network_record(folder)
    with torch.device("meta"):
        network = VGG16(record.widths, record.classes)
    _fill_with_weights(network, folder, record)
    return network


def _fill_with_weights(network: VGG16, folder: Path, record: NetworkRecord) -> None:
    """Gives `network`, which has no storage yet, the weights in `folder`, and puts it in eval mode."""
    path = folder / WEIGHTS_NAME
    try:
        content = read_bytes(path, most=MOST_TENSOR_BYTES)
    except OSError as error:
        raise ValueError(describe_unreadable(path, error)) from error
    if hashlib.sha256(content).hexdigest() != record.sha256:
        raise ValueError(f"{path} is damaged: it does not match its digest in arch.json")
    try:
        network.load_state_dict(load(content), assign=True)
    except RuntimeError as error:  # names or shapes
        raise ValueError(f"{path} does not hold the network that arch.json describes: {error}") from error
    place_on(network, torch.device("cpu")).eval()

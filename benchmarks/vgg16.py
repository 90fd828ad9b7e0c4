"""The VGG16 of the benchmarks: with random weights, on which no time depends, and pruned to any widths."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from records.dense import DenseRecord
from trainable.dense import DenseNetwork
from trainable.network.architecture import Architecture
from trainable.network.grouping import find_layout
from trainable.network.weights import save_network
from trainable.pruning.gates import GatedNetwork
from trainable.pruning.masks import widths_of
from trainable.pruning.removal import remove_channels

CLASSES = 10
IMAGE_SIZE = 32


def create_dense(width: float) -> DenseNetwork:
    """VGG16 at `width` times the published channels, as if it had been trained for no epochs."""
    architecture = Architecture("vgg16", CLASSES, width, IMAGE_SIZE)
    layout = find_layout(architecture)
    record = DenseRecord(
        hash="",
        epochs=0,
        train_loss=0.0,
        train_accuracy=0.0,
        val_loss=0.0,
        val_accuracy=0.0,
        widths=layout.widths,
        channels=layout.count("channels", layout.widths),
        parameters=layout.count("parameters", layout.widths),
        macs=layout.count("macs", layout.widths),
        seconds=0.0,
        device="cpu",
        threads=1,
    )
    return DenseNetwork(architecture.create(seed=0), architecture, layout, record)


def remove_doomed(dense: DenseNetwork, masks: Sequence[Tensor]) -> nn.Module:
    """The network without its doomed channels (trainable.pruning.masks)."""
    return remove_channels(GatedNetwork(dense.network, dense.layout, masks, "bn_output"))


def save(dense: DenseNetwork, folder: Path, masks: Sequence[Tensor] | None = None) -> Path:
    """Writes the network into `folder`, which is returned; without its doomed channels if there are masks."""
    network = dense.network if masks is None else remove_doomed(dense, masks)
    widths = dense.layout.widths if masks is None else widths_of(masks)
    save_network(network, folder, dense.architecture, widths, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    return folder

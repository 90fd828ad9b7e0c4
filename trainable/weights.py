"""A network on disk, without pickle: arch.json (what it is) and model.safetensors (its weights)."""

import json
from pathlib import Path

from safetensors.torch import load_file, save

from trainable.network import VGG16
from trainable.records import read_json, replace_file, write_json


def save_network(network: VGG16, folder: Path, *, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Writes `network` into `folder`, with the normalisation that its inputs (in [0, 1]) need.

    The weights come first and arch.json last: where arch.json is, the network is whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    replace_file(folder / "model.safetensors", lambda file: file.write(save(tensors)))
    arch = {"network": "vgg16_bn", "widths": network.widths, "classes": network.classes, "mean": mean, "std": std}
    write_json(folder / "arch.json", json.loads(json.dumps(arch)))


def load_pruned(folder: str | Path) -> VGG16:
    """The network that `save_network` wrote, on the CPU and in eval mode.

    Raises:
        ValueError: if the folder holds no whole network, naming the file.
    """
    folder = Path(folder)
    try:
        arch = read_json(folder / "arch.json")
        network = VGG16(arch["widths"], arch["classes"])
        network.load_state_dict(load_file(folder / "model.safetensors"))
    except (OSError, KeyError, RuntimeError) as error:
        raise ValueError(f"{str(folder)!r} holds no whole network: {error}") from error
    return network.eval()

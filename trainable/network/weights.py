"""A network on disk, without pickle: arch.json (what it is) and model.safetensors (its weights)."""

import hashlib
from pathlib import Path

import torch
from safetensors.torch import load, save

from records.files import read_json, replace_file, write_json
from trainable.network.vgg16 import VGG16, create_empty


def save_network(network: VGG16, folder: Path, *, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Writes `network` into `folder`, with the normalisation that its inputs (in [0, 1]) need.

    The weights are written first and arch.json last: if it exists, the network is complete.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    content = save(tensors)
    replace_file(folder / "model.safetensors", lambda file: file.write(content))
    arch = {
        "network": "vgg16_bn",
        "widths": list(network.widths),
        "classes": network.classes,
        "mean": list(mean),
        "std": list(std),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    write_json(folder / "arch.json", arch)


def load_pruned(folder: str | Path) -> VGG16:
    """The network that `save_network` wrote, on the CPU and in eval mode.

    Raises:
        ValueError: if the folder holds no complete network, naming the file.
    """
    folder = Path(folder)
    try:
        arch = read_json(folder / "arch.json")
        content = (folder / "model.safetensors").read_bytes()
        if hashlib.sha256(content).hexdigest() != arch["sha256"]:
            raise ValueError(f"{folder / 'model.safetensors'} is damaged: it does not match its digest in arch.json")
        network = create_empty(arch["widths"], arch["classes"], torch.device("cpu"))
        network.load_state_dict(load(content))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{str(folder)!r} holds no complete network: {error!r}") from error
    return network.eval()

"""A network on disk: safetensors and JSON, the same numbers back, and ValueError for whatever is damaged."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from networks import create_vgg16
from safetensors.torch import load_file
from torch import nn

import alphaprune
from trainable.network.architecture import Architecture
from trainable.network.weights import load_pruned, save_network

WIDTHS = (3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9)
VGG16 = Architecture("vgg16", 7)


@pytest.fixture
def network() -> nn.Module:
    network = create_vgg16(WIDTHS, 7, seed=0)
    with torch.no_grad():
        network(torch.randn(4, 3, 32, 32))  # so that the statistics are not the defaults
    return network


@pytest.fixture
def folder(network: nn.Module, tmp_path: Path) -> Path:
    folder = tmp_path / "new" / "model"
    save_network(network, folder, VGG16, WIDTHS, mean=(0.1, 0.2, 0.3), std=(1.0, 0.5, 1 / 3))
    return folder


def test_what_comes_back_is_the_same_to_the_bit(network: nn.Module, folder: Path) -> None:
    loaded = alphaprune.load_pruned(str(folder))
    assert not loaded.training
    assert (loaded.widths, loaded.classes, loaded.image_size) == (WIDTHS, 7, 32)
    assert loaded.network.state_dict().keys() == network.state_dict().keys()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, loaded.network.state_dict()[name]), name


def test_the_files_are_for_anybody_to_read(network: nn.Module, folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {"arch.json", "model.safetensors"}
    arch = json.loads((folder / "arch.json").read_text())
    assert arch["widths"] == list(WIDTHS)
    assert (arch["network"], arch["classes"]) == ("vgg16", 7)
    assert (arch["arguments"], arch["width"], arch["image_size"]) == ({}, 1.0, 32)
    assert (arch["mean"], arch["std"]) == ([0.1, 0.2, 0.3], [1.0, 0.5, 1 / 3])
    assert load_file(folder / "model.safetensors").keys() == network.state_dict().keys()


def test_saving_again_replaces(folder: Path) -> None:
    other = create_vgg16((2,) * 13, 3, seed=1)
    save_network(other, folder, Architecture("vgg16", 3), (2,) * 13, mean=(0, 0, 0), std=(1, 1, 1))
    assert load_pruned(folder).widths == (2,) * 13


def cut(size: int) -> Callable[[Path], object]:
    return lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:size])


def flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-5] ^= 1
    (folder / "model.safetensors").write_bytes(content)


def change_arch(**changed: object) -> Callable[[Path], object]:
    path = "arch.json"
    return lambda folder: (folder / path).write_text(json.dumps(json.loads((folder / path).read_text()) | changed))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no folder": shutil.rmtree,
    "no arch": lambda folder: (folder / "arch.json").unlink(),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "arch torn": lambda folder: (folder / "arch.json").write_text('{"network": "vgg'),
    "arch empty": lambda folder: (folder / "arch.json").write_text("{}"),
    "arch no object": lambda folder: (folder / "arch.json").write_text("[1]"),
    "weights empty": cut(0),
    "weights torn in the header": cut(500),
    "weights torn at the end": cut(-1),
    "weights garbage": lambda folder: (folder / "model.safetensors").write_bytes(b"garbage" * 99),
    "weights with a bit flipped": flip_a_bit,
    "other widths": change_arch(widths=[4] * 13),
    "impossible widths": change_arch(widths=[4]),
    "no widths": change_arch(widths=None),
    "widths of text": change_arch(widths=["4"] * 13),
    "other classes": change_arch(classes=8),
    "classes of text": change_arch(classes="7"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_network_is_refused_by_name(damage: Callable[[Path], object], folder: Path) -> None:
    damage(folder)
    with pytest.raises(ValueError, match=re.escape(str(folder))):
        load_pruned(folder)

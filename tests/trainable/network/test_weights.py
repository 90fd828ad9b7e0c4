"""A network on disk: safetensors and JSON, the same numbers back, and ValueError for whatever is damaged."""

import json
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from networks import create_vgg16, draw_masks, find_vgg16_layout, list_widths, same_weights, scale_widths
from safetensors.torch import load_file
from torch import nn

import alphaprune
from records.network import read_network_record
from trainable.dense import load_dense
from trainable.network.architecture import Architecture
from trainable.network.grouping import find_layout
from trainable.network.weights import load_pruned, read_architecture, save_network
from trainable.pruning.gates import GatedNetwork
from trainable.pruning.masks import widths_of
from trainable.pruning.removal import remove_channels

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


def write_as_earlier(folder: Path) -> None:
    """arch.json as versions wrote it that had no network but VGG16."""
    arch = json.loads((folder / "arch.json").read_text())
    kept = {name: arch[name] for name in ("classes", "widths", "mean", "std", "sha256")}
    (folder / "arch.json").write_text(json.dumps({"network": "vgg16_bn", **kept}))


def test_a_network_of_an_earlier_version_is_loaded(network: nn.Module, folder: Path) -> None:
    write_as_earlier(folder)
    loaded = load_pruned(folder)
    assert (loaded.widths, loaded.classes, loaded.image_size) == (WIDTHS, 7, 32)
    assert same_weights(loaded.network, network)
    assert read_architecture(read_network_record(folder)) == VGG16


def test_the_networks_of_an_experiment_of_an_earlier_version_are_loaded(tmp_path: Path) -> None:
    """Its dense network has no layout, which is found again."""
    with tarfile.open(Path(__file__).parents[2] / "fixtures" / "experiment-0.1.0.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    experiment = tmp_path / "recorded"
    assert not (experiment / "dense" / "layout.json").exists()
    dense = load_dense(experiment / "dense")
    assert dense.architecture.name == "vgg16"
    assert dense.layout.widths == dense.record.widths == scale_widths(1 / 16)
    assert dense.layout == find_vgg16_layout(scale_widths(1 / 16), dense.architecture.classes)
    assert dense.layout.count("macs", dense.layout.widths) == dense.record.macs
    pruned = load_pruned(experiment / "trials" / "00000" / "model")
    assert list_widths(pruned.network) == pruned.widths
    with torch.inference_mode():
        assert pruned(torch.rand(2, 3, 32, 32)).isfinite().all()


def test_architecture_and_arguments_survive(tmp_path: Path) -> None:
    blocks = [["plain", 3, "relu"], ["inverted", 4, "relu6"]]
    architecture = Architecture("networks:build_mixed", 5, 1.0, 16, {"blocks": blocks, "flattens": True})
    network = architecture.create(0).eval()
    save_network(network, tmp_path, architecture, find_layout(architecture).widths, mean=(0, 0, 0), std=(1, 1, 1))
    assert read_architecture(read_network_record(tmp_path)) == architecture
    loaded = load_pruned(tmp_path)
    assert (loaded.image_size, loaded.classes) == (16, 5)
    images = torch.rand(2, 3, 16, 16)
    with torch.inference_mode():
        assert torch.equal(loaded(images), network(images))


@pytest.mark.parametrize("name", ["resnet20", "vgg11", "mobilenet_v2"])
def test_a_pruned_network_of_another_name_comes_back(name: str, tmp_path: Path) -> None:
    architecture = Architecture(name, 5, 0.25)
    layout, network = find_layout(architecture), architecture.create(0)
    torch.manual_seed(0)
    gated = GatedNetwork(network, layout, draw_masks(layout.widths, 0.5), "bn_output")
    pruned, widths = remove_channels(gated), widths_of(gated.masks)
    save_network(pruned, tmp_path, architecture, widths, mean=(0, 0, 0), std=(1, 1, 1))
    loaded = load_pruned(tmp_path)
    assert loaded.widths == widths
    assert same_weights(loaded.network, pruned)
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(loaded(images), pruned.eval()(images))


@pytest.mark.parametrize("name", ["resnet20", "vgg11"])
def test_weights_of_another_network_are_refused(name: str, folder: Path, network: nn.Module) -> None:
    save_network(network, folder, Architecture(name, 7), WIDTHS, mean=(0, 0, 0), std=(1, 1, 1))
    message = (
        rf"{folder / 'model.safetensors'} does not hold the network that arch.json describes: .* is in only one of"
    )
    with pytest.raises(ValueError, match=message) as refused:
        load_pruned(folder)
    assert "\n" not in str(refused.value)

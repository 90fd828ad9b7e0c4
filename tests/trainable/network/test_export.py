"""An exported network gives the logits of the original, for any batch, where this project is not installed."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import build_vgg16

from trainable.network.architecture import Architecture
from trainable.network.export import TOLERANCE, export_network
from trainable.network.weights import PrunedNetwork, load_network, load_pruned, save_network

WIDTHS = (3, 4, 5, 8, 8, 9, 8, 8, 8, 11, 8, 8, 8)
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pruned network of odd widths whose batch normalisations have seen images."""
    folder = tmp_path_factory.mktemp("trial") / "model"
    torch.manual_seed(0)
    network = build_vgg16(WIDTHS, 4)
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(16, 3, 32, 32))
    save_network(network, folder, Architecture("vgg16", 4), WIDTHS, mean=MEAN, std=STD)
    return folder


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(3).random((7, 3, 32, 32), np.float32)


@pytest.fixture(scope="module")
def wanted(model: Path, images: np.ndarray) -> torch.Tensor:
    """Logits by hand, including the normalisation."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    with torch.inference_mode():
        return load_network(model)((torch.from_numpy(images) - mean) / std)


def close(logits: torch.Tensor, wanted: torch.Tensor) -> bool:
    return bool((logits - wanted).abs().max() <= TOLERANCE * wanted.abs().max())


def test_what_the_project_loads_takes_the_same_images(model: Path, images: np.ndarray, wanted: torch.Tensor) -> None:
    """The same tensor must not mean one thing here and another in model.pt2."""
    with torch.inference_mode():
        assert close(load_pruned(model)(torch.from_numpy(images)), wanted)


def test_torch_export(model: Path, images: np.ndarray, wanted: torch.Tensor, tmp_path: Path) -> None:
    difference = export_network(model, tmp_path / "network", "torch")
    assert 0 <= difference <= TOLERANCE
    np.save(tmp_path / "images.npy", images)
    code = (
        "import numpy, torch; network = torch.export.load('network/model.pt2').module(); "
        "numpy.save('logits.npy', network(torch.from_numpy(numpy.load('images.npy'))).detach().numpy())"
    )
    # -I: nothing of this project is on the path.
    subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, check=True)
    assert close(torch.from_numpy(np.load(tmp_path / "logits.npy")), wanted)


def test_the_loader_in_the_readme(model: Path, images: np.ndarray, wanted: torch.Tensor, tmp_path: Path) -> None:
    """It needs torchvision and safetensors only, and is short."""
    export_network(model, tmp_path / "network", "torch")
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    (code,) = re.findall(r"```python\n(import json\n.*?)```", readme, re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 11
    np.save(tmp_path / "images.npy", images)
    save = "\nimport numpy\nimages = torch.from_numpy(numpy.load('images.npy'))\n"
    save += "numpy.save('logits.npy', network((images - mean) / std).detach().numpy())\n"
    (tmp_path / "load.py").write_text(code + save)
    subprocess.run([sys.executable, "-I", "load.py"], cwd=tmp_path, check=True)
    assert close(torch.from_numpy(np.load(tmp_path / "logits.npy")), wanted)


def test_onnx(model: Path, images: np.ndarray, wanted: torch.Tensor, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    assert export_network(model, tmp_path / "network.onnx", "onnx") <= TOLERANCE
    assert [path.name for path in tmp_path.iterdir()] == ["network.onnx"]
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 7):
        (logits,) = session.run(["logits"], {"images": images[:count]})
        assert close(torch.from_numpy(logits), wanted[:count])


def test_an_existing_path_is_not_overwritten(model: Path, tmp_path: Path) -> None:
    (tmp_path / "network").mkdir()
    with pytest.raises(ValueError, match="--to must be a path that does not exist yet"):
        export_network(model, tmp_path / "network", "torch")
    with pytest.raises(ValueError, match="--to must be in a folder that exists"):
        export_network(model, tmp_path / "missing" / "network", "torch")


def test_a_damaged_network_is_not_exported(model: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "model"
    damaged.mkdir()
    arch = json.loads((model / "arch.json").read_text())
    (damaged / "arch.json").write_text(json.dumps({**arch, "sha256": "0" * 64}))
    (damaged / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes())
    with pytest.raises(ValueError, match="damaged"):
        export_network(damaged, tmp_path / "network", "torch")
    assert not (tmp_path / "network").exists()


def test_an_export_that_differs_is_removed(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = PrunedNetwork.forward

    def wrong(self: PrunedNetwork, images: torch.Tensor) -> torch.Tensor:
        logits = right(self, images)
        return logits + 1 if torch.compiler.is_compiling() else logits

    monkeypatch.setattr(PrunedNetwork, "forward", wrong)
    with pytest.raises(ArithmeticError, match="differs from the network"):
        export_network(model, tmp_path / "network", "torch")
    assert not (tmp_path / "network").exists()

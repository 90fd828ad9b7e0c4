"""A network measured in a process of its own, as `python -m trainable.measurement` does it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainable.batches import Images
from trainable.data import Data
from trainable.measurement import measure
from trainable.network import VGG16, dense_widths, macs, parameters
from trainable.training import evaluate
from trainable.weights import load_pruned, save_network


@pytest.fixture(scope="module")
def data(make_data: Callable[..., Data]) -> Data:
    return make_data()


@pytest.fixture(scope="module")
def networks(data: Data, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A larger and a smaller network, saved."""
    torch.manual_seed(0)
    folders = []
    for name, width in (("dense", 0.5), ("pruned", 0.125)):
        folder = tmp_path_factory.mktemp(name)
        save_network(VGG16(dense_widths(width), data.classes), folder, mean=data.mean, std=data.std)
        folders.append(str(folder))
    return folders


@pytest.fixture(scope="module")
def test_split(data: Data, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("test") / "test.npz"
    np.savez(path, images=data.test.images, labels=data.test.labels)
    return str(path)


def in_a_process(job: dict[str, Any]) -> dict[str, Any]:
    ran = subprocess.run(
        [sys.executable, "-m", "trainable.measurement"],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def test_memory(networks: list[str], test_split: str) -> None:
    dense, pruned = (
        in_a_process({"kind": "memory", "networks": [folder], "test": test_split, "threads": 1}) for folder in networks
    )
    for found, folder in ((dense, networks[0]), (pruned, networks[1])):
        network = load_pruned(folder)
        assert found["size_bytes"] == (Path(folder) / "model.safetensors").stat().st_size
        assert found["macs"] == macs(network.widths, network.classes)
        assert found["parameters"] == parameters(network.widths, network.classes)
        memory = found["memory"]
        # Weights, and the running statistics that are no parameters; a little more in the file, its header.
        assert memory["weights_bytes"] <= found["size_bytes"] <= memory["weights_bytes"] + 20_000
        assert [batch["batch_size"] for batch in memory["batches"]] == [1, 32, 256]
        peaks = [batch["peak_bytes"] for batch in memory["batches"]]
        # The first feature maps of a batch of 256 alone are 256 x 32 x 32 floats a channel.
        assert peaks[2] > 256 * 32 * 32 * 4 * network.widths[0]
        assert peaks[2] > peaks[0]
        assert all(0 < batch["mean_bytes"] <= batch["peak_bytes"] for batch in memory["batches"])
        assert 0 < found["test"]["mean_bytes"] <= found["test"]["peak_bytes"]
        assert found["test"]["seconds"] > 0
    assert dense["memory"]["weights_bytes"] > 10 * pruned["memory"]["weights_bytes"]
    assert dense["memory"]["batches"][2]["peak_bytes"] > pruned["memory"]["batches"][2]["peak_bytes"]


def test_latency_says_where_it_was_taken(networks: list[str]) -> None:
    found = in_a_process({"kind": "latency", "networks": networks, "threads": 1, "seconds": 0.1})
    assert [each["batch_size"] for each in found["latency"]] == [1, 32, 256]
    assert found["latency"][2]["speedup"]["median"] > 1  # sixteen times the MACs
    assert found["measured_on"].endswith(", 1 thread")
    assert (found["device"], found["cuda"], found["threads"]) == ("cpu", None, 1)
    assert found["torch"] == torch.__version__
    assert (found["dtype"], found["memory_format"]) == ("float32", "channels_last")


def test_the_test_set_is_seen_as_in_training(networks: list[str], test_split: str, data: Data) -> None:
    """The same accuracy and loss as by the search's own evaluation of the split."""
    found = measure({"kind": "accuracy", "networks": [networks[1]], "test": test_split, "threads": 1})["test"]
    wanted = evaluate(load_pruned(networks[1]), Images(data.test, data, torch.device("cpu")))
    assert found["images"] == len(data.test.labels)
    assert found["accuracy"] == wanted.accuracy
    assert found["loss"] == pytest.approx(wanted.loss, rel=1e-5)

"""Measuring a network in a process of its own, as `python -m trainable.measurement.job` does."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import build_vgg16, count_macs, count_parameters, list_layers, list_widths, scale_widths

from records.measurement import NetworkMeasurement
from trainable.data.batches import DeviceSplit
from trainable.data.dataset import Data
from trainable.measurement.job import as_autocast_computes, perform_job
from trainable.measurement.memory import ENVIRONMENT
from trainable.network.architecture import Architecture
from trainable.network.weights import load_network, save_network
from trainable.training import evaluate


@pytest.fixture(scope="module")
def data(make_data: Callable[..., Data]) -> Data:
    return make_data()


@pytest.fixture(scope="module")
def networks(data: Data, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A larger and a smaller network, saved."""
    torch.manual_seed(0)
    folders = []
    for name, width in (("dense", 0.25), ("pruned", 0.0625)):
        folder = tmp_path_factory.mktemp(name)
        widths, architecture = scale_widths(width), Architecture("vgg16", data.classes)
        network = build_vgg16(widths, data.classes)
        save_network(network, folder, architecture, widths, mean=data.mean, std=data.std)
        folders.append(str(folder))
    return folders


@pytest.fixture(scope="module")
def test_split(data: Data, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("test") / "test.npz"
    np.savez(path, images=data.test.images, labels=data.test.labels)
    return str(path)


def in_a_process(job: dict[str, Any]) -> dict[str, Any]:
    ran = subprocess.run(
        [sys.executable, "-m", "trainable.measurement.job"],
        input=json.dumps(job),
        env={**os.environ, **(ENVIRONMENT if job["kind"] == "memory" else {})},
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
        network = load_network(Path(folder))
        assert found["size_bytes"] == (Path(folder) / "model.safetensors").stat().st_size
        assert found["macs"] == count_macs(network)
        assert found["parameters"] == count_parameters(network)
        memory = found["memory"]
        # Weights, and the running statistics, which are not parameters; the file is a little larger for its header.
        assert memory["weights_bytes"] <= found["size_bytes"] <= memory["weights_bytes"] + 20_000
        assert [batch["batch_size"] for batch in memory["batches"]] == [1, 32, 256]
        peaks = [batch["peak_bytes"] for batch in memory["batches"]]
        # The first feature maps of a batch of 256 alone are 256 x 32 x 32 floats a channel.
        assert peaks[2] > 256 * 32 * 32 * 4 * list_widths(network)[0]
        assert peaks[2] > peaks[0]
        assert all(0 < batch["mean_bytes"] <= batch["peak_bytes"] for batch in memory["batches"])
        assert memory["activation_bytes"] == peaks[2] - memory["weights_bytes"]
        assert 0 < found["test"]["mean_bytes"] <= found["test"]["peak_bytes"]
        assert found["test"]["samples"] > 10
        assert found["test"]["passes"] >= 1
        assert found["test"]["seconds"] is None  # timed during the sampling, it would be too slow
    assert dense["memory"]["weights_bytes"] > 10 * pruned["memory"]["weights_bytes"]
    assert dense["memory"]["batches"][2]["peak_bytes"] > pruned["memory"]["batches"][2]["peak_bytes"]


def test_latency_says_where_it_was_taken(networks: list[str]) -> None:
    found = in_a_process({"kind": "latency", "networks": networks, "threads": 1, "seconds": 0.1})
    assert [each["batch_size"] for each in found["latency"]] == [1, 32, 256]
    assert found["latency"][2]["speedup"]["median"] > 1  # sixteen times the MACs
    assert found["measured_on"].endswith(", 1 thread")
    assert (found["device"], found["cuda"], found["threads"]) == ("cpu", None, 1)
    assert found["torch"] == torch.__version__
    assert (found["dtype"], found["memory_format"], found["compile"]) == ("float32", "channels_last", "eager")
    assert "torch.utils.flop_counter" in found["macs_counter"]


@pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="the allocator is tamed and memory read on Linux only"
)
def test_the_peak_is_what_the_network_needs(networks: list[str], test_split: str) -> None:
    """A batch and the first layer's feature maps, before and after its normalisation: nothing freed earlier, nothing of
    the libraries' own. In a process started without ENVIRONMENT it is two to three times as much."""
    found = in_a_process({"kind": "memory", "networks": networks[:1], "test": test_split, "threads": 1})
    channels = list_widths(load_network(Path(networks[0])))[0]
    images, maps = 256 * 3 * 32 * 32 * 4, 256 * channels * 32 * 32 * 4
    assert images + 2 * maps < found["memory"]["activation_bytes"] + 2**20
    assert found["memory"]["activation_bytes"] < 1.1 * (images + 2 * maps)


def test_the_test_set_is_seen_as_in_training(networks: list[str], test_split: str, data: Data) -> None:
    """The same accuracy and loss as in the search's own evaluation of the split."""
    measured = perform_job({"kind": "accuracy", "networks": [networks[1]], "test": test_split, "threads": 1})
    assert isinstance(measured, NetworkMeasurement)
    found = measured.test
    assert found is not None
    wanted = evaluate(load_network(Path(networks[1])), DeviceSplit(data.test, data, torch.device("cpu")))
    assert found.images == len(data.test.labels)
    assert found.accuracy == wanted.accuracy
    assert found.loss == pytest.approx(wanted.loss, rel=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_gpus_network_is_the_one_that_autocast_computes(seed: int) -> None:
    """So that what is measured is what was trained; on the CPU here, where the same types are available."""
    torch.manual_seed(seed)
    network = build_vgg16(scale_widths(0.125), 10)
    for _, norm in list_layers(network):
        torch.nn.init.uniform_(norm.weight, 0.3, 1.5)
        torch.nn.init.normal_(norm.bias, 0, 0.3)
        norm.running_var.uniform_(0.5, 2)
    images = torch.randn(8, 3, 32, 32)
    with torch.inference_mode():
        with torch.autocast("cpu", torch.bfloat16):
            wanted = network.eval()(images)
        assert torch.equal(as_autocast_computes(network)(images.bfloat16()), wanted)
        rounded = network.bfloat16()(images.bfloat16())
    assert not torch.equal(rounded, wanted)  # with the normalisation in bfloat16, too, it would be another network


def test_a_network_with_weights_in_other_layers_runs_under_autocast() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3),
        torch.nn.GroupNorm(2, 8),
        torch.nn.PReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(32, 10),
    )
    images = torch.randn(4, 3, 4, 4)
    with torch.inference_mode():
        with torch.autocast("cpu", torch.bfloat16):
            wanted = network(images)
        assert torch.equal(as_autocast_computes(network)(images.bfloat16()), wanted)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}

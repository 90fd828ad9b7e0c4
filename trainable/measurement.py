"""A network measured in a process of its own: `python -m trainable.measurement` reads a job and prints what it found.

A job is a JSON object on stdin: `kind`, `networks` (folders with arch.json), `threads`, and

    memory     of one network: `test` (an .npz with the test split, of the dtypes of trainable.data.Split)
    latency    of two, side by side: `seconds` a batch size
    accuracy   of one network: `test`

On CUDA the networks compute in bfloat16, on the CPU in float32; channels-last, eager, in inference mode.
"""

import json
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trainable.dense import device_name
from trainable.latency import BATCH_SIZES, compare
from trainable.memory import SAMPLE_MS, Sampler, used_bytes
from trainable.network import IMAGE_SIZE, VGG16, macs, parameters, placed
from trainable.records import read_json
from trainable.training import default_device, prepare_device
from trainable.weights import load_pruned

TEST_BATCH = 256
PROBE_SECONDS = 0.3


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """What the job asks for; see the kinds above. Meant for a fresh process, whose memory nothing else has touched."""
    device = default_device()
    prepare_device(device, job["threads"])
    folders = [Path(folder) for folder in job["networks"]]
    match job["kind"]:
        case "latency":
            dense, pruned = (_network(folder, device) for folder in folders)
            return {
                **_machine(device, job["threads"]),
                "latency": [compare(dense, pruned, size, seconds=job["seconds"]) for size in BATCH_SIZES],
            }
        case "memory":
            return _memory(folders[0], _test(job["test"], device), device)
        case _:
            return {"test": _tested(_network(folders[0], device), *_test(job["test"], device), folders[0])}


def _memory(folder: Path, test: tuple[Tensor, Tensor], device: torch.device) -> dict[str, Any]:
    # The libraries' own memory is not the network's, and the first convolution takes most of it.
    functional.conv2d(torch.zeros(1, 3, 8, 8, device=device), torch.zeros(4, 3, 3, 3, device=device))
    baseline = used_bytes(device)
    network = _network(folder, device)
    weights = sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))
    batches, samples = [], 0
    with torch.inference_mode():
        for size in BATCH_SIZES:
            images = torch.randn(size, 3, IMAGE_SIZE, IMAGE_SIZE, device=device, dtype=network.classifier.weight.dtype)
            images = images.to(memory_format=torch.channels_last)
            with Sampler(device, baseline) as sampler:
                end, passes = time.perf_counter() + PROBE_SECONDS, 0
                while passes < 2 or time.perf_counter() < end:
                    network(images)
                    passes += 1
            batches.append({"batch_size": size, "peak_bytes": sampler.peak_bytes, "mean_bytes": sampler.mean_bytes})
            samples += sampler.samples
    # Sampled and timed in turns: reading a process's own set size takes milliseconds from what is timed.
    with Sampler(device, baseline) as sampler:
        _tested(network, *test, folder)
    tested = _tested(network, *test, folder)
    return {
        "size_bytes": (folder / "model.safetensors").stat().st_size,
        "macs": macs(network.widths, network.classes),
        "parameters": parameters(network.widths, network.classes),
        "memory": {
            "weights_bytes": weights,
            "batches": batches,
            "sample_ms": SAMPLE_MS,
            "samples": samples + sampler.samples,
        },
        "test": {**tested, "peak_bytes": sampler.peak_bytes, "mean_bytes": sampler.mean_bytes},
    }


def _network(folder: Path, device: torch.device) -> VGG16:
    network = placed(load_pruned(folder), device)
    return network.to(torch.bfloat16) if device.type == "cuda" else network


def _test(path: str, device: torch.device) -> tuple[Tensor, Tensor]:
    with np.load(path) as arrays:
        return torch.from_numpy(arrays["images"]).to(device), torch.from_numpy(arrays["labels"]).to(device)


def _tested(network: VGG16, images: Tensor, labels: Tensor, folder: Path) -> dict[str, Any]:
    """Accuracy, loss and seconds of the whole test set, once, the normalisation of its pixels included."""
    device, dtype = images.device, network.classifier.weight.dtype
    arch = read_json(folder / "arch.json")
    mean, std = (torch.tensor(arch[key], device=device).mul(255).view(1, 3, 1, 1) for key in ("mean", "std"))
    loss, right = torch.zeros((), device=device), torch.zeros((), device=device, dtype=torch.long)
    _synchronise(device)
    began = time.perf_counter()
    with torch.inference_mode():
        for pixels, wanted in _batches(images, labels):
            logits = network(((pixels.permute(0, 3, 1, 2).float() - mean) / std).to(dtype)).float()
            loss += functional.cross_entropy(logits, wanted, reduction="sum")
            right += (logits.argmax(1) == wanted).sum()
    _synchronise(device)
    seconds = time.perf_counter() - began
    return {
        "images": len(labels),
        "accuracy": right.item() / len(labels),
        "loss": loss.item() / len(labels),
        "seconds": seconds,
    }


def _batches(images: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(labels), TEST_BATCH):
        yield images[start : start + TEST_BATCH], labels[start : start + TEST_BATCH]


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _machine(device: torch.device, threads: int) -> dict[str, Any]:
    """Where it was measured; figures of different machines do not compare."""
    on_gpu = device.type == "cuda"
    return {
        "measured_on": device_name(device) if on_gpu else f"{_processor()}, {threads} thread{'s' * (threads != 1)}",
        "host": platform.node(),
        "device": device_name(device),
        "device_memory_bytes": torch.cuda.get_device_properties(device).total_memory if on_gpu else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda if on_gpu else None,
        "threads": threads,
        "dtype": "bfloat16" if on_gpu else "float32",
        "memory_format": "channels_last",
    }


def _processor() -> str:
    """The processor's name; its architecture where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


if __name__ == "__main__":
    print(json.dumps(measure(json.load(sys.stdin))))

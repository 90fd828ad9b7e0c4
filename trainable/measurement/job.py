"""Measures networks in a process of their own: `python -m trainable.measurement.job` reads a job, prints the result.

A job is a JSON object on stdin: `kind`, `networks` (folders with arch.json), `threads`, and

    memory     of one network: `test` (an .npz with the test split, of the dtypes of trainable.data.dataset.Split)
    latency    of two, in turn: `seconds` per batch size
    accuracy   of one network: `test`, which is run once and timed

A process for `memory` must be started with trainable.measurement.memory.ENVIRONMENT, one for `latency` or `accuracy`
with trainable.measurement.latency.ENVIRONMENT.

On the CPU the networks compute in float32. On CUDA the convolutions and the classifier have their weights and compute
in bfloat16, and batch normalisation has its weights in float32: what autocast computes, which trials are trained and
validated with, without its casts in each pass. A network with weights in other layers keeps all of them in float32 and
runs under autocast. Channels-last, eager, in inference mode.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from records.measurement import BATCH_SIZES, BatchMemory, Measurement, NetworkMeasurement, NetworkMemory, TestRun
from records.network import WEIGHTS_NAME, read_network_record
from trainable.device import default_device, device_name, prepare_device
from trainable.measurement import latency
from trainable.measurement.latency import compare_latencies
from trainable.measurement.memory import SAMPLE_MS, MemorySampler, SampledMemory, describe_counter, used_bytes
from trainable.network.placement import place_on
from trainable.network.weights import load_network

TEST_BATCH = 256
PROBE_SECONDS = 0.3
# While memory is sampled, the test set is run repeatedly for this long, at least once.
TEST_SECONDS = 1.0


def perform_job(job: dict[str, Any]) -> Measurement | NetworkMeasurement:
    """Does a job of one of the kinds above. Meant for a fresh process, whose memory nothing else has touched.

    Returns:
        For `latency` a Measurement with the latencies and how they were taken, otherwise the figures of one network.
    """
    device = default_device()
    prepare_device(device, job["threads"])
    folders = [Path(folder) for folder in job["networks"]]
    match job["kind"]:
        case "latency":
            dense, pruned = (_load_network(folder, device) for folder in folders)
            found = tuple(
                compare_latencies(dense, pruned, _draw_images(folders[0], device, size), seconds=job["seconds"])
                for size in BATCH_SIZES
            )
            casts = isinstance(dense, UnderAutocast)
            return replace(_describe_machine(device, job["threads"], casts=casts), latency=found)
        case "memory":
            return _measure_memory(folders[0], _load_test_set(job["test"], device), device)
        case _:
            tested = _run_test_set(_load_network(folders[0], device), *_load_test_set(job["test"], device), folders[0])
            return NetworkMeasurement(test=tested)


def _measure_memory(folder: Path, test: tuple[Tensor, Tensor], device: torch.device) -> NetworkMeasurement:
    """Size, and memory: the increase over the idle process, plus the weights.

    Idle means after a pass of each shape: what libraries keep from then on (cuBLAS's workspace, oneDNN's code) is not
    the network's, nor is what cuDNN tries out when it first sees a shape.
    """
    network = _load_network(folder, device)
    weights = sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))
    images, labels = test
    shapes = TEST_BATCH + len(labels) % TEST_BATCH  # a full batch and one like the last
    _run_test_set(network, images[:shapes], labels[:shapes], folder)
    for size in BATCH_SIZES:
        _create_pass(network, _draw_images(folder, device, size))()
    host = torch.device("cpu")
    baseline, host_baseline = used_bytes(device) - weights, used_bytes(host)
    with ExitStack() as stack:
        if device.type == "cuda":
            on_host = stack.enter_context(MemorySampler(host, host_baseline))
        sampled, passes = _sample_memory(
            lambda: _run_test_set(network, images, labels, folder), device, baseline, TEST_SECONDS
        )
    tested = TestRun(passes=passes, **asdict(sampled))
    if device.type == "cuda":
        host_memory = on_host.sampled
        tested = replace(tested, host_peak_bytes=host_memory.peak_bytes, host_mean_bytes=host_memory.mean_bytes)
    batches = []
    for size in BATCH_SIZES:
        run = _create_pass(network, _draw_images(folder, device, size))
        sampled, passes = _sample_memory(run, device, baseline, PROBE_SECONDS)
        batches.append(BatchMemory(batch_size=size, passes=passes, **asdict(sampled)))
    return NetworkMeasurement(
        size_bytes=(folder / WEIGHTS_NAME).stat().st_size,
        macs=_count_macs(network, _draw_images(folder, device, 1)),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        memory=NetworkMemory(
            weights_bytes=weights,
            activation_bytes=max(0, sampled.peak_bytes - weights),
            batches=tuple(batches),
            counter=describe_counter(device),
            sample_ms=SAMPLE_MS,
        ),
        test=tested,
    )


def _sample_memory(
    work: Callable[[], object], device: torch.device, baseline: int, seconds: float
) -> tuple[SampledMemory, int]:
    """The memory sampled while `work` is repeated for about `seconds`, and how many times it was done."""
    with MemorySampler(device, baseline) as sampler:
        end, passes = time.perf_counter() + seconds, 0
        while passes == 0 or time.perf_counter() < end:
            work()
            passes += 1
    return sampler.sampled, passes


def _draw_images(folder: Path, device: torch.device, count: int) -> Tensor:
    """Random images for the network in `folder`: no time depends on their content."""
    size, dtype = read_network_record(folder).image_size, _input_dtype(device)
    images = torch.randn(count, 3, size, size, device=device, dtype=dtype)
    return images.to(memory_format=torch.channels_last)


def _input_dtype(device: torch.device) -> torch.dtype:
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def _count_macs(network: nn.Module, images: Tensor) -> int:
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(images)
    return int(counter.get_total_flops()) // 2 // len(images)


def _create_pass(network: nn.Module, images: Tensor) -> Callable[[], None]:
    """A function that passes a batch, which it holds, through `network`."""

    def run() -> None:
        with torch.inference_mode():
            network(images)

    return run


def _load_network(folder: Path, device: torch.device) -> nn.Module:
    network = place_on(load_network(folder), device)
    return as_autocast_computes(network) if device.type == "cuda" else network


def as_autocast_computes(network: nn.Module) -> nn.Module:
    """A network of bfloat16 images that computes what `network` does under autocast.

    Returns:
        `network` itself, with the weights of convolutions and classifier in the type that autocast casts them to, or,
        if other layers than these and batch normalisation have weights, `network` under autocast.
    """
    owners = [module for module in network.modules() if next(module.parameters(recurse=False), None) is not None]
    if not all(isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d) for module in owners):
        return UnderAutocast(network)
    for module in owners:
        if not isinstance(module, nn.BatchNorm2d):
            module.to(torch.bfloat16)
    return network


class UnderAutocast(nn.Module):
    """A network whose passes run under autocast to bfloat16."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16):
            return self.network(images)  # type: ignore[no-any-return]


def _load_test_set(path: str, device: torch.device) -> tuple[Tensor, Tensor]:
    with np.load(path) as arrays:
        return torch.from_numpy(arrays["images"]).to(device), torch.from_numpy(arrays["labels"]).to(device)


def _run_test_set(network: nn.Module, images: Tensor, labels: Tensor, folder: Path) -> TestRun:
    """Accuracy, loss and seconds of one run over the whole test set, including the normalisation of its pixels."""
    device, dtype = images.device, _input_dtype(images.device)
    record = read_network_record(folder)
    mean, std = (torch.tensor(each, device=device).mul(255).view(1, 3, 1, 1) for each in (record.mean, record.std))
    loss, right = torch.zeros((), device=device), torch.zeros((), device=device, dtype=torch.long)
    _synchronise_device(device)
    began = time.perf_counter()
    with torch.inference_mode():
        for pixels, wanted in _split_batches(images, labels):
            logits = network(((pixels.permute(0, 3, 1, 2).float() - mean) / std).to(dtype)).float()
            loss += functional.cross_entropy(logits, wanted, reduction="sum")
            right += (logits.argmax(1) == wanted).sum()
    _synchronise_device(device)
    seconds = time.perf_counter() - began
    return TestRun(
        images=len(labels), accuracy=right.item() / len(labels), loss=loss.item() / len(labels), seconds=seconds
    )


def _split_batches(images: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(labels), TEST_BATCH):
        yield images[start : start + TEST_BATCH], labels[start : start + TEST_BATCH]


def _synchronise_device(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _describe_machine(device: torch.device, threads: int, *, casts: bool) -> Measurement:
    """Where and how it is measured; figures from different machines are not comparable. casts: under autocast."""
    on_gpu = device.type == "cuda"
    in_bfloat16 = "bfloat16; all weights: float32" if casts else "bfloat16; batch normalisation's weights: float32"
    return Measurement(
        measured_on=device_name(device) if on_gpu else f"{_processor_name()}, {threads} thread{'s' * (threads != 1)}",
        host=platform.node(),
        device=device_name(device),
        device_memory_bytes=torch.cuda.get_device_properties(device).total_memory if on_gpu else None,
        torch=torch.__version__,
        cuda=torch.version.cuda if on_gpu else None,
        threads=threads,
        dtype=in_bfloat16 if on_gpu else "float32",
        memory_format="channels_last",
        compile="eager",
        allocator={name: value for name, value in os.environ.items() if name in latency.ENVIRONMENT},
        macs_counter="torch.utils.flop_counter / 2",
    )


def _processor_name() -> str:
    """The processor's name; its architecture if the system does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


if __name__ == "__main__":
    print(json.dumps(asdict(perform_job(json.load(sys.stdin)))))

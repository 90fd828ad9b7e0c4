"""How much memory a stretch of work takes, sampled by a thread: this process's own, or the GPU's allocated.

A process's own memory is what it has resident less the pages of files. Its unique set size has those too as soon as no
other process maps them, and so jumps by tens of megabytes when another program that uses torch starts or ends.
"""

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import torch

SAMPLE_MS = 1.0  # at the most often: where /proc is missing a look takes longer than that

# What a process must be started with for its figures to be repeatable. What is freed goes back to the system at once,
# rather than as glibc sees fit; and a GPU's work is done as it is launched, so that a sample sees what is in use then.
# All of it costs time, so nothing is timed in such a process.
ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "0",
    "MALLOC_ARENA_MAX": "1",
    "CUDA_LAUNCH_BLOCKING": "1",
}
_STATM = Path("/proc/self/statm")


def used_bytes(device: torch.device) -> int:
    """What this process alone holds: on CUDA what its tensors are allocated, else what `counter` says."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    try:
        resident, shared = map(int, _STATM.read_bytes().split()[1:3])
    except OSError:
        return int(psutil.Process().memory_full_info().uss)
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


def describe_counter(device: torch.device) -> str:
    """What used_bytes counts on this machine, in words."""
    if device.type == "cuda":
        return "allocated"
    return "resident without files" if _STATM.exists() else "unique set size"


@dataclass(frozen=True)
class SampledMemory:
    """Memory over a baseline while something ran.

    peak_bytes: on CUDA what the allocator itself noted. mean_bytes: over time. reserved_bytes: on CUDA the most that
    the allocator took from the device, without a baseline. samples: how many there are.
    """

    peak_bytes: int
    mean_bytes: int
    samples: int
    reserved_bytes: int | None = None


class MemorySampler:
    """Samples the memory in use while it is active, over `baseline_bytes`, which may be negative.

    Attributes:
        sampled: what was found, once it has ended.
    """

    sampled: SampledMemory

    def __init__(self, device: torch.device, baseline_bytes: int) -> None:
        self._device, self._baseline = device, baseline_bytes
        self._used: list[int] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample_repeatedly, daemon=True)

    def __enter__(self) -> Self:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            torch.cuda.empty_cache()  # what was reserved for earlier work is not this one's
            torch.cuda.reset_peak_memory_stats(self._device)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        peak, reserved = max(self._used), None
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            peak = torch.cuda.max_memory_allocated(self._device)
            reserved = torch.cuda.max_memory_reserved(self._device)
        mean = round(sum(self._used) / len(self._used))
        self.sampled = SampledMemory(
            peak_bytes=max(0, peak - self._baseline),
            mean_bytes=max(0, mean - self._baseline),
            samples=len(self._used),
            reserved_bytes=reserved,
        )

    def _sample_repeatedly(self) -> None:
        due = time.perf_counter()
        while True:
            self._used.append(used_bytes(self._device))
            due = max(due + SAMPLE_MS / 1e3, time.perf_counter())
            if self._done.wait(due - time.perf_counter()):
                return

"""How much memory a piece of work takes, sampled by a thread: this process's own, or what is allocated on the GPU.

A process's own memory is its resident memory without the pages of files. Its unique set size includes those as soon as
no other process maps them, and so jumps by tens of megabytes when another program that uses torch starts or ends.
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

SAMPLE_MS = 1.0  # at best: without /proc, taking a sample takes longer than that

# A process must be started with this for its figures to be repeatable. Freed memory goes back to the system at once,
# rather than when glibc sees fit; and a GPU's work is done as it is launched, so that a sample sees what it uses.
# All of this costs time, so nothing is timed in such a process.
ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "0",
    "MALLOC_ARENA_MAX": "1",
    "CUDA_LAUNCH_BLOCKING": "1",
}
_STATM = Path("/proc/self/statm")


def used_bytes(device: torch.device) -> int:
    """What this process alone holds: on CUDA what is allocated to its tensors, else what describe_counter says."""
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
    """Memory above a baseline while something ran.

    peak_bytes: on CUDA as recorded by the allocator itself. mean_bytes: over time. reserved_bytes: on CUDA the most
    that the allocator took from the device, regardless of the baseline. samples: how many there are.
    """

    peak_bytes: int
    mean_bytes: int
    samples: int
    reserved_bytes: int | None = None


class MemorySampler:
    """Samples the memory in use while it is active, above `baseline_bytes`, which may be negative.

    Attributes:
        sampled: the result, once it has ended.
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
            torch.cuda.empty_cache()  # what was reserved for earlier work does not count
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

"""How much memory a stretch of work takes, sampled by a thread: this process's own (USS), or the GPU's allocated."""

import threading
import time
from types import TracebackType
from typing import Self

import psutil
import torch

SAMPLE_MS = 20.0


def used_bytes(device: torch.device) -> int:
    """What this process alone holds: on CUDA what its tensors are allocated, else its unique set size."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return int(psutil.Process().memory_full_info().uss)


class Sampler:
    """Peak and time average of the memory used meanwhile, over `baseline_bytes`.

    Attributes, behind its end: peak_bytes (on CUDA what the allocator itself noted), mean_bytes, samples.
    """

    def __init__(self, device: torch.device, baseline_bytes: int) -> None:
        self._device, self._baseline = device, baseline_bytes
        self._used: list[int] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        peak = max(self._used)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            peak = torch.cuda.max_memory_allocated(self._device)
        self.peak_bytes = max(0, peak - self._baseline)
        self.mean_bytes = max(0, round(sum(self._used) / len(self._used)) - self._baseline)
        self.samples = len(self._used)

    def _sample(self) -> None:
        due = time.perf_counter()
        while True:
            self._used.append(used_bytes(self._device))
            due = max(due + SAMPLE_MS / 1e3, time.perf_counter())
            if self._done.wait(due - time.perf_counter()):
                return

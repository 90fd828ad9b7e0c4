"""How long a forward pass takes: two networks take turns, so that whatever else the machine does affects both alike."""

import statistics
import time

import torch
from torch import Tensor, nn

from records.measurement import LatencyComparison, Quartiles

WARM_UP_SECONDS = 0.3
LEAST_PAIRS, MOST_PAIRS = 10, 300

# A process whose passes are timed must be started with this, so that glibc keeps freed memory for the next pass.
# Otherwise it may return the larger feature maps to the system and fetch them again in each pass, depending on heap
# layout, and the dense network's batch of 256 takes 27 ms in one process and 40 ms in another.
ENVIRONMENT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**60)}


def compare_latencies(dense: nn.Module, pruned: nn.Module, images: Tensor, *, seconds: float) -> LatencyComparison:
    """Latencies of `dense` and `pruned` on a batch: dense, pruned, pruned, dense, dense, pruned …

    Args:
        dense, pruned: in eval mode, on the same device and of the same dtype.
        images: the batch.
        seconds: about how long pairs are timed; at least LEAST_PAIRS, at most MOST_PAIRS of them.
    """
    with torch.inference_mode():
        end = time.perf_counter() + WARM_UP_SECONDS
        warm_ups = 0
        while time.perf_counter() < end or warm_ups < 2:
            for network in (dense, pruned):
                time_pass_ms(network, images)
            warm_ups += 1
        times: tuple[list[float], list[float]] = ([], [])
        end = time.perf_counter() + seconds
        while len(times[0]) < LEAST_PAIRS or (time.perf_counter() < end and len(times[0]) < MOST_PAIRS):
            first = len(times[0]) % 2  # they take turns going first, so that neither always gets the other's caches
            for which in (first, 1 - first):
                times[which].append(time_pass_ms((dense, pruned)[which], images))
    return LatencyComparison(
        batch_size=len(images),
        pairs=len(times[0]),
        dense_ms=compute_quartiles(times[0]),
        pruned_ms=compute_quartiles(times[1]),
        speedup=compute_quartiles([one / other for one, other in zip(*times, strict=True)]),
    )


def time_pass_ms(network: nn.Module, images: Tensor) -> float:
    """Milliseconds of one forward pass, by CUDA's events or the CPU's clock."""
    if images.is_cuda:
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        began.record()
        network(images)
        ended.record()
        ended.synchronize()
        return float(began.elapsed_time(ended))
    start = time.perf_counter()
    network(images)
    return (time.perf_counter() - start) * 1e3


def compute_quartiles(values: list[float]) -> Quartiles:
    """q1, median and q3 of at least two values."""
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return Quartiles(median=median, q1=q1, q3=q3)

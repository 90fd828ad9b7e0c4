"""Latencies of two networks: which is which, and how the times are summed up."""

import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from networks import build_vgg16, scale_widths
from torch import nn

from records.measurement import Quartiles
from trainable.measurement.latency import ENVIRONMENT, LEAST_PAIRS, compare_latencies, compute_quartiles

IMAGES = torch.randn(32, 3, 32, 32)


def network(width: float) -> nn.Module:
    return build_vgg16(scale_widths(width), 10).eval()


def median(quartiles: Quartiles) -> float:
    assert quartiles.median is not None
    return quartiles.median


def test_the_larger_network_is_the_slower_one() -> None:
    """Sixteen times the MACs: no machine's noise turns that around."""
    found = compare_latencies(network(0.5), network(0.125), IMAGES, seconds=0.1)
    assert found.batch_size == 32
    assert (found.pairs or 0) >= LEAST_PAIRS
    assert median(found.dense_ms) > median(found.pruned_ms) > 0
    assert median(found.speedup) > 1
    swapped = compare_latencies(network(0.125), network(0.5), IMAGES, seconds=0.1)
    assert median(swapped.speedup) < 1


def test_both_networks_run_equally_often_and_take_turns_going_first() -> None:
    calls: list[str] = []

    class Noted(torch.nn.Module):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            calls.append(self.name)
            return images

    found = compare_latencies(Noted("dense"), Noted("pruned"), IMAGES[:2], seconds=0.0)
    assert found.pairs is not None
    measured = calls[-2 * found.pairs :]
    assert measured[:6] == ["dense", "pruned", "pruned", "dense", "dense", "pruned"]
    assert calls.count("dense") == calls.count("pruned") > found.pairs


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_no_pass_waits_for_memory_from_the_system() -> None:
    """Each page that a pass has to fetch costs a fault: 4,096 for the 16 MB of the largest feature map alone."""
    code = """
import resource, torch
from trainable.network.vgg import vgg16
network, images = vgg16(10, width=0.25).eval(), torch.zeros(256, 3, 32, 32)
with torch.inference_mode():
    for _ in range(8):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        network(images)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=True,
    )
    faults = [int(line) for line in done.stdout.splitlines()]
    # The median, as a library may set something up late, once; what the allocator gives back is fetched in every pass.
    assert statistics.median(faults[3:]) < 100


@given(st.lists(st.floats(0.1, 1e3), min_size=2))
def test_quartiles_are_in_order_and_among_the_values(values: list[float]) -> None:
    found = compute_quartiles(values)
    quartered = [min(values), found.q1, found.median, found.q3, max(values)]
    assert quartered == pytest.approx(sorted(quartered), rel=1e-12)
    assert found.median == pytest.approx(statistics.median(values))

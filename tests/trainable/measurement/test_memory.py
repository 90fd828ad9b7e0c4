"""What a sampler sees of the memory that this process takes and gives back."""

import mmap
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from trainable.measurement import memory
from trainable.measurement.memory import MemorySampler, describe_counter, used_bytes

CPU = torch.device("cpu")
MEGABYTES_64 = 64 * 2**20


def test_a_block_that_lives_half_the_time_is_the_peak_and_about_half_the_mean() -> None:
    baseline = used_bytes(CPU)
    with MemorySampler(CPU, baseline) as sampler:
        time.sleep(0.5)
        # Not from malloc, which may give out pages that this process held before.
        block = mmap.mmap(-1, MEGABYTES_64, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        block[:: mmap.PAGESIZE] = bytes(MEGABYTES_64 // mmap.PAGESIZE)
        time.sleep(0.5)
    assert len(block) == MEGABYTES_64
    assert 0.9 * MEGABYTES_64 < sampler.sampled.peak_bytes < 1.5 * MEGABYTES_64
    assert 0.1 * MEGABYTES_64 < sampler.sampled.mean_bytes < 0.9 * MEGABYTES_64
    assert sampler.sampled.samples > 5


def test_using_less_than_before_counts_as_nothing() -> None:
    with MemorySampler(CPU, used_bytes(CPU) + MEGABYTES_64) as sampler:
        pass
    assert (sampler.sampled.peak_bytes, sampler.sampled.mean_bytes) == (0, 0)
    assert sampler.sampled.samples >= 1


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_the_pages_of_files_do_not_count(tmp_path: Path) -> None:
    """In the unique set size they count only while no other process maps them."""
    path = tmp_path / "library"
    path.write_bytes(bytes(MEGABYTES_64))
    before = used_bytes(CPU)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[:: mmap.PAGESIZE]) == 0
        assert used_bytes(CPU) - before < MEGABYTES_64 / 4
    assert describe_counter(CPU) == "resident without files"


def test_without_proc_the_unique_set_size_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_STATM", tmp_path / "statm")
    monkeypatch.setattr(psutil.Process, "memory_full_info", lambda process: SimpleNamespace(uss=123))
    assert used_bytes(CPU) == 123
    assert describe_counter(CPU) == "unique set size"

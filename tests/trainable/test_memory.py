"""What a sampler sees of memory that this process takes and gives back."""

import time

import torch

from trainable.memory import Sampler, used_bytes

CPU = torch.device("cpu")
MEGABYTES_64 = 64 * 2**20


def test_a_block_that_lives_half_the_time_is_the_peak_and_about_half_the_mean() -> None:
    baseline = used_bytes(CPU)
    with Sampler(CPU, baseline) as sampler:
        time.sleep(0.5)
        block = bytearray(MEGABYTES_64)
        time.sleep(0.5)
    assert len(block) == MEGABYTES_64
    assert 0.9 * MEGABYTES_64 < sampler.peak_bytes < 1.5 * MEGABYTES_64
    assert 0.1 * MEGABYTES_64 < sampler.mean_bytes < 0.9 * MEGABYTES_64
    assert sampler.samples > 5


def test_what_takes_less_than_before_took_nothing() -> None:
    with Sampler(CPU, used_bytes(CPU) + MEGABYTES_64) as sampler:
        pass
    assert (sampler.peak_bytes, sampler.mean_bytes) == (0, 0)
    assert sampler.samples >= 1

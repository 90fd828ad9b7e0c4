"""The device that networks are trained and measured on."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def default_device() -> torch.device:
    """CUDA if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def prepare_device(device: torch.device, threads: int) -> None:
    """Sets up the process to be fast on CUDA and repeatable on the CPU, whose numbers depend on its threads."""
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = device.type == "cuda"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True


@contextmanager
def seed_layers(device: torch.device, *, seed: int, epoch: int) -> Iterator[None]:
    """Within it, layers that draw at random, such as Dropout, draw what (seed, epoch) alone decides.

    Otherwise an epoch would depend on all that the process has drawn before it, and could not be repeated. The
    generators are left as they were.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0]))
        yield


def device_name(device: torch.device) -> str:
    """The device as records name it: `cpu`, or the GPU's product name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type

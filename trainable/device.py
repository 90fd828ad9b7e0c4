"""The device that trials compute on, and the CPUs that are this process's."""

import os

import torch


def cpus() -> set[int]:
    """Those that this process may run on, which can be fewer than the machine has: taskset, Slurm, a cpuset."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def default_device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def prepare_device(device: torch.device, threads: int) -> None:
    """Settings of the process: what makes CUDA fast, and the CPU's numbers repeatable (they depend on its threads)."""
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = device.type == "cuda"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True


def device_name(device: torch.device) -> str:
    """The device as records name it: `cpu`, or the GPU's product name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type

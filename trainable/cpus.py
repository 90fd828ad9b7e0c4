"""The CPUs that this process may use. Separate from device.py, so as not to import torch."""

import os


def cpus() -> set[int]:
    """The CPUs that this process may run on: fewer than the machine has under taskset, Slurm or a cpuset."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))

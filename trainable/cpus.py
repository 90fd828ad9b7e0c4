"""The CPUs that are this process's. Apart from device.py, since it needs no torch."""

import os


def cpus() -> set[int]:
    """Those that this process may run on, which can be fewer than the machine has: taskset, Slurm, a cpuset."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))

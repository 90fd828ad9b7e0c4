"""The CPUs and the memory that this process may use. Separate from device.py, so as not to import torch."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePath

import psutil

_ROOT = Path("/")


def cpus() -> set[int]:
    """The CPUs that this process may run on: fewer than the machine has under taskset, Slurm or a cpuset."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def count_cpus() -> int:
    """How many CPUs this process may keep busy: those it may run on, or fewer if its cgroup has a quota (Docker)."""
    return min([len(cpus()), *(max(1, int(quota)) for quota in _read_cpu_quotas(_ROOT))])


def memory_bytes() -> int:
    """The memory that this process may use: the machine's, or less if its cgroup has a limit (Docker, Slurm)."""
    return min([int(psutil.virtual_memory().total), *_read_memory_limits(_ROOT)])


def _read_cpu_quotas(root: Path) -> Iterator[float]:
    """The quotas that apply to this process, in CPUs; those that are not set ("max" or -1) are left out."""
    for folder in _cgroup_folders(root, "cpu"):
        quota = _read_words(folder / "cpu.max") or [
            *_read_words(folder / "cpu.cfs_quota_us"),
            *_read_words(folder / "cpu.cfs_period_us"),
        ]
        if len(quota) == 2 and all(word.isdecimal() for word in quota):
            yield int(quota[0]) / max(1, int(quota[1]))


def _read_memory_limits(root: Path) -> Iterator[int]:
    for folder in _cgroup_folders(root, "memory"):
        for word in (*_read_words(folder / "memory.max"), *_read_words(folder / "memory.limit_in_bytes")):
            if word.isdecimal():
                yield int(word)


def _cgroup_folders(root: Path, controller: str) -> Iterator[Path]:
    """The cgroup of this process and those above it, whose limits apply, too; version 1 has a tree per controller.

    Inside a container the path may be the host's, of which only the top is mounted; so they need not exist.
    """
    top = root / "sys/fs/cgroup"
    for line in _read_lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        own = PurePath(path.lstrip("/"))
        yield from ((top / controller if controllers else top) / each for each in (own, *own.parents))


def _read_words(path: Path) -> list[str]:
    return [word for line in _read_lines(path) for word in line.split()]


def _read_lines(path: Path) -> list[str]:
    with suppress(OSError):
        return path.read_text(encoding="utf-8").splitlines()
    return []

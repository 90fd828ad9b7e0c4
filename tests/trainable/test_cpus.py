"""What a process may use: under taskset, and in a cgroup of either version, whose files are written here."""

import os
from pathlib import Path

import psutil
import pytest

from trainable.cpus import _read_cpu_quotas, _read_memory_limits, count_cpus, cpus, memory_bytes


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")


def test_cpus_that_the_process_may_not_run_on_do_not_count(one_cpu: int) -> None:
    assert cpus() == {one_cpu}
    assert count_cpus() == 1


def test_neither_is_more_than_the_machine_has() -> None:
    assert 1 <= count_cpus() <= len(cpus()) <= (os.cpu_count() or 1)
    assert 0 < memory_bytes() <= psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("files", "quotas"),
    [
        ({}, []),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "150000 100000"}, [1.5]),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, []),
        # Slurm: the job's limit is above the process's own cgroup.
        (
            {
                "proc/self/cgroup": "0::/slurm/job_7/step_0",
                "sys/fs/cgroup/slurm/job_7/cpu.max": "400000 100000",
                "sys/fs/cgroup/slurm/job_7/step_0/cpu.max": "max 100000",
            },
            [4],
        ),
        # Docker, version 1: the host's path, of which the container sees the end at the top.
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/docker/5a0\n2:memory:/docker/5a0",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            [2],
        ),
        (
            {
                "proc/self/cgroup": "4:cpu:/",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            [],
        ),
        ({"proc/self/cgroup": "4:cpuset:/", "sys/fs/cgroup/cpu.max": "100000 100000"}, []),
    ],
)
def test_quotas_of_the_cgroup(files: dict[str, str], quotas: list[float], tmp_path: Path) -> None:
    write(tmp_path, files)
    assert list(_read_cpu_quotas(tmp_path)) == quotas


@pytest.mark.parametrize(
    ("files", "limits"),
    [
        ({}, []),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": "max"}, []),
        (
            {
                "proc/self/cgroup": "0::/job/step",
                "sys/fs/cgroup/job/memory.max": "1073741824",
                "sys/fs/cgroup/job/step/memory.max": "max",
            },
            [2**30],
        ),
        ({"proc/self/cgroup": "3:memory:/docker/5a0", "sys/fs/cgroup/memory/memory.limit_in_bytes": "500"}, [500]),
    ],
)
def test_memory_limits_of_the_cgroup(files: dict[str, str], limits: list[int], tmp_path: Path) -> None:
    write(tmp_path, files)
    assert list(_read_memory_limits(tmp_path)) == limits


@pytest.mark.parametrize(("quota", "counted"), [("50000 100000", 1), ("999900000 100000", len(cpus()))])
def test_a_quota_of_less_than_a_cpu_counts_as_one(
    quota: str, counted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": quota})
    monkeypatch.setattr("trainable.cpus._ROOT", tmp_path)
    assert count_cpus() == counted

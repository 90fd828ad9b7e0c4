"""A full disk stops the search with a clear message and nothing corrupt; with room again it goes on."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from searches import SETTINGS, check_whole, run

from trainable.records import ExperimentFolder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of three megabytes."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs takes root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {mounted.stderr!r}")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.parametrize("how", [["--local"], []], ids=["local", "cluster"])
def test_a_full_disk(small_disk: Path, tmp_path: Path, how: list[str]) -> None:
    settings = tmp_path / "search.toml"
    settings.write_text(SETTINGS.replace("trials = 8", "trials = 3"))
    # What is left holds the dense network and a few trials, but not all of them.
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(3 * 2**20 - 1_400_000))
    result = run("run", settings, "--storage", small_disk, *how)
    assert result.returncode == 1, result.stderr
    assert "no space is left" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.strip().splitlines()[-1] == f"alphaprune resume search --storage {small_disk}"
    status = run("status", "search", "--storage", small_disk)
    assert status.returncode == 0, status.stderr
    ballast.unlink()
    result = run("resume", "search", "--storage", small_disk, *how)
    assert result.returncode == 0, result.stderr
    check_whole(ExperimentFolder(small_disk / "search"), trials=6)

"""A full disk stops the search with a clear message and nothing corrupt; with room again it continues."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from searches import SETTINGS, check_whole, ended, run, start, wait_for

from records.experiment import ExperimentFolder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs takes root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", disk], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {mounted.stderr!r}")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.parametrize("how", [["--local"], []], ids=["local", "cluster"])
def test_a_full_disk(small_disk: Path, tmp_path: Path, how: list[str]) -> None:
    settings, log = tmp_path / "search.toml", tmp_path / "log"
    settings.write_text(SETTINGS.replace("trials = 8", "trials = 3"))
    folder = ExperimentFolder(small_disk / "search")
    driver = start("run", settings, "--storage", small_disk, *how, log=log)
    with ended(driver):
        wait_for(lambda: any(trial.read_rows() for trial in folder.trial_folders()), what="an epoch")
        fill(small_disk / "ballast")
        assert driver.wait(timeout=120) == 1, log.read_text()
    text = log.read_text()
    assert "no space is left" in text
    assert "Traceback" not in text
    assert text.strip().splitlines()[-1] == " ".join([f"alphaprune resume search --storage {small_disk}", *how])
    status = run("status", "search", "--storage", small_disk)
    assert status.returncode == 0, status.stderr
    (small_disk / "ballast").unlink()
    result = run("resume", "search", "--storage", small_disk, *how)
    assert result.returncode == 0, result.stderr
    check_whole(folder, trials=6)


def fill(path: Path) -> None:
    """Takes up all the space there is, whatever else is written or removed at the same time."""
    with path.open("ab", buffering=0) as file:
        for size in (2**20, 2**14, 2**12):
            with suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass


def test_a_disk_that_is_too_small_is_refused_before_anything_starts(small_disk: Path, tmp_path: Path) -> None:
    settings = tmp_path / "search.toml"
    settings.write_text(SETTINGS)
    result = run("run", settings, "--storage", small_disk, "--local", "--width", "1")
    assert result.returncode == 2, result.stderr
    assert "--storage must have about" in result.stderr.splitlines()[-1]
    assert list(small_disk.iterdir()) == []

"""One driver per experiment; drivers in processes of their own are in test_kills.py."""

import errno
import fcntl
import os
import socket
from pathlib import Path

import pytest

from records.experiment import ExperimentFolder
from search.setup.driver_lock import hold_driver_lock


def test_a_second_driver_is_refused_until_the_first_is_done(tmp_path: Path) -> None:
    folder = ExperimentFolder(tmp_path)
    name, host = tmp_path.name, socket.gethostname()
    second = pytest.raises(
        ValueError, match=rf"^'{name}' is already being run by process {os.getpid()} on {host} since 2.*; wait for it"
    )
    with hold_driver_lock(folder), second, hold_driver_lock(folder):
        pass
    with hold_driver_lock(folder):
        pass


def test_a_second_driver_is_refused_even_if_the_first_is_unknown(tmp_path: Path) -> None:
    """It has just taken the lock, or its disk is full."""
    folder = ExperimentFolder(tmp_path)
    with hold_driver_lock(folder):
        (tmp_path / ".driver.lock").write_text("{")
        with pytest.raises(ValueError, match="is already being run by another process; "), hold_driver_lock(folder):
            pass


def test_storage_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file system here has flock, so the system's answer is faked."""

    def unsupported(file: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    refused = pytest.raises(ValueError, match=r"--storage must .* supports locks .*No locks available")
    with refused, hold_driver_lock(ExperimentFolder(tmp_path)):
        pass

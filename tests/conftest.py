"""What all tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from trainable.measurement import machine_lock


@pytest.fixture(scope="session", autouse=True)
def session_locks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the machine's locks, for this session, its subprocesses and Ray's workers alone."""
    folder = tmp_path_factory.mktemp("locks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(machine_lock.FOLDER_VARIABLE, str(folder))
        yield folder

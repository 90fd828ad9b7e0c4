"""What all tests share."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainable.measurement import machine_lock

# Two tests share the CPUs. Otherwise a thread of torch would keep its CPU busy while it waits for another that another
# test does not let run, and an epoch of a small dense network would take ten times as long. Read when torch is
# imported, here and in the processes that tests start.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# The processes that tests start and send signals to inherit what is ignored, such as SIGHUP under nohup.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def session_locks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the machine's locks, for this session, its subprocesses and Ray's workers alone."""
    folder = tmp_path_factory.mktemp("locks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(machine_lock.FOLDER_VARIABLE, str(folder))
        yield folder

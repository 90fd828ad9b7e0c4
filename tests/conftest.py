"""What all tests share."""

import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from trainable.measurement import machine_lock

# Two tests share the CPUs. Otherwise a thread of torch would keep its CPU busy while it waits for another that another
# test does not let run, and an epoch of a small dense network would take ten times as long. Read when torch is
# imported, here and in the processes that tests start.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile(
    "busy machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("busy machine")

# The processes that tests start and send signals to inherit what is ignored, such as SIGHUP under nohup.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Writes a module, by name and content, in the current folder, which is not on the path, as for the command."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    written = set()

    def write(name: str, content: str) -> None:
        (tmp_path / f"{name}.py").write_text(content)
        written.add(name)
        importlib.invalidate_caches()

    yield write
    for name in written:
        sys.modules.pop(name, None)


@pytest.fixture(scope="session", autouse=True)
def session_locks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the machine's locks, for this session, its subprocesses and Ray's workers alone."""
    folder = tmp_path_factory.mktemp("locks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(machine_lock.FOLDER_VARIABLE, str(folder))
        yield folder

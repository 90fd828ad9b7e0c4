"""Checks, before anything starts, that all nodes of a Ray cluster see the same storage and its locks."""

import fcntl
import secrets
import shutil
from pathlib import Path
from typing import IO, NamedTuple

from records.files import replace_file
from search.backends.ray.cluster import living_nodes
from search.backends.ray.tasks import create_task, fetch_result

# A node that loads Python from a cold disk is slow; one whose mount hangs never answers.
STORAGE_SECONDS = 60


def check_storage(folder: Path, *, timeout_seconds: float = STORAGE_SECONDS) -> None:
    """Writes to `folder` here and reads it on every node of the connected cluster, and vice versa.

    Also checks that each node sees a lock that is held here.

    Args:
        folder: must exist here; what is written to it is removed again.
        timeout_seconds: for all nodes together; they are checked in parallel.

    Raises:
        ValueError: naming a node that has a different folder there or none, cannot write to it, lacks this package,
            or does not answer in time.
    """
    import ray

    probe = folder.resolve() / f".probe-{secrets.token_hex(8)}"
    probe.mkdir()
    try:
        token = secrets.token_hex(8)
        replace_file(probe / "driver", lambda own: own.write(token.encode()))
        with (probe / "driver").open("r+", encoding="utf-8") as file:
            _lock_file(file, folder)
            probes = {
                create_task(_probe_storage, node, num_cpus=0).remote(str(probe), node["NodeID"]): node
                for node in living_nodes()
            }
            _, late = ray.wait(list(probes), num_returns=len(probes), timeout=timeout_seconds)
        for task in late:
            ray.cancel(task, force=True)
        for task, node in probes.items():
            name = f"node {node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
            if task in late:
                raise ValueError(
                    f"all nodes of the cluster must reach --storage, but {name} did not within {timeout_seconds:g} s; "
                    f"check whether {str(folder)!r} hangs there, or `ray stop` the node"
                )
            try:
                problem = _describe_difference(fetch_result(task), token, probe / node["NodeID"])
            except OSError as error:
                problem = error.strerror or str(error)
            except Exception as error:
                last = f"{type(error).__name__}: {error}".strip().splitlines()[-1]
                raise ValueError(
                    f"all nodes of the cluster must have alphaprune, installed as it is here, but {name}: {last}"
                ) from error
            if problem:
                raise ValueError(
                    "--storage must be on a file system that all nodes of the cluster share, at the same path, but "
                    f"{str(folder)!r} is not the same here and on {name}: {problem}"
                )
    finally:
        shutil.rmtree(probe, ignore_errors=True)


def _lock_file(file: IO[str], folder: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        raise ValueError(
            f"--storage must be on a file system that supports locks (flock), but {str(folder)!r}: {error.strerror}"
        ) from error


class _ProbeResult(NamedTuple):
    """What a node read from the driver's file, whether it saw that file as locked, and what it wrote to its own."""

    read: str
    locked: bool
    wrote: str


def _probe_storage(folder: str, name: str) -> _ProbeResult:
    """Runs on a node: reads the driver's file in `folder` and writes one called `name`."""
    wrote = secrets.token_hex(8)
    with Path(folder, "driver").open("r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = False
        except BlockingIOError:
            locked = True
        read = file.read()
    replace_file(Path(folder, name), lambda own: own.write(wrote.encode()))
    return _ProbeResult(read, locked, wrote)


def _describe_difference(probed: _ProbeResult, written: str, path: Path) -> str:
    """How the two sides differ over what the driver has `written` or the node's file at `path`; empty if they agree."""
    if (probed.read, path.read_text("utf-8")) != (written, probed.wrote):
        return "a file has different contents"
    return "" if probed.locked else "a lock (flock) held on one is not seen on the other"

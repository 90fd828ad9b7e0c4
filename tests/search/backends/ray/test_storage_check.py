"""Whether all nodes of a cluster see the same storage: in one process, and on nodes with mounts of their own."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from ray.cluster_utils import Cluster
from searches import wait_for

import search
from search.backends.ray.cluster import living_nodes
from search.backends.ray.storage_check import _describe_difference, _probe_storage, check_storage

pytestmark = [pytest.mark.filterwarnings("ignore")]


def test_differences_seen_by_a_node(tmp_path: Path) -> None:
    """The driver's side and a node's side of check_storage, both in one process."""
    (tmp_path / "driver").write_text("token")
    with (tmp_path / "driver").open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        same = _probe_storage(str(tmp_path), "node")
    assert _describe_difference(same, "token", tmp_path / "node") == ""
    assert "different contents" in _describe_difference(same, "another", tmp_path / "node")
    assert "different contents" in _describe_difference(same, "token", tmp_path / "driver")
    unlocked = _probe_storage(str(tmp_path), "node")
    assert "lock" in _describe_difference(unlocked, "token", tmp_path / "node")


@contextmanager
def node_apart(nodes: Cluster, shell: str) -> Iterator[str]:
    """Adds a node (0 CPUs) with its own mounts and host name, after the commands `shell`; yields its host name."""
    ray_start = f"{sys.executable} -m ray.scripts.scripts start --address={nodes.address} --block --num-cpus=0"
    script = f"set -e; mount --make-rprivate /; hostname apart; {shell}; exec {ray_start}"
    if subprocess.run(["unshare", "-m", "-u", "-p", "-f", "mount", "-t", "tmpfs", "none", "/mnt"]).returncode:
        pytest.skip("needs to be allowed to unshare mounts")
    before = len(living_nodes())
    # When the first process of a PID namespace dies, all others die with it.
    unshare = ["unshare", "-m", "-u", "-p", "-f", "--kill-child", "--mount-proc", "bash", "-c", script]
    with subprocess.Popen(unshare, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: len(living_nodes()) == before + 1, what="the node to join")
            yield "apart"
        finally:
            process.kill()
    wait_for(lambda: len(living_nodes()) == before, what="the node to be gone")


@pytest.mark.slow
def test_a_shared_folder_is_accepted(nodes: Cluster, tmp_path: Path) -> None:
    check_storage(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_folder_that_is_not_shared_is_refused(nodes: Cluster, tmp_path: Path) -> None:
    """On a node with its own mounts, each of these folders is a different one, is not writable, or hangs."""
    shared, hidden, frozen = (tmp_path / name for name in ("shared", "hidden", "frozen"))
    for folder in (shared, hidden, frozen):
        folder.mkdir()
    mounts = f"mount -t tmpfs none {hidden}; mount --bind {frozen} {frozen}; mount -o remount,bind,ro {frozen}"
    with node_apart(nodes, mounts) as name:
        check_storage(shared)
        with pytest.raises(ValueError, match=rf"--storage must .* node {name} \(.*\): No such file"):
            check_storage(hidden)
        with pytest.raises(ValueError, match=rf"--storage must .* node {name} \(.*\): Read-only file system"):
            check_storage(frozen)

        (raylet,) = (each for each in psutil.process_iter(["name"]) if is_raylet_in(each, str(hidden)))
        raylet.suspend()
        try:
            with pytest.raises(ValueError, match=rf"node {name} \(.*\) did not within 2 s"):
                check_storage(shared, timeout_seconds=2)
        finally:
            raylet.resume()
    assert [list(folder.iterdir()) for folder in (shared, hidden, frozen)] == [[], [], []]


def is_raylet_in(process: psutil.Process, mount: str) -> bool:
    return process.info["name"] == "raylet" and mount in Path(f"/proc/{process.pid}/mounts").read_text()


@pytest.mark.slow
def test_a_node_without_the_package_is_refused(nodes: Cluster, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import search; print(search.__path__[0])"]
    elsewhere = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    installed = subprocess.run(command, cwd="/", env=elsewhere, capture_output=True, text=True, check=False).stdout
    # Here, and where it is installed, which is not the same where the tests run in another checkout.
    mounts = "; ".join(f"mount -t tmpfs none {path}" for path in {search.__path__[0], *installed.split()})
    with (
        node_apart(nodes, mounts) as name,
        pytest.raises(ValueError, match=f"installed as it is here, but node {name} .*: ModuleNotFoundError"),
    ):
        check_storage(tmp_path)

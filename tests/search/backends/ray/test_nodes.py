"""Several Ray nodes on this machine, with GPUs that exist on paper only. Real Ray, real processes."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster
from ray.util.placement_group import placement_group, remove_placement_group

from records.files import read_rows
from search.backends.ray import cluster
from search.backends.ray.cluster import Share
from search.settings import ResourceSettings
from trainable.config import DataConfig, DenseConfig, OptimizerConfig
from trainable.data.dataset import load_data
from trainable.dense import load_dense

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def temp_dir() -> Iterator[str]:
    """Ray's own files; not in /tmp/ray, where other clusters leave traces, and short, for names of sockets."""
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield folder


@pytest.fixture(scope="module")
def nodes(temp_dir: str) -> Iterator[Cluster]:
    """A head with 2 CPUs and a node with 8 CPUs and 2 GPUs, and this process connected to them."""
    head = {"num_cpus": 2, "num_gpus": 0, "temp_dir": temp_dir, "include_dashboard": False}
    started = Cluster(initialize_head=True, head_node_args=head)
    try:
        started.add_node(num_cpus=8, num_gpus=2)
        with cluster.connected(started.address):
            yield started
    finally:
        started.shutdown()


def wait_for(reached: Callable[[], bool], seconds: float = 90) -> bool:
    deadline = time.monotonic() + seconds
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.1)
    return reached()


@contextmanager
def node_apart(nodes: Cluster, shell: str) -> Iterator[str]:
    """One more node (0 CPUs), with mounts and a host name of its own, behind the commands `shell`; its host name."""
    ray_start = f"{sys.executable} -m ray.scripts.scripts start --address={nodes.address} --block --num-cpus=0"
    script = f"set -e; mount --make-rprivate /; hostname apart; {shell}; exec {ray_start}"
    if subprocess.run(["unshare", "-m", "-u", "-p", "-f", "mount", "-t", "tmpfs", "none", "/mnt"]).returncode:
        pytest.skip("needs to be allowed to unshare mounts")
    before = len(cluster.nodes())
    # The first process of a PID namespace takes all others with it.
    unshare = ["unshare", "-m", "-u", "-p", "-f", "--kill-child", "--mount-proc", "bash", "-c", script]
    with subprocess.Popen(unshare, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            assert wait_for(lambda: len(cluster.nodes()) == before + 1)
            yield "apart"
        finally:
            process.kill()
    assert wait_for(lambda: len(cluster.nodes()) == before)


def test_a_shared_folder_is_accepted(nodes: Cluster, tmp_path: Path) -> None:
    cluster.check_storage(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_shared_is_refused(nodes: Cluster, tmp_path: Path) -> None:
    """Each folder is another one, or not writable, or hangs, where a node has mounts of its own."""
    shared, hidden, frozen = (tmp_path / name for name in ("shared", "hidden", "frozen"))
    for folder in (shared, hidden, frozen):
        folder.mkdir()
    mounts = f"mount -t tmpfs none {hidden}; mount --bind {frozen} {frozen}; mount -o remount,bind,ro {frozen}"
    with node_apart(nodes, mounts) as name:
        cluster.check_storage(shared)
        with pytest.raises(ValueError, match=rf"--storage must .* node {name} \(.*\): No such file"):
            cluster.check_storage(hidden)
        with pytest.raises(ValueError, match=rf"--storage must .* node {name} \(.*\): Read-only file system"):
            cluster.check_storage(frozen)

        (raylet,) = (each for each in psutil.process_iter(["name"]) if is_raylet_in(each, str(hidden)))
        raylet.suspend()
        try:
            with pytest.raises(ValueError, match=rf"node {name} \(.*\) did not within 2 s"):
                cluster.check_storage(shared, timeout_seconds=2)
        finally:
            raylet.resume()
    assert [list(folder.iterdir()) for folder in (shared, hidden, frozen)] == [[], [], []]


def is_raylet_in(process: psutil.Process, mount: str) -> bool:
    return process.info["name"] == "raylet" and mount in Path(f"/proc/{process.pid}/mounts").read_text()


def test_a_node_without_the_package_is_refused(nodes: Cluster, tmp_path: Path) -> None:
    package = Path(cluster.__file__).parents[2]
    with (
        node_apart(nodes, f"mount -t tmpfs none {package}") as name,
        pytest.raises(ValueError, match=f"installed as it is here, but node {name} .*: ModuleNotFoundError"),
    ):
        cluster.check_storage(tmp_path)


def test_capacity_follows_the_nodes(nodes: Cluster) -> None:
    share = cluster.share(ResourceSettings(gpus_per_trial=0.5))
    assert share == Share(1, 0.5, 4)
    assert cluster.capacity(share) == 4
    assert cluster.capacity(Share(1, 0, 10)) == 10
    more = nodes.add_node(num_cpus=1, num_gpus=4)
    assert wait_for(lambda: cluster.capacity(share) == 5)
    assert cluster.capacity(Share(1, 0.5, 3, most=3)) == 3
    nodes.remove_node(more, allow_graceful=False)
    assert wait_for(lambda: cluster.capacity(share) == 4)


@pytest.mark.parametrize("gpus", [0.3, 0.4, 0.7, 1])
def test_ray_holds_what_we_count(nodes: Cluster, gpus: float) -> None:
    held = cluster.share(ResourceSettings(gpus_per_trial=gpus)).concurrency
    groups = [placement_group([{"CPU": 1, "GPU": gpus}]) for _ in range(held + 1)]
    try:
        assert sum(group.wait(3) for group in groups) == held
    finally:
        for group in groups:
            remove_placement_group(group)


def test_what_no_node_has_is_refused(nodes: Cluster) -> None:
    with pytest.raises(ValueError, match="at most 2 GPUs a node"):
        cluster.share(ResourceSettings(gpus_per_trial=3))
    with pytest.raises(ValueError, match="at most 8"):
        cluster.share(ResourceSettings(cpus_per_trial=9))


def visible_gpus() -> str | None:
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def test_a_trial_sees_the_gpus_it_was_given(nodes: Cluster) -> None:
    task = ray.remote(visible_gpus)
    assert ray.get(task.options(num_gpus=0).remote()) == ""
    assert ray.get(task.options(num_gpus=0.25).remote()) in ("0", "1")


TINY = DenseConfig(width=0.0625, epochs=40, optimizer=OptimizerConfig(batch_size=32))


@pytest.fixture(scope="module")
def data() -> Any:
    return load_data(DataConfig(images=300, validation_fraction=0.2))


def test_the_dense_network_outlives_its_node(nodes: Cluster, data: Any, tmp_path: Path) -> None:
    best = nodes.add_node(num_cpus=16, num_gpus=2)
    assert wait_for(lambda: len(cluster.nodes()) == 3)
    seen: list[int] = []

    def on_epoch(row: dict[str, Any]) -> None:
        seen.append(row["epoch"])
        if seen == [1, 2, 3]:
            nodes.remove_node(best, allow_graceful=False)

    cluster.train_dense_remotely(TINY, data, tmp_path / "dense", on_epoch)
    # What the lost node did behind its last checkpoint is done again.
    assert sorted(set(seen)) == list(range(1, 41))
    assert seen[-1] == 40
    assert [row["epoch"] for row in read_rows(tmp_path / "dense" / "epochs.jsonl")] == list(range(1, 41))
    assert load_dense(tmp_path / "dense").metrics["epochs"] == 40


def test_what_fails_in_the_dense_network_is_raised_as_it_was(nodes: Cluster, data: Any, tmp_path: Path) -> None:
    (tmp_path / "dense").write_text("a file where a folder should be")
    with pytest.raises(FileExistsError) as error:
        cluster.train_dense_remotely(TINY, data, tmp_path / "dense", lambda row: None)
    assert type(error.value) is FileExistsError  # and none of ray's, whose text is a traceback


def test_a_local_cluster_is_quiet_and_its_own(tmp_path: Path, temp_dir: str) -> None:
    """Whatever RAY_ADDRESS and the traces of an earlier cluster say, and where there is no token yet."""
    code = "from search import cluster\nwith cluster.connected(None):\n    assert len(cluster.nodes()) == 1"
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as own:
        Path(own, "ray_current_cluster").write_text("127.0.0.1:9")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "RAY_ADDRESS": "127.0.0.1:9",
            "RAY_TMPDIR": own,
        }
        ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")

"""Connections to a cluster, and addresses that do not lead to one."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from searches import run

from search.backends.ray import cluster
from trainable.data import size


def refuse(address: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as refused, cluster.connect(address):
        pass
    assert "--address must be" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("gigabytes", [0.1, 4, 24, 500])
def test_images_that_fit_into_memory_fit_into_the_object_store(
    gigabytes: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = int(gigabytes * 1e9)
    for module in (cluster, size):
        monkeypatch.setattr(module, "memory_bytes", lambda: memory)
    usage = psutil.disk_usage("/dev/shm")._replace(free=memory // 2)
    monkeypatch.setattr(psutil, "disk_usage", lambda path: usage)
    images = size.DataSize(10, train=int(0.399 * memory / 3 / 32**2), validation=0, test=0)
    size.check_memory(images, copies=2)
    assert images.bytes <= cluster.choose_store_bytes()
    monkeypatch.setattr(psutil, "disk_usage", lambda path: usage._replace(free=0))
    assert cluster.choose_store_bytes() <= 9e9  # Ray would refuse more than 10


@contextmanager
def listening(answer: bytes) -> Iterator[str]:
    """The address of something that answers `answer` to any connection."""

    def serve() -> None:
        with suppress(TimeoutError):  # a test failed before it connected
            connection, _ = server.accept()
            with connection:
                connection.settimeout(30)
                connection.sendall(answer)
                connection.recv(1024)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize("address", ["", "local", "nonsense", ":6379", "host:", "127.0.0.1:http", "http://127.0.0.1:1"])
def test_an_invalid_address_is_refused(address: str) -> None:
    refuse(address, "but got")


def test_rays_client_is_refused() -> None:
    refuse("ray://127.0.0.1:10001", "client is not supported")


def test_an_address_where_nobody_listens_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    refuse(f"127.0.0.1:{port}", "Connection refused")
    refuse("127.0.0.1:99999", "nothing answers")
    refuse("no-such-host.invalid:6379", "nothing answers")


def test_a_listener_that_is_not_ray_is_refused() -> None:
    with listening(b"HTTP/1.1 400 Bad Request\r\n\r\n") as address:
        refuse(address, "what listens .* is not a Ray cluster")


def test_a_machine_that_is_not_a_node_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_clusters_here", set)
    with listening(bytes(3) + b"\x04" + bytes(5)) as address:  # empty HTTP/2 settings, as any gRPC server sends
        refuse(address, f"Ray is not running here; run `ray start --address={address}`")


@pytest.mark.parametrize(
    ("here", "says"),
    [(set(), "none; `ray start`"), ({"10.0.0.1:6379", "10.0.0.2:6379"}, "several: 10.0.0.1:6379, 10.0.0.2:6379")],
)
def test_auto_needs_one_cluster(monkeypatch: pytest.MonkeyPatch, here: set[str], says: str) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(cluster, "_clusters_here", lambda: here)
    refuse("auto", says)


def test_auto_uses_the_address_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "nonsense")
    refuse("auto", r"'nonsense' \(RAY_ADDRESS\)")


def test_the_environment_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SET", "mine")
    monkeypatch.delenv("UNSET", raising=False)
    with cluster.set_environment({"SET": "other", "UNSET": "new"}):
        assert (os.environ["SET"], os.environ["UNSET"]) == ("mine", "new")
    assert os.environ["SET"] == "mine"
    assert "UNSET" not in os.environ


@pytest.mark.slow
def test_a_local_cluster_is_quiet_and_separate(tmp_path: Path) -> None:
    """Regardless of RAY_ADDRESS and the traces of an earlier cluster, even if there is no token yet."""
    code = """
from search.backends.ray import cluster
with cluster.connect(None):
    assert len(cluster.living_nodes()) == 1
"""
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as own:
        Path(own, "ray_current_cluster").write_text("127.0.0.1:9")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "RAY_ADDRESS": "127.0.0.1:9",
            "RAY_TMPDIR": own,
        }
        ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=200)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


# Prints what a driver and a worker of a new cluster see; from a folder with modules that have our packages' names.
LOOK = """
import json, sys
from search.backends.ray import cluster
from search.backends.ray.tasks import run_on_best_node
cluster.memory_bytes = lambda: 100_000_000
with cluster.connect(None):
    import ray
    path, search = ray.get(ray.remote(lambda: (sys.path, __import__("search").__file__)).remote())
    seen = {
        "path": path,
        "search": search,
        "resources": ray.cluster_resources(),
        "runtime_env": ray.get_runtime_context().runtime_env,
        "answer": run_on_best_node(divmod, 7, 2),
    }
print(json.dumps(seen))
"""


@pytest.mark.slow
def test_a_local_cluster_takes_what_it_may_use_and_nothing_of_the_current_folder(tmp_path: Path) -> None:
    """Under `uv run`, in a job of another cluster, on one CPU, in a small container."""
    for name in ("records", "trainable", "search"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name}.py was imported')")
    (tmp_path / "look.py").write_text(LOOK)
    one = min(os.sched_getaffinity(0))
    (tmp_path / "run").write_text(f"taskset -c {one} {sys.executable} -P look.py\nexit $?\n")
    root = str(Path(cluster.__file__).parents[3])
    job = json.dumps({"runtime_env": {"working_dir": "gcs://_ray_pkg_of_another_cluster.zip"}})
    ran = subprocess.run(
        ["uv", "run"],  # a shell by that name, and its script, which is how ray knows uv
        executable="/bin/sh",
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root, "RAY_JOB_CONFIG_JSON_ENV_VAR": job},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout)
    assert str(tmp_path) not in seen["path"]
    assert seen["search"] == str(Path(root, "search", "__init__.py"))
    assert seen["resources"]["CPU"] == 1
    assert seen["resources"]["object_store_memory"] == 80_000_000
    assert seen["runtime_env"] == {}
    assert seen["answer"] == [3, 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "says"),
    [
        ("a" * 70, "of which 107 are possible; set RAY_TMPDIR to a shorter path"),
        ("file/below", "RAY_TMPDIR=FOLDER chooses another folder"),
    ],
)
def test_a_start_that_fails_is_explained_in_one_line(
    folder: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / folder))
    ran = run("run", "quickstart", "--storage", tmp_path / "results")
    assert ran.returncode == 2
    named, reading, last = ran.stderr.splitlines()
    assert (named, reading) == (f"experiment: {tmp_path / 'results' / 'quickstart'}", "reading digits")
    assert last.startswith("alphaprune: Ray must be able to start on this machine, but ")
    assert says in last
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_a_small_dev_shm_is_enough(tmp_path: Path) -> None:
    code = "from search.backends.ray import cluster\nwith cluster.connect(None): print(len(cluster.living_nodes()))"
    script = f"mount -t tmpfs -o size=1m none /dev/shm && exec {sys.executable} -c '{code}'"
    ran = subprocess.run(["unshare", "-m", "bash", "-c", script], capture_output=True, text=True, check=False)
    if "unshare" in ran.stderr or "mount" in ran.stderr:
        pytest.skip("needs to be allowed to unshare mounts")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "1\n")  # connect keeps stdout for data

"""Connections to a cluster, and addresses that do not lead to one."""

import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from search.backends.ray import cluster


def refuse(address: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as refused, cluster.connect(address):
        pass
    assert "--address must be" in str(refused.value)
    assert "\n" not in str(refused.value)


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

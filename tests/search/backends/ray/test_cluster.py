"""What a trial gets of a cluster, from the cluster's nodes alone, and addresses that are none. No Ray runs here."""

import fcntl
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from search.backends.ray import cluster
from search.backends.ray.cluster import Share, share_of
from search.settings import ResourceSettings


@pytest.mark.parametrize(
    ("nodes", "asked", "given"),
    [
        ([(2, 0)], ResourceSettings(), Share(1, 0, 2)),
        ([(2, 0)], ResourceSettings(concurrency=1), Share(1, 0, 1, most=1)),
        ([(2, 0)], ResourceSettings(concurrency=9), Share(1, 0, 2, most=9)),
        ([(2, 0)], ResourceSettings(cpus_per_trial=2), Share(2, 0, 1)),
        ([(16, 1)], ResourceSettings(), Share(1, 0.25, 4)),
        ([(16, 1)], ResourceSettings(gpus_per_trial=0), Share(1, 0, 16)),
        ([(16, 1)], ResourceSettings(gpus_per_trial=1), Share(1, 1, 1)),
        ([(2, 1)], ResourceSettings(), Share(1, 0.25, 2)),
        # 0.4 of a GPU fits twice into one, and never across two
        ([(64, 4), (8, 0)], ResourceSettings(gpus_per_trial=0.4), Share(1, 0.4, 8)),
        ([(64, 2)], ResourceSettings(gpus_per_trial=0.3), Share(1, 0.3, 6)),
        ([(64, 2)], ResourceSettings(gpus_per_trial=0.7), Share(1, 0.7, 2)),
        ([(64, 1)], ResourceSettings(gpus_per_trial=0.1), Share(1, 0.1, 10)),
        ([(64, 4), (64, 8)], ResourceSettings(gpus_per_trial=2), Share(1, 2, 6)),
        # a head without a GPU adds nothing to trials that need one
        ([(4, 0), (16, 2)], ResourceSettings(gpus_per_trial=0.5), Share(1, 0.5, 4)),
    ],
)
def test_share(nodes: list[tuple[float, float]], asked: ResourceSettings, given: Share) -> None:
    assert share_of(nodes, asked) == given


@pytest.mark.parametrize(
    ("nodes", "asked", "says"),
    [
        ([(2, 0)], ResourceSettings(gpus_per_trial=1), "no GPU"),
        ([(2, 1), (2, 2)], ResourceSettings(gpus_per_trial=3), "at most 2 GPUs a node"),
        ([(8, 4)], ResourceSettings(gpus_per_trial=1.5), "whole number"),
        ([(8, 4)], ResourceSettings(gpus_per_trial=0.00001), "at least 0.0001"),
        ([(2, 0), (4, 0)], ResourceSettings(cpus_per_trial=5), "at most 4"),
        # each is there, but not on one node
        ([(64, 0), (2, 1)], ResourceSettings(cpus_per_trial=4), "none has both .*=4 and .*=0.25"),
        ([(64, 0), (0, 8)], ResourceSettings(), "none has both"),
    ],
)
def test_what_no_node_has_is_refused(nodes: list[tuple[float, float]], asked: ResourceSettings, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        share_of(nodes, asked)


def refuse(address: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as refused, cluster.connected(address):
        pass
    assert "--address must be" in str(refused.value)
    assert "\n" not in str(refused.value)


@contextmanager
def listening(answer: bytes) -> Iterator[str]:
    """The address of something that answers `answer` to whoever connects."""

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(answer)
            connection.recv(1024)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize("address", ["", "local", "nonsense", ":6379", "host:", "127.0.0.1:http", "http://127.0.0.1:1"])
def test_what_is_no_address_is_refused(address: str) -> None:
    refuse(address, "but got")


def test_rays_client_is_refused() -> None:
    refuse("ray://127.0.0.1:10001", "client is not supported")


def test_where_nobody_listens_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    refuse(f"127.0.0.1:{port}", "Connection refused")
    refuse("127.0.0.1:99999", "nothing answers")
    refuse("no-such-host.invalid:6379", "nothing answers")


def test_what_is_no_ray_is_refused() -> None:
    with listening(b"HTTP/1.1 400 Bad Request\r\n\r\n") as address:
        refuse(address, "what listens .* is none")


def test_a_machine_that_is_no_node_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_clusters_here", set)
    with listening(bytes(3) + b"\x04" + bytes(5)) as address:  # empty HTTP/2 settings, as any gRPC server sends
        refuse(address, f"no Ray runs here; `ray start --address={address}`")


@pytest.mark.parametrize(
    ("here", "says"),
    [(set(), "none; `ray start`"), ({"10.0.0.1:6379", "10.0.0.2:6379"}, "several: 10.0.0.1:6379, 10.0.0.2:6379")],
)
def test_auto_needs_one_cluster(monkeypatch: pytest.MonkeyPatch, here: set[str], says: str) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(cluster, "_clusters_here", lambda: here)
    refuse("auto", says)


def test_auto_takes_the_environments_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "nonsense")
    refuse("auto", r"'nonsense' \(RAY_ADDRESS\)")


def test_what_a_node_finds_otherwise(tmp_path: Path) -> None:
    """The driver's side and a node's side of check_storage, here in one process, where nothing hides."""
    (tmp_path / "driver").write_text("token")
    with (tmp_path / "driver").open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        same = cluster._probe(str(tmp_path), "node")
    assert cluster._difference(same, "token", tmp_path / "node") == ""
    assert "other contents" in cluster._difference(same, "another", tmp_path / "node")
    assert "other contents" in cluster._difference(same, "token", tmp_path / "driver")
    unlocked = cluster._probe(str(tmp_path), "node")
    assert "lock" in cluster._difference(unlocked, "token", tmp_path / "node")


def test_the_environment_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SET", "mine")
    monkeypatch.delenv("UNSET", raising=False)
    with cluster._environment({"SET": "other", "UNSET": "new"}):
        assert (os.environ["SET"], os.environ["UNSET"]) == ("mine", "new")
    assert os.environ["SET"] == "mine"
    assert "UNSET" not in os.environ

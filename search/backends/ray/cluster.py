"""The Ray cluster of a search: connected to or started, and asked whether it can do what is wanted."""

import fcntl
import logging
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import psutil

from records.files import read_rows, replace_file
from search.interruption import keeping_signals
from search.settings import Resources
from trainable.config import DenseConfig
from trainable.data.dataset import Data
from trainable.errors import LostError

# Four trials of a full-width VGG16 fit a GPU of 16 GB.
DEFAULT_GPUS_PER_TRIAL = 0.25
# Ray counts GPUs in ten-thousandths and cuts off the rest.
LEAST_GPUS_PER_TRIAL = 1e-4
# ray.init tries for 13 minutes where nobody answers.
ADDRESS_SECONDS = 5
# A node that reads its Python from a cold disk takes its time; one whose mount hangs never comes back.
STORAGE_SECONDS = 60
# How often the dense network is begun or gone on with before its nodes are given up on.
DENSE_ATTEMPTS = 3

# Read by ray here and in what it starts: plain output, no logger files, every row at once, no usage report. Trials
# start side by side and not one behind the other: how many there are at once is the searcher's business (capacity).
_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_COLOR_PREFIX": "0",
    "TUNE_MAX_PENDING_TRIALS_PG": "10000",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_RESULT_BUFFER_LENGTH": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
# Read by ray in the worker: a trial that gets no GPU is to see none.
_WORKER_ENVIRONMENT = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}
_ADDRESS = "--address must be host:port of a Ray cluster that this machine is a node of, or auto"


@dataclass(frozen=True)
class Share:
    """What each trial gets, and how many run at once: as many as the nodes hold, but never more than `most`."""

    cpus: int
    gpus: float
    concurrency: int
    most: int | None = None


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """A connection to the Ray cluster at `address`, or to one started here on this machine and shut down behind.

    Args:
        address: host:port of a cluster that this machine is a node of; `auto` for RAY_ADDRESS or the one cluster that
            it is a node of; None starts one, whatever RAY_ADDRESS or an earlier cluster's files say.

    Raises:
        ValueError: if there is no cluster at the address, or it does not let this process in.
    """
    if address is not None:
        _check_address(address)
    # Ray prints what befalls its nodes to stdout, which is for data.
    with _environment({**_ENVIRONMENT, **_WORKER_ENVIRONMENT}), redirect_stdout(sys.stderr):
        import ray

        options: dict[str, Any] = {"address": "local", "include_dashboard": False}
        if address is not None:  # its workers have their node's environment, not this process's
            options = {"address": address, "runtime_env": {"env_vars": _WORKER_ENVIRONMENT}}
        try:
            # One attempt: the address has answered, so a second would fail as the first.
            waiting = {} if address is None else {"RAY_gcs_server_port_wait_time_s": "1"}
            with _environment(waiting), keeping_signals():
                ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
        except (ConnectionError, RuntimeError, ray.exceptions.RayError) as error:
            if address is None:
                raise
            raise ValueError(f"{_ADDRESS}, but {address!r} {_refusal(error)}") from error
        try:
            yield
        finally:
            ray.shutdown()


def _check_address(address: str) -> None:
    """Raises ValueError if ray.init could not connect to `address`, in seconds."""
    here = _clusters_here()
    got = repr(address)
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "")
        got = f"{address!r} (RAY_ADDRESS)"
        if not address and len(here) == 1:
            return
        if not address:
            found = f"several: {', '.join(sorted(here))}; give one" if here else "none; `ray start` makes it one"
            raise ValueError(f"{_ADDRESS}, but it is a node of {found}")
    if "://" in address:
        raise ValueError(f"{_ADDRESS}, but got {got}; Ray's client is not supported, run alphaprune on a node")
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"{_ADDRESS}, but got {got}")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), ADDRESS_SECONDS) as connection:
            answers = "RAY_USE_TLS" in os.environ or _speaks_http2(connection)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{_ADDRESS}, but nothing answers at {got}: {reason}") from error
    if not answers:
        raise ValueError(f"{_ADDRESS}, but what listens at {got} is none; `ray start` prints the address")
    if not here:
        raise ValueError(f"{_ADDRESS}, but no Ray runs here; `ray start --address={address}` makes it a node")


def _clusters_here() -> set[str]:
    """The addresses of the clusters that this machine is a node of; by its raylets, as ray itself looks for them."""
    flag = "--gcs-address="
    raylets = (each.info for each in psutil.process_iter(["name", "cmdline"]) if each.info["name"] == "raylet")
    return {part.removeprefix(flag) for each in raylets for part in each["cmdline"] or () if part.startswith(flag)}


def _speaks_http2(connection: socket.socket) -> bool:
    """Whether the other side is gRPC: to a preface and empty settings (RFC 9113, 3.4) it answers its settings."""
    settings = b"\x04"
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + settings + bytes(5))
    return connection.recv(9)[3:4] == settings


def _refusal(error: Exception) -> str:
    """Why the cluster that answers refuses the connection, and what to do."""
    text = f"{error} {error.__cause__ or ''}"
    if "authentication token" in text.lower():
        return "wants its token: set RAY_AUTH_MODE=token and have the head's ~/.ray/auth_token here (docs/cluster.md)"
    if "No node info" in text:
        return "has no node on this machine; `ray start --address` makes it one"
    return f"refuses: {' '.join(str(error).split())}"


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """`values` as environment variables, where they are not set already."""
    new = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


def share(resources: Resources) -> Share:
    """What each trial of a search gets of the connected cluster.

    Raises:
        ValueError: if no node of the cluster can run even one trial, saying what it has.
    """
    return share_of(nodes(), resources)


def capacity(share: Share) -> int:
    """How many trials the living nodes of the connected cluster hold now, at most `share.most`; may be 0.

    Nodes that join or are lost count at once; what others run on the cluster does not. Takes about a millisecond.
    """
    fits = _held(nodes(), share.cpus, share.gpus)
    return fits if share.most is None else min(fits, share.most)


def nodes() -> list[tuple[float, float]]:
    """The living nodes of the connected cluster, each as (CPUs, GPUs)."""
    return [_resources(node) for node in _alive()]


def share_of(having: list[tuple[float, float]], resources: Resources) -> Share:
    """`share` for a cluster whose nodes are `having` (CPUs, GPUs)."""
    cpus, gpus = resources.cpus_per_trial, resources.gpus_per_trial
    most_cpus, most_gpus = (max(each) for each in zip(*having, strict=True))
    if gpus is None:
        gpus = DEFAULT_GPUS_PER_TRIAL if most_gpus else 0.0
    if gpus > most_gpus:
        has = f"at most {most_gpus:g} GPUs a node" if most_gpus else "no GPU; leave it out, or give 0"
        raise ValueError(f"--gpus-per-trial must be what a node of the cluster has, but got {gpus:g}, and it has {has}")
    if gpus > 1 and gpus != int(gpus):
        raise ValueError(f"--gpus-per-trial must be at most 1 or a whole number, but got {gpus:g}")
    if 0 < gpus < LEAST_GPUS_PER_TRIAL:
        raise ValueError(f"--gpus-per-trial must be 0 or at least {LEAST_GPUS_PER_TRIAL:g}, but got {gpus:g}")
    if cpus > most_cpus:
        raise ValueError(
            f"resources.cpus_per_trial must be what a node of the cluster has, at most {most_cpus:g}, but got {cpus}"
        )
    fits = _held(having, cpus, gpus)
    if not fits:
        raise ValueError(
            f"a trial must fit on one node, but none has both resources.cpus_per_trial={cpus} and "
            f"--gpus-per-trial={gpus:g}; lower one of them"
        )
    return Share(cpus, gpus, min(fits, resources.concurrency or fits), resources.concurrency)


def _held(having: list[tuple[float, float]], cpus: int, gpus: float) -> int:
    return sum(min(int(node_cpus // cpus), _packed(node_gpus, gpus)) for node_cpus, node_gpus in having)


def _packed(node_gpus: float, gpus: float) -> int:
    """Trials that a node's GPUs hold; a fraction never spans two GPUs."""
    if gpus == 0:
        return 10**6
    return int(node_gpus) * int(1 / gpus + 1e-9) if gpus <= 1 else int(node_gpus // gpus)


def _alive() -> list[dict[str, Any]]:
    import ray

    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def _resources(node: dict[str, Any]) -> tuple[float, float]:
    return node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0)


def check_storage(folder: Path, *, timeout_seconds: float = STORAGE_SECONDS) -> None:
    """Writes to `folder` here and reads it on every node of the connected cluster, and the other way round.

    That a node sees a lock that is held here is tried as well.

    Args:
        folder: exists here. What is written is removed again.
        timeout_seconds: for all nodes together, which are asked at the same time.

    Raises:
        ValueError: naming a node that has another folder there or none, cannot write to it, lacks this package, or
            does not answer in time.
    """
    import ray

    probe = folder.resolve() / f".probe-{secrets.token_hex(8)}"
    probe.mkdir()
    try:
        token = secrets.token_hex(8)
        replace_file(probe / "driver", lambda own: own.write(token.encode()))
        with (probe / "driver").open("r+") as file:
            _lock(file, folder)
            probes = {_task(_probe, node, num_cpus=0).remote(str(probe), node["NodeID"]): node for node in _alive()}
            _, late = ray.wait(list(probes), num_returns=len(probes), timeout=timeout_seconds)
        for task in late:
            ray.cancel(task, force=True)
        for task, node in probes.items():
            name = f"node {node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
            if task in late:
                raise ValueError(
                    f"all nodes of the cluster must reach --storage, but {name} did not within {timeout_seconds:g} s; "
                    f"see whether {str(folder)!r} hangs there, or `ray stop` it"
                )
            try:
                problem = _difference(_result(task), token, probe / node["NodeID"])
            except OSError as error:
                problem = error.strerror or str(error)
            except Exception as error:
                last = f"{type(error).__name__}: {error}".strip().splitlines()[-1]
                raise ValueError(
                    f"all nodes of the cluster must run alphaprune, installed as it is here, but {name}: {last}"
                ) from error
            if problem:
                raise ValueError(
                    "--storage must be on a file system that all nodes of the cluster share, at the same path, but "
                    f"{str(folder)!r} is not the same here and on {name}: {problem}"
                )
    finally:
        shutil.rmtree(probe, ignore_errors=True)


def _lock(file: IO[str], folder: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        raise ValueError(
            f"--storage must be on a file system that has locks (flock), but {str(folder)!r}: {error.strerror}"
        ) from error


class _Probed(NamedTuple):
    """What a node read in the driver's file, whether that was locked for it, and what it wrote to its own."""

    read: str
    locked: bool
    wrote: str


def _probe(folder: str, name: str) -> _Probed:
    """On a node: reads the driver's file in `folder` and writes one called `name`."""
    wrote = secrets.token_hex(8)
    with Path(folder, "driver").open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = False
        except BlockingIOError:
            locked = True
        read = file.read()
    replace_file(Path(folder, name), lambda own: own.write(wrote.encode()))
    return _Probed(read, locked, wrote)


def _difference(probed: _Probed, written: str, path: Path) -> str:
    """What of the driver's `written` and of the node's file at `path` is not the same on both sides, if anything."""
    if (probed.read, path.read_text()) != (written, probed.wrote):
        return "a file has other contents"
    return "" if probed.locked else "a lock (flock) is not seen on the other"


def _best_node() -> dict[str, Any]:
    """The node to compute alone on: one with a GPU if there is one, of those the one with the most CPUs."""
    return max(_alive(), key=lambda node: (_resources(node)[1] > 0, _resources(node)[0]))


def run_on_best_node(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """What `function` returns or raises on the best node of the connected cluster, whose GPU it sees if it has one.

    Raises:
        LostError: if the node or the process is lost meanwhile.
    """
    node = _best_node()
    return _result(_task(function, node, num_gpus=min(1, int(_resources(node)[1]))).remote(*arguments, **keywords))


def _task(function: Callable[..., Any], node: dict[str, Any], **options: Any) -> Any:
    """`function` as a task of just this node, which fails at once if the node is lost."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    return ray.remote(function).options(scheduling_strategy=there, max_retries=0, **options)


def _result(task: Any) -> Any:
    """What a task returned; what it raised is raised as it was there, and LostError where its process is gone."""
    import ray

    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        raise LostError(f"its process or its node is gone: {str(error).splitlines()[0]}") from error


def train_dense_remotely(
    config: DenseConfig, data: Data, folder: Path, on_epoch: Callable[[dict[str, Any]], None]
) -> None:
    """Trains the dense network on the best node of the connected cluster; the rows are read from its records.

    It gets a GPU where there is one, else all CPUs of its node, and waits until they are free. If its node is lost or
    its process dies it goes on from its checkpoint, on what is then the best node, at most DENSE_ATTEMPTS times in all.

    Raises: what train_dense raises there; LostError if the last attempt died, too.
    """
    import ray

    shared = ray.put(data)
    rows = read_rows(folder / "epochs.jsonl")
    for attempt in range(1, DENSE_ATTEMPTS + 1):
        node = _best_node()
        cpus, gpus = _resources(node)
        threads = 1 if gpus else max(1, int(cpus))
        task = _task(_train_dense, node, num_cpus=threads, num_gpus=min(1, int(gpus)))
        running = task.remote(config, shared, str(folder.resolve()), threads)
        done: list[Any] = []
        while not done:
            done, _ = ray.wait([running], timeout=0.5)
            seen = len(rows)  # of an attempt that goes on further back there may have been more
            rows = read_rows(folder / "epochs.jsonl")
            for row in rows[seen:]:
                on_epoch(row)
        try:
            _result(running)
            return
        except LostError as error:
            if attempt == DENSE_ATTEMPTS:
                raise LostError(f"the dense network was begun {DENSE_ATTEMPTS} times, and each time {error}") from error


def _train_dense(config: DenseConfig, data: Data, folder: str, threads: int) -> None:
    from trainable.dense import train_dense

    train_dense(config, data, Path(folder), threads=threads)

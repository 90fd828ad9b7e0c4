"""The connection to a Ray cluster: one that is started here and shut down afterwards, or an existing one."""

import logging
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from sysconfig import get_path
from typing import Any

import psutil

from search.backends.base import Node
from search.backends.ray.watch import watch_cluster
from search.interruption import keep_signals
from trainable.cpus import count_cpus, memory_bytes
from trainable.data.size import MOST_MEMORY
from trainable.function_import import FOLDER_VARIABLE, user_folder
from trainable.measurement.machine_lock import WAIT_VARIABLE, longest_wait_seconds

# ray.init keeps trying for 13 minutes if nobody answers.
ADDRESS_SECONDS = 5
# The object store holds one copy of the images, the driver the other. Ray refuses less than the least, and more than
# the most where /dev/shm has less room.
LEAST_STORE_BYTES, MOST_STORE_BYTES = 80_000_000, 9_000_000_000

# Read by ray here and in the processes it starts: plain output, no logger files, each row as it comes, no usage report.
# Trials start in parallel, not one after another: the searcher decides how many run at once (_TrialSearcher.suggest).
# Under `uv run` ray would pack up the current folder, data sets and all, and ship it to the workers.
_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_COLOR_PREFIX": "0",
    "TUNE_MAX_PENDING_TRIALS_PG": "10000",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_RESULT_BUFFER_LENGTH": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}
# Set in a job of another cluster (`ray job submit`): its working folder and more, which the one started here lacks.
_OTHER_CLUSTERS = ("RAY_JOB_CONFIG_JSON_ENV_VAR", "RAY_RUNTIME_ENV_HOOK")
# Read by ray in the worker: a trial that gets no GPU must see none.
_WORKER_ENVIRONMENT = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}
_ADDRESS = "--address must be host:port of a Ray cluster that this machine is a node of, or auto"


@contextmanager
def connect(address: str | None) -> Iterator[None]:
    """A connection to the Ray cluster at `address`, or to one that is started here and shut down afterwards.

    Args:
        address: host:port of a cluster that this machine is a node of; `auto` for RAY_ADDRESS or, if it is
            not set, the only such cluster; None to start one, regardless of RAY_ADDRESS and of earlier clusters' files.

    Raises:
        ValueError: if there is no cluster at the address, or it refuses the connection.
    """
    if address is not None:
        _check_address(address)
    # Ray reports on its nodes on stdout, which is for data.
    with set_environment({**_ENVIRONMENT, **_WORKER_ENVIRONMENT}), redirect_stdout(sys.stderr):
        import ray

        if address is None:
            _start_cluster()
        else:
            _join_cluster(address)
        try:
            with watch_cluster():
                yield
        finally:
            ray.shutdown()


def _start_cluster() -> None:
    """Starts a cluster that has what this process may use; raises ValueError if that fails."""
    try:
        with unset_environment(_OTHER_CLUSTERS):
            _init_ray(
                address="local",
                include_dashboard=False,
                num_cpus=count_cpus(),
                object_store_memory=choose_store_bytes(),
            )
    except Exception as error:
        raise ValueError(f"Ray must be able to start on this machine, but {_explain_start(error)}") from error


def choose_store_bytes() -> int:
    """The size of the object store, which takes only what is put into it: enough for all images that fit into memory.

    Ray's own choice depends on what others use at the moment, and may be less than its minimum.
    """
    shared = 0
    with suppress(OSError):
        shared = psutil.disk_usage("/dev/shm").free
    return max(LEAST_STORE_BYTES, min(int(MOST_MEMORY / 2 * memory_bytes()), max(MOST_STORE_BYTES, int(0.95 * shared))))


def _join_cluster(address: str) -> None:
    """Connects to the cluster at `address`, which has answered; raises ValueError if it refuses."""
    import ray

    try:
        # One attempt: the address has answered, so a second would fail like the first.
        with set_environment({"RAY_gcs_server_port_wait_time_s": "1"}):
            # Its workers have their node's environment, not this process's.
            own = {WAIT_VARIABLE: str(longest_wait_seconds()), FOLDER_VARIABLE: str(user_folder())}
            _init_ray(address=address, runtime_env={"env_vars": {**_WORKER_ENVIRONMENT, **own}})
    except (ConnectionError, RuntimeError, ray.exceptions.RayError) as error:
        raise ValueError(f"{_ADDRESS}, but {address!r} {_explain_refusal(error)}") from error


def _init_ray(**options: Any) -> None:
    import ray
    from ray.job_config import JobConfig

    class OwnPaths(JobConfig):
        """Keeps ray from putting the current folder, whose modules may have our packages' names, before everything."""

        def _runtime_env_has_working_dir(self) -> bool:
            return True

    # Workers import our packages from where this process does.
    ours = str(Path(__file__).parents[3])
    paths = [] if ours == get_path("purelib") else [ours]  # which would come before the standard library
    with keep_signals():
        ray.init(
            log_to_driver=False,
            logging_level=logging.ERROR,
            job_config=OwnPaths(_py_driver_sys_path=paths),
            **options,
        )


def _explain_start(error: Exception) -> str:
    """Why ray.init could not start a cluster, and what to do."""
    text = " ".join(str(error).split()) or type(error).__name__
    folder = next((os.environ[name] for name in ("RAY_TMPDIR", "TMPDIR") if name in os.environ), "/tmp")
    _, is_too_long, path = text.partition("AF_UNIX path length cannot exceed ")
    if is_too_long:
        most, _, path = path.partition(" bytes: ")
        return (
            f"{path!r}, the name of a socket, has {len(os.fsencode(path))} bytes, of which {most} are possible; "
            f"set RAY_TMPDIR to a shorter path than {folder!r}, e.g. /tmp"
        )
    if isinstance(error, OSError):
        return f"{text}; it keeps its files in {folder!r}, and RAY_TMPDIR=FOLDER chooses another folder"
    return f"{text}; its logs are in {folder}/ray/session_latest/logs, and --local does without it"


def _check_address(address: str) -> None:
    """Raises ValueError within seconds if ray.init could not connect to `address`."""
    here = _clusters_here()
    got = repr(address)
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "")
        got = f"{address!r} (RAY_ADDRESS)"
        if not address and len(here) == 1:
            return
        if not address:
            found = f"several: {', '.join(sorted(here))}; choose one" if here else "none; `ray start` adds it to one"
            raise ValueError(f"{_ADDRESS}, but this machine is a node of {found}")
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
        raise ValueError(f"{_ADDRESS}, but what listens at {got} is not a Ray cluster; `ray start` prints its address")
    if not here:
        raise ValueError(f"{_ADDRESS}, but Ray is not running here; run `ray start --address={address}`")


def _clusters_here() -> set[str]:
    """The addresses of the clusters that this machine is a node of, found by its raylets, as ray does."""
    flag = "--gcs-address="
    raylets = (each.info for each in psutil.process_iter(["name", "cmdline"]) if each.info["name"] == "raylet")
    return {part.removeprefix(flag) for each in raylets for part in each["cmdline"] or () if part.startswith(flag)}


def _speaks_http2(connection: socket.socket) -> bool:
    """Whether the other side is gRPC: it answers a preface and empty settings (RFC 9113, 3.4) with its own settings."""
    settings = b"\x04"
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + settings + bytes(5))
    return connection.recv(9)[3:4] == settings


def _explain_refusal(error: Exception) -> str:
    """Why the cluster that answers refuses the connection, and what to do."""
    text = f"{error} {error.__cause__ or ''}"
    if "authentication token" in text.lower():
        return "requires a token: set RAY_AUTH_MODE=token and copy the head's ~/.ray/auth_token here (docs/cluster.md)"
    if "No node info" in text:
        return "has no node on this machine; `ray start --address` adds one"
    return f"refuses the connection: {' '.join(str(error).split())}"


@contextmanager
def unset_environment(names: Sequence[str]) -> Iterator[None]:
    """Removes environment variables while active."""
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)


@contextmanager
def set_environment(values: dict[str, str]) -> Iterator[None]:
    """Sets `values` as environment variables while active, except those that are set already."""
    new = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


def living_nodes() -> list[dict[str, Any]]:
    """The living nodes of the connected cluster, as ray describes them."""
    import ray

    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def node_resources(node: dict[str, Any]) -> Node:
    """The total resources of a node from `living_nodes`, used or not."""
    return Node(node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0))


def free_resources() -> dict[str, Node]:
    """What nobody uses of each living node, by its id; Ray learns of changes within a second."""
    import ray

    free = ray._private.state.available_resources_per_node()  # type: ignore[no-untyped-call]
    return {name: node_resources({"Resources": each}) for name, each in free.items()}

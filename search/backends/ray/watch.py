"""Ends the process when its cluster is gone: ray would wait for a minute or for ever, and end it without a word."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from search.interruption import end_now

CHECK_SECONDS = 1.0
# How many checks in a row must fail: an overloaded machine may miss one.
FAILED_CHECKS = 3
ANSWER_SECONDS = 3.0


@contextmanager
def watch_cluster() -> Iterator[None]:
    """Ends the process within seconds, with its last words, if the connected cluster dies while active."""
    parts = _find_parts()
    ended = threading.Event()
    watch = threading.Thread(target=_watch, args=(parts, ended), name="watch_cluster", daemon=True)
    watch.start()
    try:
        yield
    except BaseException:
        # It may come from ray, which has noticed first; and what follows calls ray.
        if problem := _find_lost_part(parts):
            _end(problem)
        raise
    finally:
        ended.set()
        watch.join()


def _find_parts() -> dict[str, str]:
    """The addresses of the processes without which nothing works."""
    import ray

    context = ray.get_runtime_context()
    own = context.get_node_id()
    node = next(node for node in ray.nodes() if node["NodeID"] == own)  # type: ignore[no-untyped-call]
    return {
        "its head": context.gcs_address,
        "its node on this machine": f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}",
    }


def _watch(parts: dict[str, str], ended: threading.Event) -> None:
    failed = 0
    while not ended.wait(CHECK_SECONDS):
        problem = _find_lost_part(parts)
        failed = failed + 1 if problem else 0
        if failed >= FAILED_CHECKS:
            _end(problem)


def _find_lost_part(parts: dict[str, str]) -> str:
    """Which of the processes does not answer; empty if all do."""
    for name, address in parts.items():
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
        except OSError as error:
            return f"{name} ({address}) does not answer: {error.strerror or error}"
    return ""


def _end(problem: str) -> None:
    # Nothing is unwound, since every call to ray may now hang or abort; all that counts is on disk. But the rest of a
    # cluster that was started here would go on for a minute, and its worker would still be training the dense network.
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    end_now(f"the Ray cluster is gone: {problem}")

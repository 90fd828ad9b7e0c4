"""Ends the process when its cluster is gone: ray would wait for a minute or for ever, and end it without a word."""

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait

from search.interruption import end_now

CHECK_SECONDS = 1.0
# How many checks in a row must fail: an overloaded machine may miss one.
FAILED_CHECKS = 3
ANSWER_SECONDS = 3.0


@dataclass(frozen=True)
class Part:
    """A process without which nothing works, by the address at which it listens; is_here: on this machine."""

    name: str
    address: str
    is_here: bool = False

    def connect(self) -> socket.socket:
        """Raises OSError if it does not answer."""
        host, _, port = self.address.rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS)

    def describe_loss(self, error: OSError) -> str:
        return f"the Ray cluster is gone: {self.name} ({self.address}) does not answer: {error.strerror or error}"


@contextmanager
def watch_cluster() -> Iterator[None]:
    """Ends the process within seconds, with its last words, if the connected cluster dies while active."""
    parts = _find_parts()
    stop, stopped = socket.socketpair()
    watch = threading.Thread(target=_watch, args=(parts, stopped), name="watch_cluster", daemon=True)
    watch.start()
    try:
        yield
    except BaseException:
        # It may come from ray, which has noticed first; and what follows calls ray.
        for part in parts:
            try:
                part.connect().close()
            except OSError as error:
                end_now(part.describe_loss(error))
        raise
    finally:
        stop.close()
        watch.join()
        stopped.close()


def _find_parts() -> list[Part]:
    import ray

    context = ray.get_runtime_context()
    own = context.get_node_id()
    node = next(node for node in ray.nodes() if node["NodeID"] == own)  # type: ignore[no-untyped-call]
    here = f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"
    return [Part("its head", context.gcs_address), Part("its node on this machine", here, is_here=True)]


def _watch(parts: Sequence[Part], stopped: socket.socket) -> None:
    """Connects to all parts every CHECK_SECONDS, and at once if a connection is closed, as it is when its part dies.

    Ray ends this process when it needs its node on this machine and finds it gone, which may take just milliseconds.
    """
    failed = 0
    closed: socket.socket | None = None
    while True:
        with ExitStack() as stack:
            connections, problem = list[socket.socket](), ""
            for part in parts:
                try:
                    connections.append(stack.enter_context(part.connect()))
                except OSError as error:
                    problem = part.describe_loss(error)
                    if part.is_here and isinstance(error, ConnectionRefusedError):
                        end_now(problem)  # nobody listens there any more
            failed = failed + 1 if problem else 0
            if failed >= FAILED_CHECKS:
                end_now(problem)
            # One that has just been closed although its part is alive might be closed again and again.
            closed = _wait_for_close([stopped] if closed or problem else [stopped, *connections])
            if closed is stopped:
                return


def _wait_for_close(connections: Sequence[socket.socket]) -> socket.socket | None:
    """Waits until one of the connections is closed and returns it, or None after CHECK_SECONDS."""
    end = time.monotonic() + CHECK_SECONDS
    while (left := end - time.monotonic()) > 0:
        for each in wait(connections, left):
            assert isinstance(each, socket.socket)
            try:
                if not each.recv(4096):
                    return each
            except OSError:
                return each
    return None

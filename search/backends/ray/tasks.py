"""Work on one node of a Ray cluster: a function as a task, and the training of the dense network."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from records.dense import DenseEpochRow, read_dense_rows
from search.backends.base import Node
from search.backends.ray.cluster import free_resources, living_nodes, node_resources
from search.backends.ray.waiting import WaitNotice
from search.settings import Settings
from search.setup.plan import format_resources
from trainable.data.dataset import Data
from trainable.errors import LostError

log = logging.getLogger("alphaprune")

# How often the training of the dense network is continued after its node or process was lost; as often as a trial is by
# default (search.max_preemptions).
DENSE_PREEMPTIONS = 20
# How often to look at what a task does.
LOOK_SECONDS = 0.5


def choose_best_node() -> dict[str, Any]:
    """The node to compute on alone: one with a GPU if possible, and of those the one with the most CPUs."""
    return max(living_nodes(), key=lambda node: (node_resources(node).gpus > 0, node_resources(node).cpus))


def run_on_best_node(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Calls `function` on the best node of the connected cluster, with one GPU if the node has any.

    Raises: what `function` raises; LostError if the node or the process is lost.
    """
    node = choose_best_node()
    task = start_task(function, node, *arguments, gpus=min(1, int(node_resources(node).gpus)), **keywords)
    return fetch_result(next(task))


def start_task(
    function: Callable[..., Any], node: dict[str, Any], *arguments: Any, cpus: int = 1, gpus: int = 0, **keywords: Any
) -> Iterator[Any]:
    """Calls `function` as a task on this node, once the CPUs and GPUs are free; says if it has to wait for them.

    Returns:
        What gives the task for `fetch_result`, as soon as it is done; `ray.wait` takes it, too.

    Raises:
        LostError: if the node or the process is lost before it has started.
    """
    import ray

    free = free_resources().get(node["NodeID"], Node(0, 0))
    task: Iterator[Any] = create_task(_tell_start, node, num_cpus=cpus, num_gpus=gpus).remote(
        function, *arguments, **keywords
    )
    notice = WaitNotice()
    while not ray.wait([task], timeout=LOOK_SECONDS)[0]:
        if free.cpus < cpus or free.gpus < gpus:  # otherwise it is only slow to start
            notice.update(f"{format_resources(cpus, gpus)} of node {node['NodeManagerHostname']}")
    notice.update("")
    fetch_result(next(task))
    return task


def _tell_start(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Iterator[Any]:
    """Runs on the node: gives something at once, and then the result of the function."""
    yield None
    yield function(*arguments, **keywords)


def create_task(function: Callable[..., Any], node: dict[str, Any], **options: Any) -> Any:
    """`function` as a task that runs on this node only and fails at once if the node is lost."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    return ray.remote(function).options(scheduling_strategy=there, max_retries=0, **options)


def fetch_result(task: Any) -> Any:
    """What a task returned; raises what the task raised, or LostError if its process is gone."""
    import ray

    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        raise LostError(f"its process or its node was lost: {str(error).splitlines()[0]}") from error


def train_dense_remotely(
    settings: Settings, data: Data, folder: Path, on_epoch: Callable[[DenseEpochRow], None]
) -> None:
    """Trains the dense network on the best node of the connected cluster; reads its rows from its records.

    It gets a GPU if there is one, otherwise all CPUs of its node, and waits until they are free. If its node is lost
    or its process dies, it continues from its checkpoint on the node that is best then, up to DENSE_PREEMPTIONS times.

    Raises: what train_dense raises there; LostError if it is lost once more.
    """
    import ray

    shared = ray.put(data)
    for preemptions in range(DENSE_PREEMPTIONS + 1):
        try:
            _continue_dense(settings, shared, folder.resolve(), on_epoch)
            return
        except LostError as error:
            if preemptions == DENSE_PREEMPTIONS:
                raise LostError(
                    f"the training of the dense network was lost {preemptions + 1} times; the last time, {error}"
                ) from error
            log.info("the dense network continues from its last checkpoint: %s", error)


def _continue_dense(settings: Settings, data: Any, folder: Path, on_epoch: Callable[[DenseEpochRow], None]) -> None:
    """One attempt of train_dense_remotely, which passes `data` as an object of the cluster."""
    import ray

    rows = read_dense_rows(folder)
    node = choose_best_node()
    cpus, gpus = node_resources(node)
    threads = 1 if gpus else max(1, int(cpus))
    task = start_task(_train_dense, node, settings, data, str(folder), threads, cpus=threads, gpus=min(1, int(gpus)))
    done: list[Any] = []
    while not done:
        done, _ = ray.wait([task], timeout=LOOK_SECONDS)
        seen = len(rows)  # it continues from a checkpoint, so there may be fewer now
        rows = read_dense_rows(folder)
        for row in rows[seen:]:
            on_epoch(row)
    fetch_result(next(task))


def _train_dense(settings: Settings, data: Data, folder: str, threads: int) -> None:
    from trainable.dense import train_dense

    train_dense(settings.dense, data, Path(folder), threads=threads, network=settings.network)

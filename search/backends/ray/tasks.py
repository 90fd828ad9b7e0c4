"""Work on one node of a Ray cluster: a function as a task, and the training of the dense network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from records.dense import DenseEpochRow, read_dense_rows
from search.backends.ray.cluster import living_nodes, node_resources
from trainable.config import DenseConfig
from trainable.data.dataset import Data
from trainable.errors import LostError

# How many times the training of the dense network is started or continued before giving up.
DENSE_ATTEMPTS = 3


def choose_best_node() -> dict[str, Any]:
    """The node to compute on alone: one with a GPU if possible, and of those the one with the most CPUs."""
    return max(living_nodes(), key=lambda node: (node_resources(node).gpus > 0, node_resources(node).cpus))


def run_on_best_node(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Calls `function` on the best node of the connected cluster, with one GPU if the node has any.

    Raises: what `function` raises; LostError if the node or the process is lost.
    """
    node = choose_best_node()
    return fetch_result(
        create_task(function, node, num_gpus=min(1, int(node_resources(node).gpus))).remote(*arguments, **keywords)
    )


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
    config: DenseConfig, data: Data, folder: Path, on_epoch: Callable[[DenseEpochRow], None]
) -> None:
    """Trains the dense network on the best node of the connected cluster; reads its rows from its records.

    It gets a GPU if there is one, otherwise all CPUs of its node, and waits until they are free. If its node is lost
    or its process dies, it continues from its checkpoint on the node that is best then, in DENSE_ATTEMPTS attempts.

    Raises: what train_dense raises there; LostError if the last attempt was lost, too.
    """
    import ray

    shared = ray.put(data)
    rows = read_dense_rows(folder)
    for attempt in range(1, DENSE_ATTEMPTS + 1):
        node = choose_best_node()
        cpus, gpus = node_resources(node)
        threads = 1 if gpus else max(1, int(cpus))
        task = create_task(_train_dense, node, num_cpus=threads, num_gpus=min(1, int(gpus)))
        running = task.remote(config, shared, str(folder.resolve()), threads)
        done: list[Any] = []
        while not done:
            done, _ = ray.wait([running], timeout=0.5)
            seen = len(rows)  # a new attempt continues from a checkpoint, so there may be fewer now
            rows = read_dense_rows(folder)
            for row in rows[seen:]:
                on_epoch(row)
        try:
            fetch_result(running)
            return
        except LostError as error:
            if attempt == DENSE_ATTEMPTS:
                raise LostError(
                    f"the dense network could not be trained in {DENSE_ATTEMPTS} attempts; in the last, {error}"
                ) from error


def _train_dense(config: DenseConfig, data: Data, folder: str, threads: int) -> None:
    from trainable.dense import train_dense

    train_dense(config, data, Path(folder), threads=threads)

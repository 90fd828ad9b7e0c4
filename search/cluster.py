"""The Ray cluster of a search: connected to or started, and asked whether it can do what is wanted."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.settings import Resources
from trainable.config import DenseConfig
from trainable.data import Data
from trainable.records import read_rows

# Four trials of a full-width VGG16 fit a GPU of 16 GB.
DEFAULT_GPUS_PER_TRIAL = 0.25


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

    Raises:
        ValueError: if there is no cluster at the address.
    """
    # Read by ray: plain output, no logger files, no usage report; with 0 GPUs asked, a trial is to see none.
    for name, value in {
        "RAY_AIR_NEW_OUTPUT": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
        "TUNE_RESULT_BUFFER_LENGTH": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    }.items():
        os.environ.setdefault(name, value)
    import ray

    try:
        ray.init(
            address=address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=True,
            include_dashboard=False if address is None else None,
        )
    except ConnectionError as error:
        raise ValueError(f"--address must be that of a running Ray cluster, but {address!r} does not answer") from error
    try:
        yield
    finally:
        ray.shutdown()


def share(resources: Resources) -> Share:
    """What each trial of a search gets of the connected cluster.

    Raises:
        ValueError: if no node of the cluster can run even one trial, saying what it has.
    """
    return share_of(nodes(), resources)


def nodes() -> list[tuple[float, float]]:
    """The living nodes of the connected cluster, each as (CPUs, GPUs)."""
    import ray

    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    return [(node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in alive]


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
    if cpus > most_cpus:
        raise ValueError(
            f"resources.cpus_per_trial must be what a node of the cluster has, at most {most_cpus:g}, but got {cpus}"
        )
    fits = _held(having, cpus, gpus)
    return Share(cpus, gpus, min(fits, resources.concurrency or fits), resources.concurrency)


def capacity(share: Share) -> int:
    """How many trials the living nodes of the connected cluster hold now, at most `share.most`."""
    fits = _held(nodes(), share.cpus, share.gpus)
    return min(fits, share.most or fits)


def _held(having: list[tuple[float, float]], cpus: int, gpus: float) -> int:
    return sum(min(int(node_cpus // cpus), _packed(node_gpus, gpus)) for node_cpus, node_gpus in having)


def _packed(node_gpus: float, gpus: float) -> int:
    """Trials that a node's GPUs hold; a fraction never spans two GPUs."""
    if gpus == 0:
        return 10**6
    return int(node_gpus) * int(1 / gpus + 1e-9) if gpus <= 1 else int(node_gpus // gpus)


def train_dense_remotely(
    config: DenseConfig, data: Data, folder: Path, on_epoch: Callable[[dict[str, Any]], None]
) -> None:
    """Trains the dense network on the best node of the connected cluster; the rows are read from its records."""
    import ray

    gpus, cpus = max((gpus, cpus) for cpus, gpus in nodes())
    task = ray.remote(_train_dense).options(num_cpus=int(cpus), num_gpus=min(1, int(gpus)))
    running = task.remote(config, ray.put(data), str(folder), int(cpus))
    seen = 0
    done: list[Any] = []
    while not done:
        done, _ = ray.wait([running], timeout=0.5)
        rows = read_rows(folder / "epochs.jsonl")
        for row in rows[seen:]:
            on_epoch(row)
        seen = max(seen, len(rows))
    ray.get(running)


def _train_dense(config: DenseConfig, data: Data, folder: str, threads: int) -> None:
    from trainable.dense import train_dense

    train_dense(config, data, Path(folder), threads=threads)

"""A Ray cluster as the backend of a search."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path

import torch

from records.dense import DenseEpochRow
from search.backends.base import MeasureNetwork, Node, SearchRun, TrialResources
from search.backends.ray.cluster import connect
from search.backends.ray.resources import cluster_nodes, divide_nodes
from search.backends.ray.storage_check import check_storage
from search.backends.ray.tasks import run_on_best_node, train_dense_remotely
from search.settings import ResourceSettings, Settings
from trainable.cpus import count_cpus
from trainable.data.dataset import Data
from trainable.measurement.machine_lock import report_waiting
from trainable.measurement.protocol import measure_network


class RayBackend:
    """The cluster at `address`, or one that is started on this machine for the search and shut down afterwards."""

    # The driver's own, and the one in the object store, which the workers share.
    image_copies = 2

    def __init__(self, address: str | None = None) -> None:
        self.address = address

    def connect(self) -> AbstractContextManager[None]:
        return connect(self.address)

    def list_nodes(self) -> list[Node]:
        return cluster_nodes()

    def trial_resources(self, wanted: ResourceSettings) -> TrialResources:
        return divide_nodes(cluster_nodes(), wanted)

    def check_storage(self, storage: Path) -> None:
        if self.address is not None:  # a cluster that we started has only this machine
            storage.mkdir(parents=True, exist_ok=True)
            check_storage(storage)

    def train_dense(
        self, settings: Settings, data: Data, folder: Path, on_epoch: Callable[[DenseEpochRow], None]
    ) -> None:
        with report_waiting():
            train_dense_remotely(settings, data, folder, on_epoch)

    def run_trials(self, run: SearchRun) -> None:
        from search.backends.ray.tune_run import run_trials  # here, since it imports ray

        with report_waiting():
            run_trials(run, is_shared=self.address is not None)

    @contextmanager
    def open_measurement(self) -> Iterator[MeasureNetwork]:
        """On the best node of the cluster; without an address, on this machine and without a cluster."""
        if self.address is None:
            yield measure_network
        else:
            with connect(self.address):
                yield partial(run_on_best_node, measure_network)


class UnstartedCluster(RayBackend):
    """The cluster that RayBackend would start on this machine, for a plan; nothing is started."""

    def connect(self) -> AbstractContextManager[None]:
        return nullcontext()

    def list_nodes(self) -> list[Node]:
        return [Node(float(count_cpus()), float(torch.cuda.device_count()))]

    def trial_resources(self, wanted: ResourceSettings) -> TrialResources:
        return divide_nodes(self.list_nodes(), wanted)

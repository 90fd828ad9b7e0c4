"""Where an experiment runs: the interface that the search needs from any backend."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from records.dense import DenseEpochRow
from records.experiment import ExperimentFolder
from records.measurement import Measurement
from search.observers.observer import SearchObserver
from search.sampling.early_stopping import SuccessiveHalving
from search.sampling.trial_source import TrialSource
from search.settings import ResourceSettings, Settings
from trainable.data.dataset import Data


class Node(NamedTuple):
    """A machine and what it has; fractions of a CPU exist on clusters."""

    cpus: float
    gpus: float


@dataclass(frozen=True)
class TrialResources:
    """What each trial gets, and how many run at once: as many as fit on the nodes, at most `most`."""

    cpus: int
    gpus: float
    concurrency: int
    most: int | None = None


@dataclass(frozen=True)
class SearchRun:
    """Everything needed to run the trials of a search."""

    source: TrialSource
    stopping: SuccessiveHalving
    folder: ExperimentFolder
    settings: Settings
    data: Data
    resources: TrialResources
    observer: SearchObserver


# Measures a network: trainable.measurement.protocol.measure_network, on this machine or another.
MeasureNetwork = Callable[..., Measurement]


class Backend(Protocol):
    """Runs trials, the dense network's training and measurements."""

    @property
    def address(self) -> str | None:
        """Of a cluster that outlives the search, for the command that resumes it; None for any other backend."""

    @property
    def image_copies(self) -> int:
        """How many copies of the images this machine holds in its memory."""

    def connect(self) -> AbstractContextManager[None]:
        """Context for the methods below except open_measurement; raises ValueError if the connection fails."""

    def list_nodes(self) -> list[Node]:
        """The machines available now."""

    def trial_resources(self, wanted: ResourceSettings) -> TrialResources:
        """What each trial gets; raises ValueError if no node can run even one."""

    def check_storage(self, storage: Path) -> None:
        """Raises ValueError unless all nodes see `storage` as this process does."""

    def train_dense(
        self, settings: Settings, data: Data, folder: Path, on_epoch: Callable[[DenseEpochRow], None]
    ) -> None:
        """Trains the dense network of `settings` into `folder`, as trainable.dense.train_dense does."""

    def run_trials(self, run: SearchRun) -> None:
        """Runs the trials that `run.source` hands out until none are left, and tells it when each has ended."""

    def open_measurement(self) -> AbstractContextManager[MeasureNetwork]:
        """Context in which networks can be measured; it makes its own connection."""

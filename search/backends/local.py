"""The backend without a cluster: one trial after another in this process, for debugging and tests."""

import logging
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch

from records.dense import DenseEpochRow
from records.files import is_misplaced
from records.trial import FencedError, TrialRecord, UnusableError
from search.backends.base import MeasureNetwork, Node, SearchRun, TrialResources
from search.interruption import interrupt_on_full_disk
from search.settings import ResourceSettings, Settings
from trainable.cpus import count_cpus
from trainable.data.dataset import Data
from trainable.dense import DenseNetwork, load_dense, train_dense
from trainable.measurement.protocol import measure_network
from trainable.recorded_trial import RecordedTrial, stop_trial

log = logging.getLogger("alphaprune")


class LocalBackend:
    """Runs everything in this process: trials on the GPU if there is one, else on as many CPUs as each should have."""

    address = None
    image_copies = 1

    def connect(self) -> nullcontext[None]:
        return nullcontext()

    def list_nodes(self) -> list[Node]:
        return [Node(float(count_cpus()), float(torch.cuda.device_count()))]

    def trial_resources(self, wanted: ResourceSettings) -> TrialResources:
        if wanted.gpus_per_trial == 0 and torch.cuda.is_available():
            raise ValueError(
                "gpus_per_trial must not be 0 with --local, where all trials run in one process that sees the GPU; "
                "hide it with CUDA_VISIBLE_DEVICES="
            )
        return TrialResources(wanted.cpus_per_trial, float(torch.cuda.is_available()), 1)

    def check_storage(self, storage: Path) -> None:
        pass  # this machine is the only node

    def train_dense(
        self, settings: Settings, data: Data, folder: Path, on_epoch: Callable[[DenseEpochRow], None]
    ) -> None:
        train_dense(settings.dense, data, folder, threads=count_cpus(), network=settings.network, on_epoch=on_epoch)

    def run_trials(self, run: SearchRun) -> None:
        dense = load_dense(run.folder.dense_path)
        with interrupt_on_full_disk():
            while (record := run.source.next_trial()) is not None:
                run_trial(record, run, dense)
                run.source.tell_end(record.number)

    def open_measurement(self) -> nullcontext[MeasureNetwork]:
        return nullcontext(measure_network)


def run_trial(record: TrialRecord, run: SearchRun, dense: DenseNetwork) -> None:
    """Runs one trial until it has ended; after a crash it is retried, as often as on a cluster."""
    files, search = run.folder.trial_folder(record.number), run.settings.search
    keep, attempts = search.keep_at_alpha, search.max_failures + 1
    for attempt in range(1, attempts + 1):
        trial = None  # what a crashed one holds is freed before it is built again
        try:
            trial = RecordedTrial(
                files,
                run.data,
                dense,
                threads=run.resources.cpus,
                keep_at_alpha=keep,
                checkpoint_seconds=search.checkpoint_seconds,
            )
            while not trial.is_finished:
                row = trial.run_epoch()
                run.observer.epoch_done(record.number, row)
                if record.kind == "searched" and not run.stopping.should_continue(record.number, row):
                    stop_trial(files, keep)
                    break
            return
        except FencedError:
            raise  # another driver
        except UnusableError as error:
            log.warning("%s; the trial is left alone", error)
            return
        except Exception as error:
            if isinstance(error, OSError) and not is_misplaced(error):
                raise  # a problem with the storage, not with the trial
            try:
                if files.read_record().state == "failed":
                    return  # it would only fail again
                if attempt == attempts:
                    files.record_end("failed", f"{type(error).__name__}: {error}")
            except ValueError:
                return  # its record is damaged, so it cannot be continued

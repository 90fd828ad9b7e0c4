"""A trial that keeps its records: it continues from its newest intact checkpoint, or starts."""

import gc
import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import torch

from records.epoch import EpochRow
from records.files import remove_file
from records.trial import FencedError, TrialFolder
from trainable.checkpoints import CheckpointWriter, encode_state, read_checkpoint, write_content
from trainable.config import trial_config
from trainable.data.dataset import Data
from trainable.dense import DenseNetwork
from trainable.device import default_device, device_name
from trainable.errors import TrialError
from trainable.network.weights import save_network
from trainable.trial import Trial

T = TypeVar("T")

KEPT_CHECKPOINTS = 2
LESS_MEMORY = (
    "`alphaprune resume NAME --retry-failed --gpus-per-trial F` gives it more of a GPU; a search with a lower "
    "trial.optimizer.batch_size or dense.width needs less"
)


class RecordedTrial:
    """Runs the trial of a folder. First start, restart after a crash and resume take the same path: the constructor.

    Attributes:
        folder: the trial's files.
    """

    def __init__(
        self,
        folder: TrialFolder,
        data: Data,
        dense: DenseNetwork,
        *,
        threads: int = 1,
        keep_at_alpha: Sequence[float] = (),
        checkpoint_seconds: float = 0.0,
    ) -> None:
        """Starts the next attempt at the trial that `folder` records, from its newest intact checkpoint.

        Args:
            folder: holds the trial.json, written by whoever asked for the trial.
            data, dense, threads: as in Trial.
            keep_at_alpha: for each of these alphas, the checkpoint of the first epoch at or below it is kept for good.
            checkpoint_seconds: after an epoch, a checkpoint is written if the newest one is at least this old.

        Raises:
            ValueError: if the channels cannot be cut that far; the trial is recorded as failed.
            FencedError: if the trial has ended.
            TrialError, Exception: as in run_epoch.
        """
        self.folder, self._data, self._dense = folder, data, dense
        self._threads, self._keep, self._checkpoint_seconds = threads, keep_at_alpha, checkpoint_seconds
        self._checkpointed = time.monotonic()
        self._writer = CheckpointWriter(beside_training=default_device().type == "cuda")
        self._record = folder.begin_attempt(f"{socket.gethostname()}:{os.getpid()}", device_name(default_device()))
        self._freed = False
        self._trial: Trial | None = None
        self._record_errors(self._get_trial)

    @property
    def trial(self) -> Trial:
        assert self._trial is not None
        return self._trial

    @property
    def is_finished(self) -> bool:
        return self.trial.is_finished

    def run_epoch(self) -> EpochRow:
        """Runs one epoch, records it, and returns its row.

        On CUDA a checkpoint is written while the next epoch trains. What that raises is raised by the call after it.

        Raises:
            TrialError: if a loss is no longer finite, or the GPU is out of memory even after memory was freed and the
                epoch retried; the trial is recorded as failed.
            FencedError: if another process has the trial now; nothing was written.
            Exception: anything else is noted in the record, and whoever runs the trial decides whether to try again.
        """
        self._writer.raise_error()
        row = self._record_errors(lambda: self._get_trial().run_epoch())
        self._record_epoch(row)
        return row

    def _record_errors(self, work: Callable[[], T]) -> T:
        """The result of `work`; what it raises is recorded, as run_epoch says."""
        try:
            return work()
        except TrialError as error:
            self._record_failure(str(error))
            raise
        except torch.OutOfMemoryError as error:
            where = "at its start" if self._trial is None else f"epoch {self._trial.epoch + 1}"
            short = f"{where}: out of GPU memory: {error}"
        except Exception as error:
            # Unless the trial is already recorded as failed, or belongs to another process now.
            with suppress(FencedError), self.folder.hold_fence(self._record.attempt) as record:
                self.folder.write_record(replace(record, error=f"{type(error).__name__}: {error}"))
            raise
        # Out here the error is gone, and with its traceback whatever held the tensors, so that they can be freed.
        if self._freed:
            self._record_failure(f"{short}; {LESS_MEMORY}")
            raise TrialError(f"{short}; {LESS_MEMORY}")
        self._freed, self._trial = True, None
        gc.collect()
        torch.cuda.empty_cache()
        return self._record_errors(work)

    def _get_trial(self) -> Trial:
        if self._trial is None:
            self._trial = self._restore_trial()
        return self._trial

    def _restore_trial(self) -> Trial:
        """The trial as of its newest intact checkpoint, to which the rows are cut back."""
        folder, attempt = self.folder, self._record.attempt
        problems = []
        self._writer.wait()  # after running out of memory there may be a checkpoint that is not yet complete
        try:
            config = trial_config(self._record.config)
            trial = Trial(config, self._data, self._dense, threads=self._threads)
            for checkpoint in folder.list_checkpoints():
                try:
                    state = read_checkpoint(checkpoint, trial.device)
                    # Except the one that a branch starts from, which is its parent's.
                    if state["epoch"] != len(config.begun) and trial_config(state["config"]) != config:
                        raise ValueError(f"{checkpoint} has a different configuration from the trial's record")
                    trial.load_state_dict(state)
                    break
                except ValueError as error:
                    problems.append(f"attempt {attempt} started further back, because {error}")
            if trial.epoch < len(config.begun):
                raise ValueError(f"the checkpoint that it branches from is missing: {'; '.join(problems) or 'no file'}")
        except ValueError as error:
            self._record_failure(str(error))
            raise
        with folder.hold_fence(attempt) as record:
            folder.replace_rows(trial.rows)
            if problems or trial.cut != record.cut:
                folder.write_record(replace(record, cut=trial.cut, problems=[*record.problems, *problems]))
            for checkpoint in folder.list_checkpoints():
                # A damaged one, which would count as newer than those to come.
                if folder.checkpoint_epoch(checkpoint) > trial.epoch:
                    remove_file(checkpoint)
            folder.remove_unfinished()
        return trial

    def _record_epoch(self, row: EpochRow) -> None:
        trial, folder, attempt = self.trial, self.folder, self._record.attempt
        with folder.hold_fence(attempt) as record:
            if trial.cut != record.cut:
                folder.write_record(replace(record, cut=trial.cut))
            # The row comes first: a checkpoint holds all rows up to it, so a row that a crash leaves over is cut back.
            folder.append_row(row)
        if self._is_checkpoint_due():
            self._writer.write(trial.state_dict(), partial(self._write_checkpoint, trial.epoch, list(trial.rows)))
            self._checkpointed = time.monotonic()
        if trial.is_finished or self._is_kept():
            self._writer.wait()
        if trial.is_finished:
            with folder.hold_fence(attempt) as record:
                assert trial.cut is not None
                save_network(
                    trial.network,
                    folder.model_path,
                    self._dense.architecture,
                    trial.cut.widths,
                    mean=self._data.mean,
                    std=self._data.std,
                )
                folder.end(record, "complete", record.error)
                # A crash before this leaves checkpoints of a trial that has ended; the next start removes them.
                drop_checkpoints(folder, trial.rows, self._keep, newest=0)

    def _write_checkpoint(self, epoch: int, rows: Sequence[EpochRow], state: dict[str, Any]) -> None:
        """Writes the checkpoint of an epoch, and removes those that it replaces. A thread may call it."""
        content = encode_state(state)
        with self.folder.hold_fence(self._record.attempt):
            write_content(self.folder.checkpoint_path(epoch), content)
            drop_checkpoints(self.folder, rows, self._keep, newest=KEPT_CHECKPOINTS)

    def _is_kept(self) -> bool:
        """Whether the checkpoint of the epoch that was just run is kept for good."""
        return self.trial.epoch in kept_epochs(self.trial.rows, self._keep)

    def _is_checkpoint_due(self) -> bool:
        if self._is_kept():
            return True
        return not self.trial.is_finished and time.monotonic() - self._checkpointed >= self._checkpoint_seconds

    def _record_failure(self, error: str) -> None:
        with self.folder.hold_fence(self._record.attempt) as record:
            self.folder.end(record, "failed", error)


def stop_trial(folder: TrialFolder, keep_at_alpha: Sequence[float] = ()) -> None:
    """Records that the driver stopped the trial, and removes its checkpoints except those to be kept."""
    folder.record_end("stopped")
    drop_checkpoints(folder, folder.read_rows(), keep_at_alpha, newest=0)


def kept_epochs(rows: Sequence[EpochRow], keep_at_alpha: Sequence[float]) -> set[int]:
    """The epochs whose checkpoints are kept: for each of the alphas, the first at or below it."""
    first = (next((row.epoch for row in rows if row.alpha <= alpha), None) for alpha in keep_at_alpha)
    return {epoch for epoch in first if epoch is not None}


def drop_checkpoints(
    folder: TrialFolder, rows: Sequence[EpochRow], keep_at_alpha: Sequence[float], *, newest: int
) -> None:
    """Removes all checkpoints except the `newest` newest and those to be kept."""
    kept = kept_epochs(rows, keep_at_alpha)
    for checkpoint in folder.list_checkpoints()[newest:]:
        if folder.checkpoint_epoch(checkpoint) not in kept:
            remove_file(checkpoint)

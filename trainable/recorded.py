"""A trial that keeps its records: it goes on from its newest whole checkpoint, or starts."""

import os
import socket
from dataclasses import replace
from typing import Any

import torch

from trainable.config import trial_config
from trainable.data import Data
from trainable.dense import Dense, device_name
from trainable.records import TrialFolder, append_row, now, replace_file, replace_rows
from trainable.training import DivergedError
from trainable.trial import Trial
from trainable.weights import save_network

KEPT_CHECKPOINTS = 2


class RecordedTrial:
    """Runs the trial of a folder. First start, restart after a crash and resume are one path: the constructor."""

    def __init__(self, folder: TrialFolder, data: Data, dense: Dense, *, threads: int = 1) -> None:
        """Takes up the trial that `folder` records, behind its newest whole checkpoint.

        Args:
            folder: holds the trial.json that whoever asked for the trial wrote.
            data, dense, threads: as in Trial.

        Raises:
            ValueError: if the channels cannot be cut that far; the trial is recorded as failed.
        """
        self._folder, self._data = folder, data
        record = folder.read()
        try:
            self.trial = Trial(trial_config(record.config), data, dense, threads=threads)
        except ValueError as error:
            folder.end("failed", str(error))
            raise
        self._record = replace(
            record,
            state="running",
            attempt=record.attempt + 1,
            host=f"{socket.gethostname()}:{os.getpid()}",
            device=device_name(self.trial.device),
            error=None,
            started=record.started or now(),
            finished=None,
        )
        self._resume()
        self._record = replace(self._record, cut=self.trial.cut)
        folder.write(self._record)

    @property
    def finished(self) -> bool:
        return self.trial.finished

    def step(self) -> dict[str, Any]:
        """Runs one epoch, records it, and returns its row.

        Raises:
            DivergedError: if a loss is no longer finite; the trial is recorded as failed.
            Exception: anything else is noted in the record, and whoever runs the trial decides whether to try again.
        """
        trial, folder = self.trial, self._folder
        try:
            row = trial.run_epoch()
        except DivergedError as error:
            folder.end("failed", str(error))
            raise
        except Exception as error:
            folder.write(replace(self._record, error=f"{type(error).__name__}: {error}"))
            raise
        if trial.cut != self._record.cut:
            self._record = replace(self._record, cut=trial.cut)
            folder.write(self._record)
        # The row first: a checkpoint holds all rows up to it, so what a crash leaves too many is cut back by _resume.
        append_row(folder.rows_path, row)
        if trial.finished:
            save_network(trial.network, folder.model, mean=self._data.mean, std=self._data.std)
            folder.end("complete")
        else:
            state = trial.state_dict()
            replace_file(folder.checkpoint(trial.epoch), lambda file: torch.save(state, file))
            for old in folder.checkpoints()[KEPT_CHECKPOINTS:]:
                old.unlink(missing_ok=True)
        return row

    def _resume(self) -> None:
        for checkpoint in self._folder.checkpoints():
            try:
                state = torch.load(checkpoint, map_location=self.trial.device, weights_only=True)
            except Exception:  # torn: torch and pickle raise whatever the bytes lead them to; the older one serves
                continue
            self.trial.load_state_dict(state)
            break
        replace_rows(self._folder.rows_path, self.trial.rows)

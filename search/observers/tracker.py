"""What experiment trackers (MLflow, Weights & Biases) share: one run per trial, opened, fed and closed as it goes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from analysis.labels import label_record
from analysis.tables.configs import list_leaves
from records.epoch import METRICS, EpochRow
from records.experiment import ExperimentFolder
from records.trial import TrialRecord
from search.observers.observer import ExperimentEnd, SearchObserver, SearchStart, StudyResult
from search.snapshot import TrialSnapshot

Run = TypeVar("Run")
REPORT_NAME = "report.html"


class Tracker(SearchObserver, ABC, Generic[Run]):
    """Opens a run at a trial's first epoch, logs each epoch, and closes the run when the trial has ended.

    A trial that is resumed continues its run. What the tracker's package raises is left to GuardedCallback.
    """

    def __init__(self) -> None:
        self._folder: ExperimentFolder | None = None
        self._runs: dict[int, Run] = {}

    @property
    def folder(self) -> ExperimentFolder:
        """Of the experiment."""
        assert self._folder is not None, "the search has not started"
        return self._folder

    @abstractmethod
    def open_run(self, record: TrialRecord, label: str, params: Mapping[str, Any]) -> Run:
        """The trial's run, new or continued; params: the leaves of its configuration."""

    @abstractmethod
    def log_metrics(self, run: Run, metrics: Mapping[str, float], epoch: int) -> None:
        """Logs an epoch's metrics."""

    @abstractmethod
    def close_run(self, run: Run, state: str) -> None:
        """Closes the run; state: the trial's (records.trial.State), `running` if it was interrupted."""

    @abstractmethod
    def log_end(self, end: ExperimentEnd, report: Path | None) -> None:
        """Logs how the search ended, and its report; None if there is none."""

    def search_started(self, start: SearchStart) -> None:
        self._folder = start.folder

    def epoch_done(self, number: int, row: EpochRow) -> None:
        if number not in self._runs:
            record = self.folder.trial_folder(number).read_record()
            self._runs[number] = self.open_run(record, label_record(record), dict(list_leaves(record.config)))
        metrics = {name: value for name in METRICS if (value := getattr(row, name)) is not None}
        self.log_metrics(self._runs[number], metrics, row.epoch)

    def trial_ended(self, number: int, trial: TrialSnapshot | None, result: StudyResult | None) -> None:
        if number in self._runs:
            self.close_run(self._runs.pop(number), "failed" if trial is None else trial.record.state)

    def search_ended(self) -> None:
        while self._runs:
            self.close_run(self._runs.popitem()[1], "running")

    def experiment_ended(self, end: ExperimentEnd) -> None:
        report = end.folder.path / REPORT_NAME
        self.log_end(end, report if end.state == "finished" and report.is_file() else None)

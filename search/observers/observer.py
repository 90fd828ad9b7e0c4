"""What observes a search: it is told about everything that happens, and has no influence on it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import optuna
from optuna.trial import FrozenTrial, TrialState

from records.dense import DenseEpochRow
from records.epoch import EpochRow
from records.experiment import ExperimentFolder
from search.estimate import Workload
from search.snapshot import Snapshot, TrialSnapshot

log = logging.getLogger("alphaprune")

EndState = Literal["finished", "interrupted", "failed"]


@dataclass(frozen=True)
class SearchStart:
    """What a search starts with.

    study: of the recorded trials. snapshot: of the records. planned: total number of trials, including controls,
    branches, repeats and twins. dense_epochs: of the whole training of the dense network, 0 if it has been trained.
    folder: of the experiment. workload: what there is to do, for estimates of the time; None where nobody needs them.
    """

    study: optuna.Study
    snapshot: Snapshot
    planned: int
    dense_epochs: int
    folder: ExperimentFolder
    workload: Workload | None = None


@dataclass(frozen=True)
class StudyResult:
    """How the study's trial `number` ended; values: of the objectives; None unless it is complete."""

    number: int
    state: TrialState
    values: list[float] | None


@dataclass(frozen=True)
class ExperimentEnd:
    """How a search that had started ended.

    folder: of the experiment, with its report if it finished and the settings want one. summary: one line.
    """

    folder: ExperimentFolder
    state: EndState
    summary: str


class SearchObserver:
    """Base class of the observers and callbacks, which override what they need.

    All calls are in the thread that runs the search, but the last two, `search_ended` and `experiment_ended`, come from
    another one if a signal ends the process.
    """

    def search_started(self, start: SearchStart) -> None:
        """Everything has been checked, and nothing is running yet. Called once more if the best are then confirmed."""

    def dense_epoch_done(self, row: DenseEpochRow) -> None:
        """An epoch of the dense network is done."""

    def trial_asked(self, trial: FrozenTrial) -> None:
        """The study suggested `trial`, and its record has been written."""

    def epoch_done(self, number: int, row: EpochRow) -> None:
        """An epoch of trial `number` is done."""

    def trial_ended(self, number: int, trial: TrialSnapshot | None, result: StudyResult | None) -> None:
        """Trial `number` ended.

        Args:
            number: of the trial.
            trial: as it is recorded; None if its record is damaged.
            result: what the study was told; None for trials that it did not suggest.
        """

    def room_changed(self, trials: int, waiting: int) -> None:
        """The cluster has room for `trials` now, and `waiting` others are interrupted; may repeat what is known."""

    def search_ended(self) -> None:
        """No trial is running any more: the search is done, was interrupted or failed. What has been found may still be
        measured.
        """

    def experiment_ended(self, end: ExperimentEnd) -> None:
        """The search has ended, and if it finished, the measurements and the report are done, too. Always the last
        call, unless the main thread still gets something done before an interrupted process ends. Not called if nothing
        had started, nor if the process is killed.
        """


class Observers(SearchObserver):
    """Several observers as one, told in turn."""

    def __init__(self, observers: Sequence[SearchObserver]) -> None:
        self._observers = observers

    def search_started(self, start: SearchStart) -> None:
        for observer in self._observers:
            observer.search_started(start)

    def dense_epoch_done(self, row: DenseEpochRow) -> None:
        for observer in self._observers:
            observer.dense_epoch_done(row)

    def trial_asked(self, trial: FrozenTrial) -> None:
        for observer in self._observers:
            observer.trial_asked(trial)

    def epoch_done(self, number: int, row: EpochRow) -> None:
        for observer in self._observers:
            observer.epoch_done(number, row)

    def trial_ended(self, number: int, trial: TrialSnapshot | None, result: StudyResult | None) -> None:
        for observer in self._observers:
            observer.trial_ended(number, trial, result)

    def room_changed(self, trials: int, waiting: int) -> None:
        for observer in self._observers:
            observer.room_changed(trials, waiting)

    def search_ended(self) -> None:
        for observer in self._observers:
            observer.search_ended()

    def experiment_ended(self, end: ExperimentEnd) -> None:
        for observer in self._observers:
            observer.experiment_ended(end)


class GuardedCallback(SearchObserver):
    """A user's callback: if it raises, that is logged, and it is not called again."""

    def __init__(self, callback: SearchObserver) -> None:
        self._callback: SearchObserver | None = callback

    def search_started(self, start: SearchStart) -> None:
        self._call("search_started", start)

    def dense_epoch_done(self, row: DenseEpochRow) -> None:
        self._call("dense_epoch_done", row)

    def trial_asked(self, trial: FrozenTrial) -> None:
        self._call("trial_asked", trial)

    def epoch_done(self, number: int, row: EpochRow) -> None:
        self._call("epoch_done", number, row)

    def trial_ended(self, number: int, trial: TrialSnapshot | None, result: StudyResult | None) -> None:
        self._call("trial_ended", number, trial, result)

    def room_changed(self, trials: int, waiting: int) -> None:
        self._call("room_changed", trials, waiting)

    def search_ended(self) -> None:
        self._call("search_ended")

    def experiment_ended(self, end: ExperimentEnd) -> None:
        self._call("experiment_ended", end)

    def _call(self, method: str, *arguments: object) -> None:
        if self._callback is None:
            return
        try:
            getattr(self._callback, method)(*arguments)
        except Exception as error:
            name = type(self._callback).__name__
            self._callback = None
            log.warning(
                "the callback %s is left out from now on: its %s raised %s: %s",
                name,
                method,
                type(error).__name__,
                " ".join(str(error).split()),
            )
            log.debug("where it was raised", exc_info=error)

"""An experiment from its settings to its measurements: everything is checked before anything starts."""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

from analysis.text import format_count
from records.driver import format_command
from records.experiment import FORMAT, ExperimentFolder
from records.trial import FencedError
from search.backends.base import Backend, SearchRun, TrialResources
from search.estimate import Workload
from search.followups.confirm import plan_confirmation
from search.followups.measure import TrialSelection, measure_trials, select_trials
from search.interruption import last_words
from search.observers.observer import Observers, SearchObserver, SearchStart
from search.observers.optuna_journal import OptunaJournal
from search.sampling.restore import restore_early_stopping
from search.sampling.suggestion import SpaceError, SpaceFunction
from search.sampling.trial_source import TrialSource
from search.settings import Settings, as_settings_json
from search.setup.cleanup import remove_leftovers
from search.setup.creation import NewTrial, add_trials, create_experiment
from search.setup.dense_source import find_dense_source, take_dense
from search.setup.driver_lock import Driver, create_takeover, drive
from search.setup.plan import announce_plan
from search.setup.validation import (
    check_settings,
    check_weights,
    locate_files,
    read_data,
    read_recorded_data,
    recorded_settings,
)
from search.setup.workload import add_to_workload, create_workload
from search.snapshot import Snapshot
from trainable.data.dataset import Data
from trainable.errors import TrialError
from trainable.function_import import user_folder_importable
from trainable.measurement.machine_lock import wait_at_most
from trainable.recorded_trial import stop_trial

log = logging.getLogger("alphaprune")


class HopelessError(TrialError):
    """All trials failed."""


def run(
    settings: Settings,
    folder: ExperimentFolder,
    backend: Backend,
    *,
    preset: str,
    options: Sequence[str] = (),
    observers: Sequence[SearchObserver] = (),
) -> None:
    """Runs a new experiment: the dense network, the controls, the search, the measurements.

    Args:
        settings: resolved.
        folder: from find_free_folder.
        backend: this process or a cluster.
        preset: the name that the user gave, for the record.
        options: that `resume` needs to continue it in the same place, for the record.
        observers: are told what happens.

    Raises:
        ValueError: if anything is wrong with settings, data or cluster; nothing has been started or written then.
        HopelessError: if all trials fail.
        SpaceError: if the space cannot be sampled any more.
        Interruption: if it has to stop early; `resume` continues it.
    """
    settings = locate_files(settings)
    with user_folder_importable(), wait_at_most(settings.resources.longest_wait_seconds), ExitStack() as stack:
        space = check_settings(settings)
        data = read_data(settings.data, copies=backend.image_copies)
        check_weights(settings, data.classes)
        with backend.connect():
            resources = backend.trial_resources(settings.resources)
            snapshot = Snapshot((), frozenset())
            search = _Search(settings, folder, backend, space, data, resources, observers)
            search.announce(snapshot)
            create_experiment(folder, settings, data, preset)
            driver = stack.enter_context(drive(folder, "resume", options))
            search.run(snapshot, driver)
        if settings.results.measure:
            _measure_selected(folder, backend, TrialSelection(), data, driver)


def resume(
    folder: ExperimentFolder,
    backend: Backend,
    *,
    trials: int | None = None,
    resources: Mapping[str, Any] = MappingProxyType({}),
    data: str | None = None,
    retry_failed: bool = False,
    new: Sequence[NewTrial] = (),
    options: Sequence[str] = (),
    observers: Sequence[SearchObserver] = (),
) -> None:
    """Continues an experiment from its records: interrupted, finished (`trials` extends it) or not yet started.

    Args:
        folder: of the experiment.
        backend: this process or a cluster; need not be what it was before.
        trials: new total number of trials, besides the controls; None to keep it.
        resources: fields of ResourceSettings that change from now on, by name.
        data: new location of the data; None if it has not moved.
        retry_failed: whether failed trials are run again, from their newest checkpoints.
        new: trials to add; they are recorded once everything else has been checked.
        options: as in run.
        observers: are told what happens.

    Raises: as run.
    """
    record = folder.read_record()
    before = recorded_settings(folder, record)
    settings = change_settings(before, folder.path.name, trials, resources)
    with user_folder_importable(), wait_at_most(settings.resources.longest_wait_seconds):
        space = check_settings(settings)
        loaded = read_recorded_data(folder, record, settings, data, copies=backend.image_copies)
        with drive(folder, "resume", options) as driver:
            with backend.connect():
                each = backend.trial_resources(settings.resources)
                search = _Search(settings, folder, backend, space, loaded, each, observers)
                snapshot = Snapshot.read(folder)
                # Looking for the dense network reads it, which announce does once more.
                if settings.dense.weights and find_dense_source(settings, folder, snapshot, loaded) is None:
                    check_weights(settings, loaded.classes)
                failed = [trial for trial in snapshot.trials if trial.record.state == "failed"] if retry_failed else []
                reopened = [replace(trial, record=replace(trial.record, state="running")) for trial in failed]
                search.announce(snapshot.updated([*reopened, *(trial.preview(folder) for trial in new)]))
                if settings != before or record.format != FORMAT:
                    folder.write_record(replace(record, settings=as_settings_json(settings), format=FORMAT))
                reopened = [replace(trial, record=trial.folder.reopen()) for trial in failed]
                snapshot = snapshot.updated([*reopened, *add_trials(folder, new)])
                search.run(snapshot, driver, retried={trial.number for trial in reopened})
            if settings.results.measure:
                _measure_selected(folder, backend, TrialSelection(), loaded, driver)


def change_settings(before: Settings, name: str, trials: int | None, resources: Mapping[str, Any]) -> Settings:
    """The settings with which experiment `name` continues; arguments as in resume, raises ValueError likewise."""
    planned = before.search.trials
    if trials is not None and trials < planned:
        raise ValueError(f"--trials must be at least the {planned} that {name!r} has, but got {trials}")
    return replace(
        before,
        search=replace(before.search, trials=planned if trials is None else trials),
        resources=replace(before.resources, **resources),
    )


def measure(
    folder: ExperimentFolder,
    backend: Backend,
    selection: TrialSelection,
    *,
    data: str | None,
    options: Sequence[str] = (),
) -> None:
    """Measures trials of an experiment, whether or not they have been measured before.

    Args:
        folder: of the experiment.
        backend: without an address, this machine measures, otherwise the best node of the cluster.
        selection: which trials.
        data: new location of the data; None if it has not moved.
        options: that the same command needs to continue it, for the record.

    Raises:
        ValueError: if the data cannot be read or has changed, no trial is complete, or another process runs it.
        TrialError: if none could be measured.
    """
    record = folder.read_record()
    settings = recorded_settings(folder, record)
    loaded = read_recorded_data(folder, record, settings, data)
    if not select_trials(folder, selection):
        raise ValueError(f"only complete trials can be measured, and {folder.path.name!r} has none")
    with wait_at_most(settings.resources.longest_wait_seconds), drive(folder, "measure", options) as driver:
        if not _measure_selected(folder, backend, selection, loaded, driver):
            raise TrialError("no trial could be measured")


def _measure_selected(
    folder: ExperimentFolder, backend: Backend, selection: TrialSelection, data: Data, driver: Driver
) -> int:
    numbers = select_trials(folder, selection)
    driver.update(to_measure=len(numbers))
    if not numbers:
        return 0
    log.info("measuring speed, memory and size of %s", format_count(len(numbers), "trial"))
    with backend.open_measurement() as measure_network:
        return measure_trials(
            folder, numbers, data.test, measure_network, on_measured=lambda count: driver.update(measured=count)
        )


@dataclass(frozen=True)
class _Search:
    """A search, ready to start: everything has been checked, and the backend is connected."""

    settings: Settings
    folder: ExperimentFolder
    backend: Backend
    space: SpaceFunction
    data: Data
    resources: TrialResources
    observers: Sequence[SearchObserver]

    def announce(self, snapshot: Snapshot) -> None:
        """Logs what is about to be done; snapshot: of the trials as they will be when it starts."""
        announce_plan(self.settings, self.folder, self.backend, self.data, self.resources, snapshot, self._workload)

    def run(self, snapshot: Snapshot, driver: Driver, *, retried: Collection[int] = ()) -> None:
        """Runs the trials that are left, then the repeats and twins of the best, if the settings want them."""
        driver.update(searched=False)
        self._run_trials(snapshot, retried)
        if self.settings.confirm.top:
            self._confirm(Snapshot.read(self.folder))
        driver.update(searched=True)

    def _confirm(self, snapshot: Snapshot) -> None:
        """Runs what is missing to confirm the best, if any trial is complete; snapshot: after the search."""
        wanted = self.settings.confirm
        if not any(trial.record.state == "complete" for trial in snapshot.trials):
            return
        planned = plan_confirmation(self.folder, top=wanted.top, seeds=wanted.seeds, snapshot=snapshot)
        if planned.records:
            log.info("%s", planned)
            self._run_trials(snapshot.updated(add_trials(self.folder, [NewTrial(each) for each in planned.records])))

    def _run_trials(self, snapshot: Snapshot, retried: Collection[int] = ()) -> None:
        """The one path of a first start, a resume and an extension: does what is left, according to the records."""
        settings, folder, data = self.settings, self.folder, self.data
        remove_leftovers(folder, snapshot, settings.search.keep_at_alpha)
        stopping, to_stop = restore_early_stopping(settings, snapshot, retried)
        for trial in to_stop:
            stop_trial(trial.folder, settings.search.keep_at_alpha)
            log.info("trial %d is stopped early: this had been decided when the search was interrupted", trial.number)
        snapshot = snapshot.updated(replace(trial, record=trial.folder.read_record()) for trial in to_stop)
        observer = Observers([OptunaJournal(folder, settings.search.objectives), *self.observers])
        source = TrialSource(folder, settings, self.space, snapshot, observer)
        dense = take_dense(settings, folder, snapshot, data)
        dense_epochs = 0 if dense else settings.dense.training_epochs
        workload = add_to_workload(self._workload, snapshot)
        try:
            with _report_defects(folder), last_words(lambda interruption: observer.search_ended()):
                observer.search_started(
                    SearchStart(source.study, snapshot, source.planned_trials, dense_epochs, folder, workload)
                )
                if dense is None:
                    self.backend.train_dense(settings, data, folder.dense_path, observer.dense_epoch_done)
                self.backend.run_trials(SearchRun(source, stopping, folder, settings, data, self.resources, observer))
        finally:
            observer.search_ended()
        if source.space_error is not None:
            raise SpaceError(
                f"{source.space_error} (once it is fixed, `{format_command(folder, 'resume')}` continues the search)"
            )
        if source.exhausted:
            log.warning("the space has no untried configuration left; the search ends here")
        if source.common_error is not None:
            raise HopelessError(
                f"all trials failed, so the search ends here: {source.common_error} "
                f"(`{format_command(folder, 'resume', ['--retry-failed'])}` tries them again)"
            )

    @cached_property
    def _workload(self) -> Workload:
        classes, images = self.data.classes, len(self.data.train.labels)
        return create_workload(
            self.settings,
            self.space,
            self.backend,
            self.resources,
            self.folder.path.parent,
            classes=classes,
            train_images=images,
        )


@contextmanager
def _report_defects(folder: ExperimentFolder) -> Iterator[None]:
    """Turns a ValueError, which would be refused as an invalid request, into the RuntimeError of a defect.

    A FencedError, which only another driver can cause here, ends the search.
    """
    try:
        yield
    except FencedError as error:
        raise create_takeover(folder, "another process") from error
    except ValueError as error:
        raise RuntimeError("internal error in the search") from error

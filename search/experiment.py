"""An experiment from its settings to its measurements: everything is checked before anything starts."""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from records.dense import FILE_NAME as DENSE_NAME
from records.experiment import FORMAT, ExperimentFolder
from search.backends.base import Backend, SearchRun, TrialResources
from search.followups.measure import TrialSelection, measure_trials, select_trials
from search.observers.observer import Observers, SearchObserver, SearchStart
from search.observers.optuna_journal import OptunaJournal
from search.sampling.restore import restore_early_stopping
from search.sampling.suggestion import SpaceError, SpaceFunction
from search.sampling.trial_source import TrialSource
from search.settings import Settings, as_settings_json
from search.setup.cleanup import remove_leftovers
from search.setup.creation import NewTrial, add_trials, create_experiment
from search.setup.driver_lock import hold_driver_lock
from search.setup.plan import check_disk, plan_search
from search.setup.validation import check_settings, read_data, read_recorded_data, recorded_settings
from search.snapshot import Snapshot
from spaces.space import current_folder_importable
from trainable.data.dataset import Data
from trainable.data.sources import locate_source
from trainable.dense import copy_dense, dense_hash, find_dense, load_dense
from trainable.errors import TrialError
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
    observers: Sequence[SearchObserver] = (),
) -> None:
    """Runs a new experiment: the dense network, the controls, the search, the measurements.

    Args:
        settings: resolved.
        folder: from find_free_folder.
        backend: this process or a cluster.
        preset: the name that the user gave, for the record.
        observers: are told what happens.

    Raises:
        ValueError: if anything is wrong with settings, data or cluster; nothing has been started or written then.
        HopelessError: if all trials fail.
        SpaceError: if the space cannot be sampled any more.
        Interruption: if it has to stop early; `resume` continues it.
    """
    settings = replace(settings, data=replace(settings.data, source=locate_source(settings.data.source)))
    with current_folder_importable():
        space = check_settings(settings)
        data = read_data(settings.data)
        with backend.connect():
            resources = backend.trial_resources(settings.resources)
            snapshot = Snapshot((), frozenset())
            _announce_plan(settings, folder, backend, data, resources, snapshot)
            create_experiment(folder, settings, data, preset)
            with hold_driver_lock(folder):
                _run_search(settings, folder, backend, space, data, resources, snapshot, observers)
    if settings.results.measure:
        _measure_selected(folder, backend, TrialSelection(), data)


def resume(
    folder: ExperimentFolder,
    backend: Backend,
    *,
    trials: int | None = None,
    resources: Mapping[str, Any] = MappingProxyType({}),
    data: str | None = None,
    retry_failed: bool = False,
    new: Sequence[NewTrial] = (),
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
        observers: are told what happens.

    Raises: as run.
    """
    record = folder.read_record()
    before = recorded_settings(folder, record)
    planned = before.search.trials
    if trials is not None and trials < planned:
        raise ValueError(f"--trials must be at least the {planned} that {folder.path.name!r} has, but got {trials}")
    settings = replace(
        before,
        search=replace(before.search, trials=planned if trials is None else trials),
        resources=replace(before.resources, **resources),
    )
    with current_folder_importable():
        space = check_settings(settings)
        loaded = read_recorded_data(folder, record, settings, data)
        with hold_driver_lock(folder), backend.connect():
            each = backend.trial_resources(settings.resources)
            snapshot = Snapshot.read(folder)
            failed = [trial for trial in snapshot.trials if trial.record.state == "failed"] if retry_failed else []
            _announce_plan(settings, folder, backend, loaded, each, snapshot, more=len(failed) + len(new))
            if settings != before or record.format != FORMAT:
                folder.write_record(replace(record, settings=as_settings_json(settings), format=FORMAT))
            reopened = [replace(trial, record=trial.folder.reopen()) for trial in failed]
            snapshot = snapshot.updated([*reopened, *add_trials(folder, new)])
            retried = {trial.number for trial in reopened}
            _run_search(settings, folder, backend, space, loaded, each, snapshot, observers, retried=retried)
    if settings.results.measure:
        _measure_selected(folder, backend, TrialSelection(), loaded)


def measure(folder: ExperimentFolder, backend: Backend, selection: TrialSelection, *, data: str | None) -> None:
    """Measures trials of an experiment, whether or not they have been measured before.

    Args:
        folder: of the experiment.
        backend: without an address, this machine measures, otherwise the best node of the cluster.
        selection: which trials.
        data: new location of the data; None if it has not moved.

    Raises:
        ValueError: if the data cannot be read or has changed, or no trial is complete.
        TrialError: if none could be measured.
    """
    record = folder.read_record()
    loaded = read_recorded_data(folder, record, recorded_settings(folder, record), data)
    if not select_trials(folder, selection):
        raise ValueError(f"only complete trials can be measured, and {folder.path.name!r} has none")
    if not _measure_selected(folder, backend, selection, loaded):
        raise TrialError("no trial could be measured")


def _measure_selected(folder: ExperimentFolder, backend: Backend, selection: TrialSelection, data: Data) -> int:
    numbers = select_trials(folder, selection)
    if not numbers:
        return 0
    log.info("measuring speed, memory and size of %d trials", len(numbers))
    with backend.open_measurement() as measure_network:
        return measure_trials(folder, numbers, data.test, measure_network)


def _run_search(
    settings: Settings,
    folder: ExperimentFolder,
    backend: Backend,
    space: SpaceFunction,
    data: Data,
    resources: TrialResources,
    snapshot: Snapshot,
    observers: Sequence[SearchObserver],
    *,
    retried: Collection[int] = (),
) -> None:
    """The one path of a first start, a resume and an extension: does what is left to do, according to the records."""
    remove_leftovers(folder, snapshot, settings.search.keep_at_alpha)
    stopping, to_stop = restore_early_stopping(settings, snapshot, retried)
    for trial in to_stop:
        stop_trial(trial.folder, settings.search.keep_at_alpha)
        log.info("trial %d is stopped early, as was due when the search was interrupted", trial.number)
    snapshot = snapshot.updated(replace(trial, record=trial.folder.read_record()) for trial in to_stop)
    observer = Observers([OptunaJournal(folder, settings.search.objectives), *observers])
    source = TrialSource(folder, settings, space, snapshot, observer)
    dense = _find_dense(settings, folder, data)
    dense_epochs = 0 if dense else settings.dense.epochs
    try:
        with _report_defects():
            observer.search_started(SearchStart(source.study, snapshot, source.planned_trials, dense_epochs))
            if dense is None:
                backend.train_dense(settings.dense, data, folder.dense_path, observer.dense_epoch_done)
            else:
                log.info("the dense network has already been trained: %s", dense)
                if dense != folder.dense_path:
                    copy_dense(dense, folder.dense_path)
            backend.run_trials(SearchRun(source, stopping, folder, settings, data, resources, observer))
    finally:
        observer.search_ended()
    if source.space_error is not None:
        raise SpaceError(
            f"{source.space_error} (once it is mended, `alphaprune resume {folder.path.name}` continues the search)"
        )
    if source.exhausted:
        log.warning("the space has no untried configuration left; the search ends here")
    if source.common_error is not None:
        raise HopelessError(
            f"all trials failed, so the search ends here: {source.common_error} "
            f"(`alphaprune resume {folder.path.name} --retry-failed` tries them again)"
        )


def _announce_plan(
    settings: Settings,
    folder: ExperimentFolder,
    backend: Backend,
    data: Data,
    resources: TrialResources,
    snapshot: Snapshot,
    *,
    more: int = 0,
) -> None:
    """Logs what is about to be done; raises ValueError if the storage is too small or a node does not see it.

    Args:
        more: number of trials to be added or run again, on top of those in the settings and the snapshot.
    """
    kinds = [trial.record.kind for trial in snapshot.trials]
    controls = len(settings.controls.amounts) * len(settings.controls.kinds)
    planned = controls + settings.search.trials + kinds.count("branch") + kinds.count("repeat")
    ended = sum(trial.record.state != "running" for trial in snapshot.trials)
    plan = plan_search(
        backend.list_nodes(),
        resources,
        settings,
        classes=data.classes,
        dense_epochs=settings.dense.epochs if _find_dense(settings, folder, data) is None else 0,
        trials_left=planned + more - ended,
    )
    for line in str(plan).splitlines() if plan.trials else ["no trials are left to run"]:
        log.info("%s", line)
    check_disk(plan, folder.path.parent, there_bytes=_used_bytes(folder))
    backend.check_storage(folder.path.parent)


def _used_bytes(folder: ExperimentFolder) -> int:
    """How much of the space that a plan needs the experiment's dense network and checkpoints already take."""
    kept = (*folder.path.glob("trials/*/checkpoint-*.pt"), *folder.dense_path.glob("*"))
    return sum(path.stat().st_size for path in kept)


@contextmanager
def _report_defects() -> Iterator[None]:
    """Turns a ValueError, which would be refused as an invalid request, into the RuntimeError of a defect."""
    try:
        yield
    except ValueError as error:
        raise RuntimeError("the search ran into a defect") from error


def _find_dense(settings: Settings, folder: ExperimentFolder, data: Data) -> Path | None:
    """Where the dense network is, in this experiment or another; None if it has to be trained.

    Raises:
        ValueError: if the experiment's own is damaged: what its trials started from must not be replaced unasked.
    """
    if (folder.dense_path / DENSE_NAME).exists():
        load_dense(folder.dense_path)
        return folder.dense_path
    return find_dense(folder.path.parent, dense_hash(settings.dense, data.fingerprint))

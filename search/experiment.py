"""An experiment from its settings to its ranking: checked whole before anything starts, then run."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import optuna

from records.experiment import ExperimentFolder
from records.files import read_json, write_json
from search.backends.base import Where
from search.backends.local import run_local
from search.backends.ray import cluster
from search.followups.measure import Selection, measure_network, measure_trials, selected
from search.observers.optuna_journal import EventFiles, StudyMirror
from search.observers.progress import SearchProgress
from search.sampling.restore import rebuilt
from search.sampling.trial_source import Search, control_configs
from search.settings import Settings, as_settings_json
from search.setup.cleanup import sweep
from search.setup.creation import NewTrial, add, check_settings, create, read_data, recorded_data, recorded_settings
from search.setup.driver_lock import driving
from search.setup.plan import check_disk, plan
from search.snapshot import whole_trials
from trainable.config import DenseConfig, TrialConfig
from trainable.data.dataset import Data
from trainable.dense import copy_dense, dense_hash, find_dense, load_dense, train_dense
from trainable.device import cpus
from trainable.errors import TrialError


def run(
    settings: Settings,
    folder: ExperimentFolder,
    where: Where,
    *,
    preset: str,
    say: Callable[[str], None],
) -> None:
    """Runs a new experiment: the dense network, the controls, the search.

    Args:
        settings: resolved.
        folder: from new_folder.
        where: this process or a cluster.
        preset: what the user named, for the record.
        say: takes a line for people.

    Raises:
        ValueError: if anything is wrong with settings, data or cluster; nothing has then been started or written.
        HopelessError: if all trials fail.
        Interruption: if it has to stop before its end; `resume` goes on.
    """
    if Path(settings.data.source).is_dir():  # it may be resumed from another folder
        settings = replace(settings, data=replace(settings.data, source=str(Path(settings.data.source).resolve())))
    space = check_settings(settings)
    data = read_data(settings.data, say)
    with _connected(where, settings) as share:
        _announce(settings, folder, where, data, share, say)
        create(folder, settings, data, preset)
        with driving(folder):
            _search(settings, folder, where, space, data, share)
    if settings.results.measure:
        _measure(folder, where, Selection(), data, say)


def resume(
    folder: ExperimentFolder,
    where: Where,
    *,
    say: Callable[[str], None],
    trials: int | None = None,
    resources: Mapping[str, Any] = MappingProxyType({}),
    data: str | None = None,
    retry_failed: bool = False,
    new: Sequence[NewTrial] = (),
) -> None:
    """Goes on with an experiment from its records: interrupted, finished (then extended by `trials`) or not begun.

    Args:
        folder: of the experiment.
        where: this process or a cluster, whatever it was before.
        say: takes a line for people.
        trials: the new number of trials besides the controls, None for what it was.
        resources: those of settings.Resources that are others from now on, by name.
        data: where the data is now, None for where it was.
        retry_failed: failed trials are tried again, from their newest checkpoints.
        new: trials that somebody adds, recorded once all else has been found in order.

    Raises: as run.
    """
    record = read_json(folder.record_path)
    before = recorded_settings(folder, record)
    asked = before.search.trials
    if trials is not None and trials < asked:
        raise ValueError(f"--trials must be at least the {asked} that {folder.path.name!r} has, but got {trials}")
    settings = replace(
        before,
        search=replace(before.search, trials=asked if trials is None else trials),
        resources=replace(before.resources, **resources),
    )
    space = check_settings(settings)
    loaded = recorded_data(folder, record, settings, data, say)
    with driving(folder), _connected(where, settings) as share:
        retried = [trial for trial, its in whole_trials(folder) if its.state == "failed"] if retry_failed else []
        _announce(settings, folder, where, loaded, share, say, more=len(retried) + len(new))
        if settings != before:
            write_json(folder.record_path, {**record, "settings": as_settings_json(settings)})
        for trial in retried:
            trial.again()
        add(folder, new)
        _search(settings, folder, where, space, loaded, share, retried={trial.number for trial in retried})
    if settings.results.measure:
        _measure(folder, where, Selection(), loaded, say)


def measure(
    folder: ExperimentFolder, where: Where, selection: Selection, *, data: str | None, say: Callable[[str], None]
) -> None:
    """Measures trials of an experiment, whether or not they have been measured before.

    Args:
        folder: of the experiment.
        where: this machine (a cluster of its own is never started), or the best node of a cluster.
        selection: which trials.
        data: where the data is now, None for where it was.
        say: takes a line for people.

    Raises:
        ValueError: if the data cannot be read or is other data, or no trial is complete.
        TrialError: if none could be measured.
    """
    record = read_json(folder.record_path)
    loaded = recorded_data(folder, record, recorded_settings(folder, record), data, say)
    if not selected(folder, selection):
        raise ValueError(f"only complete trials can be measured, and {folder.path.name!r} has none")
    if not _measure(folder, where, selection, loaded, say):
        raise TrialError("no trial could be measured")


def _measure(
    folder: ExperimentFolder, where: Where, selection: Selection, data: Data, say: Callable[[str], None]
) -> int:
    numbers = selected(folder, selection)
    if not numbers:
        return 0
    say(f"measuring speed, memory and size: {len(numbers)} trials")
    if where.address is None:
        waiting = partial(say, "waiting for what trains on this machine to pause")
        run_here = partial(measure_network, on_wait=waiting)
        return measure_trials(folder, numbers, data.test, run=run_here, say=say)
    with cluster.connected(where.address):
        there = partial(cluster.run_on_best_node, measure_network)
        return measure_trials(folder, numbers, data.test, run=there, say=say)


class HopelessError(TrialError):
    """All trials failed."""


@contextmanager
def _connected(where: Where, settings: Settings) -> Iterator[cluster.Share]:
    if where.local:
        yield cluster.Share(settings.resources.cpus_per_trial, 0, 1)
    else:
        with cluster.connected(where.address):
            yield cluster.share(settings.resources)


def _search(
    settings: Settings,
    folder: ExperimentFolder,
    where: Where,
    space: Callable[[optuna.Trial, TrialConfig], TrialConfig],
    data: Data,
    share: cluster.Share,
    *,
    retried: Collection[int] = (),
) -> None:
    """The one path of a first start, a resume and an extension: what is left is done, by the records."""
    sweep(folder, settings.search.keep_at_alpha)
    stopping, stopped = rebuilt(settings, folder, retried)
    search = Search(folder, settings, space)
    dense = _whole_dense(settings, folder, data)
    dense_epochs = 0 if dense else settings.dense.epochs
    with (
        _running(),
        EventFiles(folder) if where.tensorboard else nullcontext() as events,
        SearchProgress(folder, settings, planned=search.planned, dense_epochs=dense_epochs, events=events) as progress,
    ):
        search.mirror = StudyMirror(folder, search.study, settings.search.objectives)
        search.say = lambda line: progress.say(f"alphaprune: {line}")
        for problem in search.problems:
            search.say(problem)
        for number in stopped:
            progress.say(f"trial {number} is stopped early, as it was to be when the search was interrupted")
        if dense:
            progress.say(f"the dense network is there already: {dense}")
            if dense != folder.dense:
                copy_dense(dense, folder.dense)
        else:
            train = _train_dense_here if where.local else cluster.train_dense_remotely
            train(settings.dense, data, folder.dense, progress.dense_epoch)
        if where.local:
            run_local(search, stopping, folder, settings, data, progress)
        else:
            from search.backends.ray.tune import run_on_cluster

            run_on_cluster(search, stopping, folder, settings, data, progress, share)
        if search.exhausted:
            progress.say(
                "alphaprune: the space has no configuration left that has not been tried; the search ends here"
            )
    if search.hopeless is not None:
        raise HopelessError(
            f"all trials failed, so the search ends here: {search.hopeless} "
            f"(`alphaprune resume {folder.path.name} --retry-failed` tries them again)"
        )


def _announce(
    settings: Settings,
    folder: ExperimentFolder,
    where: Where,
    data: Data,
    share: cluster.Share,
    say: Callable[[str], None],
    *,
    more: int = 0,
) -> None:
    """Says what is about to be done; raises ValueError if the storage has no room for it or a node does not see it."""
    storage = folder.path.parent
    records = [record for _, record in whole_trials(folder)]
    added = sum(record.parent is not None or record.confirms is not None for record in records)
    ended = sum(record.state != "running" for record in records)
    planned = plan(
        [(float(len(cpus())), 0.0)] if where.local else cluster.nodes(),
        share,
        settings,
        classes=data.classes,
        dense_epochs=0 if _whole_dense(settings, folder, data) else settings.dense.epochs,
        trials_left=len(list(control_configs(settings))) + settings.search.trials + added + more - ended,
    )
    for line in str(planned).splitlines() if planned.trials else ["no trial is left to run"]:
        say(line)
    check_disk(planned, storage, there_bytes=_there_bytes(folder))
    if where.address is not None:
        storage.mkdir(parents=True, exist_ok=True)
        cluster.check_storage(storage)


def _there_bytes(folder: ExperimentFolder) -> int:
    """What the dense network and the checkpoints of an experiment take already of what a plan says it needs."""
    kept = (*folder.path.glob("trials/*/checkpoint-*.pt"), *folder.dense.glob("*"))
    return sum(path.stat().st_size for path in kept)


@contextmanager
def _running() -> Iterator[None]:
    """What goes wrong from here on is not the fault of what was asked for."""
    try:
        yield
    except ValueError as error:
        raise RuntimeError("the search ran into a defect") from error


def _whole_dense(settings: Settings, folder: ExperimentFolder, data: Data) -> Path | None:
    """Where the dense network is, in this experiment or another; None if it has to be trained.

    Raises:
        ValueError: if the experiment has one that is damaged: what its trials began with cannot be replaced unasked.
    """
    if (folder.dense / "dense.json").exists():
        load_dense(folder.dense)
        return folder.dense
    return find_dense(folder.path.parent, dense_hash(settings.dense, data.fingerprint))


def _train_dense_here(
    config: DenseConfig, data: Data, folder: Path, on_epoch: Callable[[dict[str, Any]], None]
) -> None:
    train_dense(config, data, folder, threads=len(cpus()), on_epoch=on_epoch)

"""An experiment from its settings to its ranking: checked whole before anything starts, then run."""

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import optuna
import torch

from search import cluster
from search.driver_lock import driving
from search.early_stopping import SuccessiveHalving
from search.interruption import full_disk_interrupts
from search.live import EventFiles, StudyMirror
from search.local import run_local
from search.measuring import Selection, measure_network, measure_trials, selected
from search.plan import check_disk, plan
from search.progress import SearchProgress
from search.settings import Settings, as_settings_json, resolve
from search.study import Search, control_configs
from search.where import Where
from spaces.loading import load_space
from trainable.config import DataConfig, DenseConfig, TrialConfig
from trainable.data import Data, load_data
from trainable.dense import copy_dense, dense_hash, find_dense, load_dense, train_dense
from trainable.errors import TrialError
from trainable.masks import choose
from trainable.network import dense_widths
from trainable.recorded import stop
from trainable.records import ExperimentFolder, now, read_json, write_json

VERSIONS = ("alphaprune", "torch", "torchvision", "ray", "optuna", "numpy")


def check_settings(settings: Settings) -> Callable[[optuna.Trial, TrialConfig], TrialConfig]:
    """The space of `settings`, once it and the controls have been tried out; nothing is trained.

    Raises:
        ValueError: if the space cannot be loaded or fails, or a control cannot be cut as far as it has to be.
    """
    space = load_space(settings.space.function, settings.space.options)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    samples = [space(study.ask(), settings.trial) for _ in range(16 if settings.search.trials else 0)]
    ones = [torch.ones(width) for width in dense_widths(settings.dense.width)]
    for config in (*(config for _, config in control_configs(settings)), *samples):
        choose(ones, config.pruning, classes=10)
        if config.epochs != settings.trial.epochs:
            raise ValueError(
                f"the space must leave trial.epochs as it is, or trials do not compare, but it made "
                f"{settings.trial.epochs} {config.epochs}; use `dataclasses.replace(base, ...)` without epochs"
            )
    return space


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
    data = _read(settings.data, say)
    with _connected(where, settings) as share:
        _announce(settings, folder, where, data, share, say)
        _create(folder, settings, data, preset)
        with driving(folder):
            _search(settings, folder, where, space, data, share)
    if settings.results.measure:
        _measure(folder, where, Selection(), data, say)


def resume(
    folder: ExperimentFolder,
    where: Where,
    *,
    trials: int | None,
    data: str | None,
    retry_failed: bool,
    say: Callable[[str], None],
) -> None:
    """Goes on with an experiment from its records: interrupted, finished (then extended by `trials`) or not begun.

    Args:
        folder: of the experiment.
        where: this process or a cluster, whatever it was before.
        trials: the new number of trials besides the controls, None for what it was.
        data: where the data is now, None for where it was.
        retry_failed: failed trials are tried again, from their newest checkpoints.
        say: takes a line for people.

    Raises: as run.
    """
    record = read_json(folder.record_path)
    settings = recorded_settings(folder, record)
    asked = settings.search.trials
    if trials is not None and trials < asked:
        raise ValueError(f"--trials must be at least the {asked} that {folder.path.name!r} has, but got {trials}")
    if trials is not None:
        settings = replace(settings, search=replace(settings.search, trials=trials))
    space = check_settings(settings)
    loaded = _recorded_data(folder, record, settings, data, say)
    with driving(folder), _connected(where, settings) as share:
        _announce(settings, folder, where, loaded, share, say)
        if settings.search.trials != asked:
            write_json(folder.record_path, {**record, "settings": as_settings_json(settings)})
        for trial in folder.trials() if retry_failed else ():
            with suppress(ValueError):  # a damaged one is named later
                if trial.read().state == "failed":
                    trial.again()
        _search(settings, folder, where, space, loaded, share)
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
    """
    record = read_json(folder.record_path)
    loaded = _recorded_data(folder, record, recorded_settings(folder, record), data, say)
    if not selected(folder, selection):
        raise ValueError(f"only complete trials can be measured, and {folder.path.name!r} has none")
    _measure(folder, where, selection, loaded, say)


def _measure(
    folder: ExperimentFolder, where: Where, selection: Selection, data: Data, say: Callable[[str], None]
) -> None:
    numbers = selected(folder, selection)
    if not numbers:
        return
    say(f"measuring speed, memory and size: {len(numbers)} trials")
    with full_disk_interrupts():
        if where.address is None:
            waiting = partial(say, "waiting for what trains on this machine to pause")
            run_here = partial(measure_network, on_wait=waiting)
            measure_trials(folder, numbers, data.test, run=run_here, say=say)
        else:
            with cluster.connected(where.address):
                there = partial(cluster.run_on_best_node, measure_network)
                measure_trials(folder, numbers, data.test, run=there, say=say)


def _recorded_data(
    folder: ExperimentFolder,
    record: dict[str, Any],
    settings: Settings,
    elsewhere: str | None,
    say: Callable[[str], None],
) -> Data:
    """The data that the experiment was begun on, `elsewhere` if given; raises ValueError if it is other data."""
    source = replace(settings.data, source=elsewhere) if elsewhere else settings.data
    loaded = _read(source, say)
    if loaded.fingerprint != record["data"]["fingerprint"]:
        raise ValueError(f"--data must be what {folder.path.name!r} was begun on, but {loaded.name!r} has other images")
    return loaded


def recorded_settings(folder: ExperimentFolder, record: dict[str, Any]) -> Settings:
    """The settings in an experiment.json; raises ValueError naming the file if they are not what they should be."""
    try:
        return resolve(record["settings"])
    except KeyError as error:
        raise ValueError(f"{folder.record_path} is none of alphaprune's, or damaged: it has no {error}") from error
    except (ValueError, TypeError) as error:
        raise ValueError(f"{folder.record_path} is damaged: {error}") from error


class HopelessError(TrialError):
    """All trials failed."""


def _read(config: DataConfig, say: Callable[[str], None]) -> Data:
    say(f"reading {config.source}")
    return load_data(config)


@contextmanager
def _connected(where: Where, settings: Settings) -> Iterator[cluster.Share]:
    if where.local:
        yield cluster.Share(settings.resources.cpus_per_trial, 0, 1)
    else:
        with cluster.connected(where.address):
            yield cluster.share(settings.resources)


def _create(folder: ExperimentFolder, settings: Settings, data: Data, preset: str) -> None:
    folder.path.mkdir(parents=True)
    write_json(
        folder.record_path,
        {
            "name": folder.path.name,
            "preset": preset,
            "created": now(),
            "settings": as_settings_json(settings),
            "data": {
                "name": data.name,
                "fingerprint": data.fingerprint,
                "classes": data.classes,
                "train_images": len(data.train.labels),
                "validation_images": len(data.validation.labels),
                "test_images": len(data.test.labels),
            },
            "versions": {"python": platform.python_version(), **{name: version(name) for name in VERSIONS}},
        },
    )


def _search(
    settings: Settings,
    folder: ExperimentFolder,
    where: Where,
    space: Callable[[optuna.Trial, TrialConfig], TrialConfig],
    data: Data,
    share: cluster.Share,
) -> None:
    """The one path of a first start, a resume and an extension: what is left is done, by the records."""
    stopping = _stopping(settings, folder)
    search = Search(folder, settings, space)
    dense = _whole_dense(settings, folder, data)
    dense_epochs = 0 if dense else settings.dense.epochs
    with (
        _running(),
        EventFiles(folder) if where.tensorboard else nullcontext() as events,
        SearchProgress(folder, settings, planned=search.planned, dense_epochs=dense_epochs, events=events) as progress,
    ):
        with full_disk_interrupts():
            search.mirror = StudyMirror(folder, search.study, settings.search.objectives)
        for problem in search.problems:
            progress.say(f"alphaprune: {problem}; the trial is left alone")
        if dense:
            progress.say(f"the dense network is there already: {dense}")
            if dense != folder.dense:
                copy_dense(dense, folder.dense)
        else:
            train = _train_dense_here if where.local else cluster.train_dense_remotely
            with full_disk_interrupts():
                train(settings.dense, data, folder.dense, progress.dense_epoch)
        if where.local:
            run_local(search, stopping, folder, settings, data, progress)
        else:
            from search.tune_run import run_on_cluster

            run_on_cluster(search, stopping, folder, settings, data, progress, share)
        if search.exhausted:
            progress.say("alphaprune: the space has no configuration left that has not been tried; the search ends here")
    if search.hopeless is not None:
        raise HopelessError(f"all trials failed, so the search ends here: {search.hopeless}")


def _announce(
    settings: Settings,
    folder: ExperimentFolder,
    where: Where,
    data: Data,
    share: cluster.Share,
    say: Callable[[str], None],
) -> None:
    """Says what is about to be done; raises ValueError if the storage has no room for it or a node does not see it."""
    storage = folder.path.parent
    extra = ended = 0
    for trial in folder.trials():
        with suppress(ValueError):  # Search names a damaged one
            record = trial.read()
            extra += record.parent is not None or record.confirms is not None
            ended += record.state != "running"
    planned = plan(
        [(float(os.cpu_count() or 1), 0.0)] if where.local else cluster.nodes(),
        share,
        settings,
        classes=data.classes,
        dense_epochs=0 if _whole_dense(settings, folder, data) else settings.dense.epochs,
        trials_left=len(list(control_configs(settings))) + settings.search.trials + extra - ended,
    )
    for line in str(planned).splitlines():
        say(line)
    check_disk(planned, storage)
    if where.address is not None:
        storage.mkdir(parents=True, exist_ok=True)
        cluster.check_storage(storage)


def _stopping(settings: Settings, folder: ExperimentFolder) -> SuccessiveHalving:
    """The early stopping as the records have it; a stop that a crash kept from being recorded is made up for."""
    search = settings.search
    stopping = SuccessiveHalving(search.early_stopping, objectives=search.objectives, epochs=settings.trial.epochs)
    undecided = []
    for trial in folder.trials():
        with suppress(ValueError):  # Search names a damaged one
            record, rows = trial.read(), trial.rows()
            if record.asked:
                stopping.remember(record.number, rows)
            if record.asked and record.state == "running" and rows:
                undecided.append((trial, rows[-1]))
    for trial, row in undecided:
        if not stopping.goes_on(trial.number, row):
            stop(trial, search.keep_at_alpha)
    return stopping


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
    train_dense(config, data, folder, threads=os.cpu_count() or 1, on_epoch=on_epoch)

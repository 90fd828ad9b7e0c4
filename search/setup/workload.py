"""What a search has to compute, for the estimate of its time, and how long that took on the same device before."""

from collections.abc import Sequence
from dataclasses import replace
from math import log
from pathlib import Path

from records.dense import FILE_NAME, read_dense_record
from records.experiment import ExperimentFolder
from search.backends.base import Backend, Node, TrialResources
from search.estimate import (
    ExpectedTrial,
    Hardware,
    TimeEstimate,
    TrialsLeft,
    Workload,
    estimate_time,
    list_chances,
)
from search.sampling.controls import control_configs
from search.sampling.early_stopping import SuccessiveHalving
from search.sampling.suggestion import SpaceFunction
from search.settings import Settings
from search.setup.validation import SAMPLES, find_dense_layout, sample_configs
from search.snapshot import Snapshot
from trainable.device import default_device, device_name


def create_workload(
    settings: Settings,
    space: SpaceFunction,
    backend: Backend,
    share: TrialResources,
    storage: Path,
    *,
    classes: int,
    train_images: int,
) -> Workload:
    """What the search has to do.

    Args:
        settings: of the experiment.
        space: of the experiment, already tried out.
        backend: connected.
        share: what each trial gets.
        storage: whose experiments may tell how long an epoch takes.
        classes, train_images: of the data.
    """
    search = settings.search
    rungs = SuccessiveHalving(search.early_stopping, objectives=search.objectives, epochs=settings.trial.epochs).rungs
    chances = list_chances(settings.trial.epochs, search.trials, rungs, search.early_stopping.reduction)
    samples = sample_configs(space, settings.trial, SAMPLES if search.trials else 0) or [settings.trial]
    nodes = backend.list_nodes()
    hardware = describe_hardware(nodes, share)
    layout = find_dense_layout(settings, classes)
    macs = layout.count("macs", layout.widths)
    # Nobody knows on which device of a cluster the dense network will be trained.
    found = None if backend.address else find_epoch_seconds(storage, hardware, macs, train_images)
    return Workload(
        tuple(ExpectedTrial.of([config]) for _, config in control_configs(settings)),
        ExpectedTrial.of(samples, chances),
        hardware,
        *(found or (None, "")),
    )


def add_to_workload(workload: Workload, snapshot: Snapshot) -> Workload:
    """`workload` with the branches, repeats and twins of `snapshot`, whose epochs need not be those of the settings."""
    added = {trial.number: ExpectedTrial.of([trial.config]) for trial in snapshot.trials if trial.record.is_added}
    return replace(workload, added=added)


def describe_hardware(nodes: Sequence[Node], share: TrialResources) -> Hardware:
    """What the dense network and the trials get of the nodes."""
    if share.gpus:
        return Hardware("GPU", 1, share.gpus, share.concurrency)
    return Hardware("CPU", max(1, int(max(node.cpus for node in nodes))), share.cpus, share.concurrency)


def find_epoch_seconds(storage: Path, hardware: Hardware, macs: int, train_images: int) -> tuple[float, str] | None:
    """The seconds of an epoch of the dense network, by an earlier experiment on this machine's device, and its name.

    Of several, the one whose network was nearest in MACs tells; its time is scaled to these MACs and images.
    """
    device, found = device_name(default_device()), []
    for path in sorted(storage.glob(f"*/dense/{FILE_NAME}")):
        folder = ExperimentFolder(path.parents[1])
        try:
            dense, images = read_dense_record(folder.dense_path), folder.read_record().data.train_images
        except ValueError:
            continue  # damaged, which only matters to those who use it
        same = dense.device == device and (hardware.device == "GPU" or dense.threads == hardware.dense)
        if same and images and dense.macs and dense.epochs and dense.seconds > 0:
            seconds = dense.seconds / dense.epochs * train_images / images * macs / dense.macs
            distance = abs(log(macs / dense.macs)), abs(log(train_images / images))
            found.append((distance, seconds, folder.path.name))
    if not found:
        return None
    _, seconds, name = min(found)
    return seconds, name


def count_left(workload: Workload, snapshot: Snapshot, trials_left: int) -> TrialsLeft:
    """What is left of the trials; trials_left: number of trials that have not ended."""
    begun = [trial for trial in snapshot.trials if trial.record.state == "running"]
    costs = [workload.find_trial(trial.number).count_cost(len(trial.rows)) for trial in begun]
    new = [number for number in range(len(workload.controls)) if number not in snapshot.numbers]
    costs += [workload.controls[number].count_cost() for number in new]
    others = max(0, trials_left - len(begun) - len(new))
    return TrialsLeft(waiting=(*costs, *[workload.searched.count_cost()] * others))


def estimate_search(workload: Workload, left: TrialsLeft, dense_epochs: int) -> TimeEstimate | None:
    """The time of what is left, if earlier experiments tell how long an epoch takes."""
    if workload.epoch_seconds is None:
        return None
    return estimate_time(workload.hardware, left, dense_epochs, workload.epoch_seconds)


def describe_time(workload: Workload, left: TrialsLeft, dense_epochs: int) -> str:
    """How long it takes, or when that will be known, in one line."""
    estimate = estimate_search(workload, left, dense_epochs)
    if estimate is not None:
        return f"{estimate}, going by experiment {workload.source!r}"
    epochs = "first epoch of the dense network" if dense_epochs else "first epochs of the trials"
    return f"how long it takes will be estimated after the {epochs}"

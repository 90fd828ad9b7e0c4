"""What a search is about to do and what it needs: a few lines for the user, and a check of the disk."""

import logging
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from analysis.text import join_words
from records.experiment import ExperimentFolder
from search.backends.base import Backend, Node, TrialResources
from search.estimate import Workload
from search.settings import Settings
from search.setup.dense_source import count_dense_epochs, find_dense_source
from search.setup.validation import find_dense_layout
from search.setup.workload import add_to_workload, count_left, describe_time
from search.snapshot import Snapshot
from trainable.data.dataset import Data
from trainable.data.size import DataSize
from trainable.recorded_trial import KEPT_CHECKPOINTS

log = logging.getLogger("alphaprune")

FLOAT32_BYTES = 4
# Groups that are never cut, of which the plan tells.
MOST_WHOLE = 5
# Weights and momentum; a gated network is as large as the dense one.
CHECKPOINT_COPIES = 2
# A new checkpoint is written before an old one is removed.
CHECKPOINTS_AT_ONCE = KEPT_CHECKPOINTS + 1


@dataclass(frozen=True)
class SearchPlan:
    """What a search is about to do; as `str`, four lines for the user, or more.

    nodes, cpus, gpus: of the cluster. concurrency: trials at once, each with cpus_per_trial and gpus_per_trial.
    trials, trial_epochs: left to run, controls included; the epochs are a maximum, since trials may be stopped early.
    dense_epochs: left to train the dense network. memory_bytes: that the images take on this machine. gpu_bytes: that
    they take on a GPU, for each trial on it. disk_bytes: approximate space that the storage needs. whole: groups of
    channels that are never cut, each with the reason.
    """

    nodes: int
    cpus: float
    gpus: float
    concurrency: int
    cpus_per_trial: int
    gpus_per_trial: float
    trials: int
    trial_epochs: int
    dense_epochs: int
    memory_bytes: int
    gpu_bytes: int
    disk_bytes: int
    whole: tuple[str, ...] = ()

    def __str__(self) -> str:
        there = format_resources(self.cpus, self.gpus)
        each = format_resources(self.cpus_per_trial, self.gpus_per_trial)
        trials, epochs = _format_count(self.trials, "trial"), _format_count(self.trial_epochs, "epoch")
        dense = _format_count(self.dense_epochs, "epoch")
        on_gpu = f", and {_format_size(self.gpu_bytes)} of GPU memory for each trial" if self.gpu_bytes else ""
        after = f", after {dense} for the dense network" if self.dense_epochs else ""
        return "\n".join(
            (
                f"{_format_count(self.nodes, 'node')} with {there}: "
                f"{_format_count(self.concurrency, 'trial')} at once, each on {each}",
                f"{trials}, at most {epochs} in total{after}",
                f"about {_format_size(self.memory_bytes)} of memory for the images{on_gpu}",
                f"about {_format_size(self.disk_bytes)} of disk space",
                *_list_whole(self.whole),
            )
        )


def plan_search(
    nodes: Sequence[Node],
    share: TrialResources,
    settings: Settings,
    *,
    size: DataSize,
    image_copies: int,
    dense_epochs: int,
    trials_left: int,
    trial_epochs: int,
) -> SearchPlan:
    """The plan of a search, from numbers alone.

    Args:
        nodes: of the cluster.
        share: what each trial gets.
        settings: of the experiment.
        size: of the data.
        image_copies: copies of the images that this machine holds.
        dense_epochs: left to train the dense network.
        trials_left: number of trials that have not ended, controls included.
        trial_epochs: those of all of them.
    """
    running = min(share.concurrency, trials_left)
    layout = find_dense_layout(settings, size.classes)
    dense_bytes = FLOAT32_BYTES * layout.count("parameters", layout.widths)
    # Takes the amount for a share of the parameters; cutting by MACs gives the same share within a few hundredths.
    model_bytes = (1 - _least_amount(settings)) * dense_bytes
    checkpoints = running * CHECKPOINTS_AT_ONCE + trials_left * len(settings.search.keep_at_alpha)
    disk_bytes = dense_bytes + trials_left * model_bytes + checkpoints * CHECKPOINT_COPIES * dense_bytes
    return SearchPlan(
        nodes=len(nodes),
        cpus=sum(node.cpus for node in nodes),
        gpus=sum(node.gpus for node in nodes),
        concurrency=running,
        cpus_per_trial=share.cpus,
        gpus_per_trial=share.gpus,
        trials=trials_left,
        trial_epochs=trial_epochs,
        dense_epochs=dense_epochs,
        memory_bytes=image_copies * size.bytes,
        gpu_bytes=size.trained_bytes if share.gpus else 0,
        disk_bytes=round(disk_bytes),
        whole=layout.whole,
    )


def _list_whole(whole: Sequence[str]) -> list[str]:
    lines = [f"never cut: {each}" for each in whole[:MOST_WHOLE]]
    return lines + (
        [f"never cut: {len(whole) - MOST_WHOLE} more (dense/dense.json will name all)"]
        if len(whole) > MOST_WHOLE
        else []
    )


def check_disk(plan: SearchPlan, storage: Path, *, there_bytes: int = 0) -> None:
    """Raises ValueError if the file system that `storage` is on, or will be, has less room than the plan needs.

    there_bytes: how much of what the plan needs is already there.
    """
    there = next(path for path in (storage.resolve(), *storage.resolve().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free + there_bytes < plan.disk_bytes:
        raise ValueError(
            f"--storage must have about {_format_size(plan.disk_bytes)} free for this search, but {str(storage)!r} has "
            f"{_format_size(free)}; make room, choose another, or lower --trials, --width or --concurrency"
        )


def announce_plan(
    settings: Settings,
    folder: ExperimentFolder,
    backend: Backend,
    data: Data,
    resources: TrialResources,
    snapshot: Snapshot,
    workload: Workload,
) -> None:
    """Logs what is about to be done; raises ValueError if the storage is too small or a node does not see it.

    Args:
        snapshot: of the trials as they will be when the search starts.
    """
    dense_epochs = count_dense_epochs(settings, folder, find_dense_source(settings, folder, snapshot, data))
    log_plan(settings, folder, backend, data.size, resources, snapshot, workload, dense_epochs)
    backend.check_storage(folder.path.parent)


def log_plan(
    settings: Settings,
    folder: ExperimentFolder,
    backend: Backend,
    size: DataSize,
    resources: TrialResources,
    snapshot: Snapshot,
    workload: Workload,
    dense_epochs: int,
) -> None:
    """Logs what is left to do, how long it takes and what it needs; raises ValueError if the storage is too small."""
    begun = [trial.own_epochs for trial in snapshot.trials if trial.record.state == "running"]
    added = sum(trial.record.is_added for trial in snapshot.trials)
    controls = len(settings.controls.amounts) * len(settings.controls.kinds)
    ended = len(snapshot.numbers) - len(begun)  # a damaged trial is not replaced
    trials_left = controls + settings.search.trials + added - ended
    plan = plan_search(
        backend.list_nodes(),
        resources,
        settings,
        size=size,
        image_copies=backend.image_copies,
        dense_epochs=dense_epochs,
        trials_left=trials_left,
        trial_epochs=sum(begun) + max(0, trials_left - len(begun)) * settings.trial.epochs,
    )
    if plan.trials:
        for line in str(plan).splitlines():
            log.info("%s", line)
        workload = add_to_workload(workload, snapshot)
        log.info("%s", describe_time(workload, count_left(workload, snapshot, plan.trials), dense_epochs))
        later = ["confirming the best with other seeds"] if settings.confirm.top else []
        later += ["measuring the Pareto front and the controls"] if settings.results.measure else []
        if later and workload.epoch_seconds is not None:
            log.info("not included: %s at the end", join_words(later))
    else:
        log.info("no trials are left to run")
    check_disk(plan, folder.path.parent, there_bytes=count_used_bytes(folder))


def count_used_bytes(folder: ExperimentFolder) -> int:
    """How much of the space that a plan needs the experiment's dense network and checkpoints already take."""
    kept = [path for trial in folder.trial_folders() for path in trial.list_checkpoints()]
    used = 0
    for path in (*kept, *folder.dense_path.glob("*")):
        with suppress(OSError):  # a worker that outlived its driver may be replacing it
            used += path.stat().st_size
    return used


def _least_amount(settings: Settings) -> float:
    """The smallest amount that a trial cuts, as far as the settings say: a custom space may cut less."""
    amounts = settings.space.options.get("amounts")
    of_space = [each for each in amounts if isinstance(each, float)] if isinstance(amounts, list) else []
    return min([*settings.controls.amounts, *(of_space or [settings.trial.pruning.amount])])


def _format_count(number: float, what: str) -> str:
    return f"{number:,.10g} {what}{'' if number == 1 else 's'}"


def format_resources(cpus: float, gpus: float) -> str:
    """`16 CPUs and 0.25 GPUs`; `1 CPU` without GPUs."""
    return _format_count(cpus, "CPU") + (f" and {_format_count(gpus, 'GPU')}" if gpus else "")


def _format_size(size_bytes: float) -> str:
    unit, name = (1e9, "GB") if size_bytes >= 1e9 else (1e6, "MB")
    return f"{size_bytes / unit:.1f} {name}"

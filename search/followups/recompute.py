"""Recomputes a recorded trial, to look into it and to check that it is reproducible."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from records.epoch import EpochRow
from records.experiment import ExperimentFolder
from search.followups.branch import find_trial
from search.setup.validation import read_recorded_data, recorded_settings
from search.snapshot import TrialSnapshot
from trainable.dense import load_dense
from trainable.device import device_name
from trainable.trial import Trial

# What differs from run to run.
TIMES = frozenset({"images_per_second", "epoch_seconds"})


@dataclass(frozen=True)
class Recomputation:
    """A recorded trial that is computed again.

    recorded: its rows as they are recorded. rows: as they are computed, one by one. epochs: how many there will be.
    elsewhere: why they may differ, as text: it was run on another device or with another version of torch; else empty.
    """

    recorded: Sequence[EpochRow]
    rows: Iterator[EpochRow]
    epochs: int
    elsewhere: str


def recompute_trial(folder: ExperimentFolder, number: int, *, data: str | None) -> Recomputation:
    """Prepares to compute trial `number` again, epoch by epoch; nothing is written.

    Args:
        folder: of the experiment.
        number: of the trial.
        data: new location of the data; None if it has not moved.

    Raises:
        ValueError: if there is no such trial, it is a branch, or the data is not what the experiment was run on.
    """
    experiment = folder.read_record()
    settings = recorded_settings(folder, experiment)
    recorded = TrialSnapshot.read(find_trial(folder, number))
    if recorded.record.kind == "branch":
        raise ValueError(f"NUMBER must not be a branch, which starts from a checkpoint, but got {number}")
    loaded = read_recorded_data(folder, experiment, settings, data)
    trial = Trial(recorded.config, loaded, load_dense(folder.dense_path), threads=settings.resources.cpus_per_trial)

    def run_epochs() -> Iterator[EpochRow]:
        while not trial.is_finished:
            yield trial.run_epoch()

    here = {"device": device_name(trial.device), "torch": version("torch")}
    there = {"device": recorded.record.device, "torch": experiment.versions.get("torch")}
    elsewhere = ", ".join(
        f"{name} {then}, now {here[name]}" for name, then in there.items() if then is not None and then != here[name]
    )
    return Recomputation(recorded.rows, run_epochs(), recorded.config.epochs, elsewhere)


def find_difference(recorded: Sequence[EpochRow], rows: Sequence[EpochRow]) -> str | None:
    """The first value in which `rows` differ from the rows that are recorded, in words; None if there is none.

    Of a trial that was stopped or is not finished, only the recorded epochs are compared.
    """
    for then, now in zip(recorded, rows, strict=False):
        values, others = then.as_values(), now.as_values()
        for name in values:  # what an older version recorded may be less
            if name not in TIMES and values.get(name) != others.get(name):
                return f"{name} of epoch {then.epoch} was {values.get(name)}, and is {others.get(name)} now"
    return None

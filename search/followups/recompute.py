"""Recomputes a recorded trial, to look into it and to check that it is reproducible."""

from collections.abc import Iterator

from records.epoch import EpochRow
from records.experiment import ExperimentFolder
from search.followups.branch import find_trial
from search.setup.validation import read_recorded_data, recorded_settings
from search.snapshot import TrialSnapshot
from trainable.dense import load_dense
from trainable.trial import Trial


def recompute_trial(folder: ExperimentFolder, number: int, *, data: str | None) -> Iterator[EpochRow]:
    """The rows of trial `number`, recomputed epoch by epoch; nothing is written.

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

    return run_epochs()

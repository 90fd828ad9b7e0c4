"""A recorded trial computed again, for looking into it and for checking that it can be."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from records.experiment import ExperimentFolder
from records.files import read_json
from search.followups.branch import find_trial
from search.setup.creation import recorded_data, recorded_settings
from search.snapshot import read_trial
from trainable.config import trial_config
from trainable.dense import load_dense
from trainable.trial import Trial


def replay(storage: Path, name: str, number: int, *, data: str | None) -> Iterator[dict[str, Any]]:
    """The rows of trial `number` as they are computed anew, epoch by epoch; nothing is written.

    Args:
        storage, name: where the experiment is.
        number: of the trial.
        data: where its data is now, None for where it was.

    Raises:
        ValueError: if there is no such trial, or the data is not what the experiment was run on.
    """
    folder = ExperimentFolder.find(storage, name)
    experiment = read_json(folder.record_path)
    settings = recorded_settings(folder, experiment)
    record = read_trial(find_trial(folder, number))
    if record.parent is not None:
        raise ValueError(f"NUMBER must not be a branch, which starts from a checkpoint of its own, but got {number}")
    loaded = recorded_data(folder, experiment, settings, data, say=lambda line: None)
    dense = load_dense(folder.dense)
    trial = Trial(trial_config(record.config), loaded, dense, threads=settings.resources.cpus_per_trial)

    def rows() -> Iterator[dict[str, Any]]:
        while not trial.finished:
            yield trial.run_epoch()

    return rows()

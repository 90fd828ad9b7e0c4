"""Trials as the search needs them: whole, or named and left alone."""

from collections.abc import Iterator

from pydantic import ValidationError

from analysis.optuna_study import trial_of
from records.experiment import ExperimentFolder
from records.trial import TrialFolder, TrialRecord
from search.settings import explain
from trainable.config import trial_config


def read_trial(folder: TrialFolder) -> TrialRecord:
    """A trial's record, once its configuration and its parameters have been found to be what they should be.

    Raises:
        ValueError: in one line that names the file.
    """
    record = folder.read()
    try:
        trial_config(record.config)
        trial_of(record, None, {})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = explain(error) if isinstance(error, ValidationError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{folder.record_path} is damaged: {' '.join(reason.split())}") from error
    return record


def whole_trials(folder: ExperimentFolder) -> Iterator[tuple[TrialFolder, TrialRecord]]:
    """The trials that can be read, in the order of their numbers."""
    for trial in folder.trials():
        try:
            yield trial, read_trial(trial)
        except ValueError:
            continue  # Search names it

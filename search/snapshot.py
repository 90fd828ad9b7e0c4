"""An experiment's records at one moment: read once, under the driver's lock, for everything that a start needs."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from pydantic import ValidationError

from analysis.optuna_study import trial_of
from records.epoch import EpochRow
from records.experiment import ExperimentFolder
from records.trial import TrialFolder, TrialRecord
from search.settings import explain_invalid
from trainable.config import TrialConfig, trial_config


@dataclass(frozen=True)
class TrialSnapshot:
    """A trial whose record is valid: its files, its record, the configuration in it, and its rows."""

    folder: TrialFolder
    record: TrialRecord
    config: TrialConfig
    rows: list[EpochRow]

    @classmethod
    def read(cls, folder: TrialFolder) -> Self:
        """Reads the trial; raises ValueError, in one line that names the file, if its record is damaged.

        Besides the record's own fields, checks its configuration and what the study suggested.
        """
        record = folder.read_record()
        try:
            config = trial_config(record.config)
            trial_of(record, None, {})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = (
                explain_invalid(error) if isinstance(error, ValidationError) else f"{type(error).__name__}: {error}"
            )
            raise ValueError(f"{folder.record_path} is damaged: {' '.join(reason.split())}") from error
        return cls(folder, record, config, folder.read_rows(record.rows_digest))

    @property
    def number(self) -> int:
        return self.record.number

    @property
    def own_epochs(self) -> int:
        """Epochs that the trial runs itself; a branch inherits the others."""
        return self.config.epochs - len(self.config.begun)

    @property
    def own_epochs_done(self) -> int:
        return max(0, len(self.rows) - len(self.config.begun))

    @property
    def is_result_lost(self) -> bool:
        """Whether the trial completed, but its last rows are gone."""
        return self.record.state == "complete" and len(self.rows) < self.config.epochs


@dataclass(frozen=True)
class Snapshot:
    """The trials of an experiment.

    trials: those whose records are valid, ordered by number. numbers: of all trials.
    problems: what is wrong with the others, one line each.
    """

    trials: tuple[TrialSnapshot, ...]
    numbers: frozenset[int]
    problems: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: ExperimentFolder) -> Self:
        """Reads all trials of an experiment; the caller holds its lock, or the records could change right away."""
        trials, numbers, problems = [], set(), []
        for trial in folder.trial_folders():
            numbers.add(trial.number)
            try:
                trials.append(TrialSnapshot.read(trial))
            except ValueError as error:
                problems.append(str(error))
        return cls(tuple(trials), frozenset(numbers), tuple(problems))

    def updated(self, changed: Iterable[TrialSnapshot]) -> Self:
        """A snapshot in which these trials replace their earlier state or are added."""
        by_number = {trial.number: trial for trial in (*self.trials, *changed)}
        trials = tuple(by_number[number] for number in sorted(by_number))
        return replace(self, trials=trials, numbers=self.numbers.union(by_number))

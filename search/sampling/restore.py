"""The early stopping of a search that goes on, rebuilt from the records."""

from collections.abc import Collection

from records.experiment import ExperimentFolder
from search.sampling.early_stopping import SuccessiveHalving
from search.settings import Settings
from search.snapshot import whole_trials
from trainable.recorded_trial import stop


def rebuilt(
    settings: Settings, folder: ExperimentFolder, retried: Collection[int]
) -> tuple[SuccessiveHalving, list[int]]:
    """The early stopping as the records have it, and the trials that it stops now.

    A trial whose newest row is at a rung may have been told there to stop, and a crash kept that from being recorded;
    so that is decided now. A failed one that is `retried` had been told to go on.
    """
    search = settings.search
    stopping = SuccessiveHalving(search.early_stopping, objectives=search.objectives, epochs=settings.trial.epochs)
    undecided = []
    for trial, record in whole_trials(folder):
        if record.asked:
            rows = trial.rows()
            stopping.remember(record.number, rows)
            if record.state == "running" and record.number not in retried and rows:
                undecided.append((trial, rows[-1]))
    stopped = []
    for trial, row in undecided:
        if not stopping.goes_on(trial.number, row):
            stop(trial, search.keep_at_alpha)
            stopped.append(trial.number)
    return stopping, stopped

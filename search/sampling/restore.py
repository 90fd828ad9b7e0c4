"""Restores the early stopping of a resumed search from its records."""

from collections.abc import Collection

from search.sampling.early_stopping import SuccessiveHalving
from search.settings import Settings
from search.snapshot import Snapshot, TrialSnapshot


def restore_early_stopping(
    settings: Settings, snapshot: Snapshot, retried: Collection[int]
) -> tuple[SuccessiveHalving, list[TrialSnapshot]]:
    """The early stopping according to the records, and the running trials that it would stop now; nothing is written.

    A trial whose newest row is at a rung may have been told to stop just before a crash, so the decision is made
    again. A failed trial that is `retried` had been told to continue.
    """
    search = settings.search
    stopping = SuccessiveHalving(search.early_stopping, objectives=search.objectives, epochs=settings.trial.epochs)
    searched = [trial for trial in snapshot.trials if trial.record.kind == "searched"]
    for trial in searched:
        stopping.remember_rows(trial.number, trial.rows)
    to_stop = [
        trial
        for trial in searched
        if trial.record.state == "running"
        and trial.number not in retried
        and trial.rows
        and not stopping.should_continue(trial.number, trial.rows[-1])
    ]
    return stopping, to_stop

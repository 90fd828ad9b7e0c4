"""The early stopping of a search that is resumed, restored from its records."""

from collections.abc import Collection

from search.sampling.early_stopping import SuccessiveHalving
from search.settings import Settings
from search.snapshot import Snapshot, TrialSnapshot


def restore_early_stopping(
    settings: Settings, snapshot: Snapshot, retried: Collection[int]
) -> tuple[SuccessiveHalving, list[TrialSnapshot]]:
    """The early stopping as the records have it, and the running trials that it would stop now; nothing is written.

    A trial whose newest row is at a rung may have been told there to stop, and a crash kept that from being recorded;
    so that is decided again. A failed one that is `retried` had been told to go on.
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

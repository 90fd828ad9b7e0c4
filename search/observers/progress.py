"""What a person sees of a running search, on stderr: one live display on a terminal, plain lines elsewhere."""

import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from records.experiment import ExperimentFolder
from records.trial import TrialRecord
from search.observers.optuna_journal import EventFiles
from search.settings import Settings
from search.snapshot import read_trial, whole_trials


class SearchProgress:
    """Counts epochs and trials as they are done. Enter it, tell it; it only ever reads the records."""

    def __init__(
        self,
        folder: ExperimentFolder,
        settings: Settings,
        *,
        planned: int,
        dense_epochs: int,
        events: EventFiles | None = None,
    ) -> None:
        """Starts from what the records already have.

        Args:
            folder: of the experiment.
            settings: of the experiment.
            planned: trials in all, controls included.
            dense_epochs: epochs that the dense network still has to be trained.
            events: gets the rows, too.
        """
        self._events = events
        self._console = Console(stderr=True, highlight=False)
        self._folder, self._planned, self._dense_epochs = folder, planned, dense_epochs
        self._epochs_each = settings.trial.epochs
        self._epochs = self._epochs_left = planned * self._epochs_each
        self._ended, self._best, self._best_accuracy = 0, "", -1.0
        self._room: tuple[int, int] | None = None
        for trial, record in whole_trials(folder):
            rows, own = trial.rows(), _own_epochs(record)
            self._epochs += own - self._epochs_each
            self._epochs_left += own - self._epochs_each
            if record.state == "running":
                self._epochs_left -= max(0, len(rows) - _begun(record))
            else:
                self._count_end(record, rows)
                self._epochs_left -= own
        self._epochs_at_start = self._epochs_left
        self._began = time.monotonic()
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[state]}"))
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task("starting", total=None, state="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, soft_wrap=True)

    def dense_epoch(self, row: dict[str, Any]) -> None:
        """An epoch of the dense network is done."""
        state = f"epoch {row['epoch']} of {self._dense_epochs}, validation accuracy {row['val_accuracy']:.4f}"
        if self._bar is not None:
            self._bar.update(
                self._task, description="dense network", completed=row["epoch"], total=self._dense_epochs, state=state
            )
        elif row["epoch"] == self._dense_epochs or row["epoch"] % max(1, self._dense_epochs // 5) == 0:
            self.say(f"dense network: {state}")
        self._began = time.monotonic()  # the estimate is of the trials' epochs

    def epoch(self, number: int, row: dict[str, Any]) -> None:
        """An epoch of trial `number` is done."""
        if self._events:
            self._events.row(number, row)
        self._epochs_left -= 1
        self._update()

    def ended(self, number: int) -> None:
        """Trial `number` has ended, as its record says."""
        if self._events:
            self._events.ended(number)
        folder = self._folder.trial(number)
        try:
            record, rows = read_trial(folder), folder.rows()
        except ValueError:
            return  # Search has said so
        self._epochs_left -= _own_epochs(record) - max(0, len(rows) - _begun(record))
        self._count_end(record, rows)
        text = f"trial {number} {record.state}: {describe(record)}"
        if record.error:
            text += f": {record.error}"
        elif rows:
            accuracy, cut = rows[-1]["pruned_val_accuracy"], rows[-1]["mac_sparsity"]
            text += f", accuracy {accuracy:.4f} at {100 * cut:.0f} % fewer MACs"
            if record.state == "stopped":
                text += f" after epoch {rows[-1]['epoch']}"
        self.say(text if self._bar is not None else f"{text} ({self._state()})")
        self._update()

    def room(self, trials: int, waiting: int) -> None:
        """Says, once when it changes, how many `trials` the cluster has room for, and how many wait for more room."""
        before, self._room = self._room, (trials, waiting)
        if before is None or before == self._room or (before[0] == trials and not waiting):
            return
        waits = f"; {waiting} that ran before {'wait' if waiting > 1 else 'waits'} for resources" if waiting else ""
        self.say(f"trials that the cluster has room for: {trials} now, {before[0]} before{waits}")

    def _count_end(self, record: TrialRecord, rows: list[dict[str, Any]]) -> None:
        self._ended += 1
        if record.state == "complete" and rows and rows[-1]["pruned_val_accuracy"] > self._best_accuracy:
            self._best_accuracy = rows[-1]["pruned_val_accuracy"]
            self._best = f"best {self._best_accuracy:.4f} (trial {record.number})"

    def _state(self) -> str:
        done = self._epochs - self._epochs_left
        parts = [f"{self._ended} of {self._planned} trials", f"{done} of {self._epochs} epochs"]
        if self._best:
            parts.append(self._best)
        run = self._epochs_at_start - self._epochs_left
        if run > 0 and self._epochs_left > 0:
            parts.append(f"about {_duration((time.monotonic() - self._began) / run * self._epochs_left)} left")
        return ", ".join(parts)

    def _update(self) -> None:
        if self._bar is not None:
            self._bar.update(
                self._task,
                description="trials",
                completed=self._epochs - self._epochs_left,
                total=self._epochs,
                state=self._state(),
            )


def describe(record: TrialRecord) -> str:
    """What a trial is, in a few words."""
    if record.control:
        return f"control {record.control}"
    alpha, lr = record.config["alpha"], record.config["lr"]
    rate = f" {alpha['rate']:.3g}" if "rate" in alpha else ""
    origin = f", branch of {record.parent['number']}" if record.parent else ""
    return f"{alpha['family']}{rate}, {lr['policy']}{origin}"


def _begun(record: TrialRecord) -> int:
    """Epochs that another trial did before this one branched from it."""
    return len(record.config["begun"])


def _own_epochs(record: TrialRecord) -> int:
    return int(record.config["epochs"]) - _begun(record)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

"""What the user sees of a running search: a live display on a terminal, plain lines elsewhere."""

import logging
import time
from contextlib import suppress

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from analysis.labels import label_record, spell
from analysis.rank.ranking import best_first_key
from analysis.text import format_duration
from records.dense import DenseEpochRow
from records.epoch import EpochRow
from search.observers.observer import SearchObserver, SearchStart, StudyResult
from search.settings import Settings
from search.snapshot import TrialSnapshot

log = logging.getLogger("alphaprune")


class ProgressDisplay(SearchObserver):
    """Counts epochs and trials as they finish; whatever should stay on the screen is logged."""

    def __init__(self, settings: Settings, console: Console) -> None:
        """
        Args:
            settings: of the experiment.
            console: where the live display is drawn, if it is a terminal; log lines must go there too, or they would
                tear it.
        """
        self._console = console
        self._epochs_each = settings.trial.epochs
        self._planned = self._dense_epochs = 0
        self._epochs = self._epochs_left = self._epochs_at_start = 0
        self._ended, self._best = 0, ""
        self._best_key: tuple[float, float, int] | None = None
        self._room: tuple[int, int] | None = None
        self._began = time.monotonic()
        self._bar: Progress | None = None

    def search_started(self, start: SearchStart) -> None:
        """Starts counting from what is already recorded."""
        self._planned, self._dense_epochs = start.planned, start.dense_epochs
        self._epochs = self._epochs_left = start.planned * self._epochs_each
        for trial in start.snapshot.trials:
            self._epochs += trial.own_epochs - self._epochs_each
            self._epochs_left += trial.own_epochs - self._epochs_each
            if trial.record.state == "running":
                self._epochs_left -= trial.own_epochs_done
            else:
                self._epochs_left -= trial.own_epochs
                self._count_end(trial)
        self._epochs_at_start = self._epochs_left
        self._began = time.monotonic()
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[state]}"))
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task("starting", total=None, state="")

    def search_ended(self) -> None:
        if self._bar is not None:
            with suppress(OSError):  # the terminal may have been closed
                self._bar.stop()

    def dense_epoch_done(self, row: DenseEpochRow) -> None:
        state = f"epoch {row.epoch} of {self._dense_epochs}, validation accuracy {row.val_accuracy:.4f}"
        if self._bar is not None:
            self._bar.update(
                self._task, description="dense network", completed=row.epoch, total=self._dense_epochs, state=state
            )
        elif row.epoch == self._dense_epochs or row.epoch % max(1, self._dense_epochs // 5) == 0:
            log.info("dense network: %s", state)
        self._began = time.monotonic()  # the estimate is for the trials' epochs only

    def epoch_done(self, number: int, row: EpochRow) -> None:
        self._epochs_left -= 1
        self._update_bar()

    def trial_ended(self, number: int, trial: TrialSnapshot | None, result: StudyResult | None) -> None:
        if trial is None:
            return
        self._epochs_left -= trial.own_epochs - trial.own_epochs_done
        self._count_end(trial)
        text = _end_line(trial)
        log.info("%s", text if self._bar is not None else f"{text} ({self._describe_state()})")
        self._update_bar()

    def room_changed(self, trials: int, waiting: int) -> None:
        """Logs each change once."""
        before, self._room = self._room, (trials, waiting)
        if before is None or before == self._room or (before[0] == trials and not waiting):
            return
        waits = f"; {waiting} interrupted {'trials are' if waiting > 1 else 'trial is'} waiting for resources"
        log.info(
            "the cluster now has room for %d trial%s (was %d)%s",
            trials,
            "" if trials == 1 else "s",
            before[0],
            waits if waiting else "",
        )

    def _count_end(self, trial: TrialSnapshot) -> None:
        self._ended += 1
        if trial.record.state != "complete" or trial.is_result_lost:
            return
        accuracy, cut = trial.rows[-1].pruned_val_accuracy, trial.record.cut
        key = best_first_key(accuracy, None if cut is None else cut.macs, trial.number)
        if self._best_key is None or key < self._best_key:
            self._best_key, self._best = key, f"best {accuracy:.4f} (trial {trial.number})"

    def _describe_state(self) -> str:
        done = self._epochs - self._epochs_left
        parts = [f"{self._ended} of {self._planned} trials", f"{done} of {self._epochs} epochs"]
        if self._best:
            parts.append(self._best)
        run = self._epochs_at_start - self._epochs_left
        if run > 0 and self._epochs_left > 0:
            parts.append(f"about {format_duration((time.monotonic() - self._began) / run * self._epochs_left)} left")
        return ", ".join(parts)

    def _update_bar(self) -> None:
        if self._bar is not None:
            self._bar.update(
                self._task,
                description="trials",
                completed=self._epochs - self._epochs_left,
                total=self._epochs,
                state=self._describe_state(),
            )


def _end_line(trial: TrialSnapshot) -> str:
    """How a trial ended, in one line."""
    record = trial.record
    label = label_record(record).removeprefix(f"{record.number} ")
    line = f"trial {record.number} {record.state}: {label}, {spell(record.config['lr']['policy'])}"
    if record.error:
        return f"{line}: {record.error}"
    if trial.rows:
        last = trial.rows[-1]
        line += f", accuracy {last.pruned_val_accuracy:.4f} at {100 * last.mac_sparsity:.0f}% fewer MACs"
        if record.state == "stopped":
            line += f" after epoch {last.epoch}"
    return line

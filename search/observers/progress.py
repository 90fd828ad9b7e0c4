"""What the user sees of a running search: a live display on a terminal, plain lines elsewhere."""

import logging
from collections.abc import Iterable
from contextlib import suppress

from rich import box
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Table
from rich.text import Text

from analysis.labels import label_record, spell
from analysis.rank.ranking import best_first_key
from analysis.text import UNKNOWN, format_duration, percent_number
from records.dense import DenseEpochRow
from records.epoch import EpochRow
from records.experiment import ExperimentFolder
from search.observers.observer import SearchObserver, SearchStart, StudyResult
from search.observers.search_clock import SearchClock
from search.settings import Settings
from search.snapshot import TrialSnapshot
from trainable.config import trial_config

log = logging.getLogger("alphaprune")

# From how many columns on the running trials are shown, and how many of them.
TABLE_COLUMNS = 110
TABLE_ROWS = 12
LEAST_BAR, MOST_BAR = 6, 40


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
        self._epochs = self._epochs_left = 0
        self._reached: dict[int, int] = {}  # the newest epoch of the trials that have begun and not ended
        self._ended, self._best = 0, ""
        self._best_key: tuple[float, float, int] | None = None
        self._room: tuple[int, int] | None = None
        self._clock: SearchClock | None = None
        self._knows_time = False
        self._wants_gpu = False  # whether trials are given GPUs, and all that have begun use theirs
        self._running = RunningTrials(self._epochs_each)
        self._bar: _SearchProgress | None = None

    def search_started(self, start: SearchStart) -> None:
        """Starts counting from what is already recorded."""
        self._planned, self._dense_epochs = start.planned, start.dense_epochs
        self._ended, self._best, self._best_key = 0, "", None
        self._epochs = self._epochs_left = start.planned * self._epochs_each
        self._reached.clear()
        for trial in start.snapshot.trials:
            self._epochs += trial.own_epochs - self._epochs_each
            self._epochs_left += trial.own_epochs - self._epochs_each
            if trial.record.state == "running":
                self._reached[trial.number] = len(trial.rows)
                self._epochs_left -= trial.own_epochs_done
            else:
                self._epochs_left -= trial.own_epochs
                self._count_end(trial)
        if start.workload is not None:
            planned, dense_epochs = start.planned, start.dense_epochs
            self._clock = SearchClock(start.workload, start.snapshot, planned=planned, dense_epochs=dense_epochs)
            self._knows_time = self._clock.estimate() is not None  # the plan has said it
            self._wants_gpu = start.workload.hardware.device == "GPU"
        self._running.folder = start.folder
        if self._console.is_terminal:
            self._bar = _SearchProgress(self._console, self._running)
            self._bar.start()
            self._task = self._bar.add_task("starting", total=None, state="", left="")
            if not self._dense_epochs:
                self._update_bar()

    def search_ended(self) -> None:
        if self._bar is not None:
            with suppress(OSError):  # the terminal may have been closed
                self._bar.stop()

    def dense_epoch_done(self, row: DenseEpochRow) -> None:
        state = f"epoch {row.epoch} of {self._dense_epochs}, validation accuracy {row.val_accuracy:.4f}"
        if self._clock is not None:
            self._clock.dense_epoch_done(row)
        if self._bar is not None:
            state = state.replace("validation accuracy", "accuracy")
            left = self._describe_dense_left()
            self._bar.update(
                self._task,
                description="dense network",
                completed=row.epoch,
                total=self._dense_epochs,
                state=state,
                left=left,
            )
        elif row.epoch == self._dense_epochs or row.epoch % max(1, self._dense_epochs // 5) == 0:
            log.info("dense network: %s", state)
        if row.epoch == self._dense_epochs or not self._knows_time:
            self._log_time()

    def epoch_done(self, number: int, row: EpochRow) -> None:
        if self._wants_gpu and number not in self._reached:
            self._check_gpu(number)
        # A trial that lost its process computes some epochs again.
        before = self._reached.setdefault(number, row.epoch - 1)
        self._reached[number] = max(before, row.epoch)
        self._epochs_left -= self._reached[number] - before
        self._running.epoch_done(number, row)
        if self._clock is not None:
            self._clock.epoch_done(number, row)
        if not self._knows_time:
            self._log_time()
        self._update_bar()

    def _check_gpu(self, number: int) -> None:
        """Warns once if the trial trains without the GPU that it was given, which takes many times as long."""
        assert self._running.folder is not None
        with suppress(ValueError, OSError):
            record = self._running.folder.trial_folder(number).read_record()
            if record.device == "cpu":
                self._wants_gpu = False
                log.warning(
                    "trial %d was given a GPU, but trains on the CPU: torch finds no GPU that it can use on %s",
                    number,
                    record.host,
                )

    def trial_ended(self, number: int, trial: TrialSnapshot | None, result: StudyResult | None) -> None:
        self._running.trial_ended(number)
        reached = self._reached.pop(number, 0)
        if self._clock is not None:
            self._clock.trial_ended(number)
        if trial is None:
            return
        self._epochs_left -= trial.config.epochs - max(reached, len(trial.config.begun))
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
        # A twin is no candidate: it is there to be compared with.
        if trial.record.state != "complete" or trial.is_result_lost or trial.record.kind == "twin":
            return
        accuracy, cut = trial.rows[-1].pruned_val_accuracy, trial.record.cut
        key = best_first_key(accuracy, None if cut is None else cut.macs, trial.number)
        if self._best_key is None or key < self._best_key:
            self._best_key, self._best = key, f"best {accuracy:.4f} (trial {trial.number})"

    def _describe_counts(self) -> str:
        done = self._epochs - self._epochs_left
        return f"{self._ended} of {self._planned} trials, {done} of {self._epochs} epochs"

    def _describe_left(self) -> str:
        """The time left, as of the last epoch; nothing if it is not known, or nothing is left."""
        estimate = self._clock.estimate() if self._clock is not None else None
        if estimate is None or self._epochs_left <= 0:
            return ""
        return f"about {format_duration(estimate.seconds)} left"

    def _describe_dense_left(self) -> str:
        estimate = self._clock.estimate() if self._clock is not None else None
        if estimate is None:
            return ""
        return f"{format_duration(estimate.dense_seconds)} left, {format_duration(estimate.seconds)} in all"

    def _describe_state(self) -> str:
        return ", ".join(filter(None, (self._describe_counts(), self._best, self._describe_left())))

    def _log_time(self) -> None:
        estimate = self._clock.estimate() if self._clock is not None else None
        if estimate is not None:
            self._knows_time = True
            log.info("time left: %s", estimate)

    def _update_bar(self) -> None:
        if self._bar is not None:
            self._bar.update(
                self._task,
                description=self._describe_counts(),
                completed=self._epochs - self._epochs_left,
                total=self._epochs,
                state=self._best,
                left=self._describe_left().removeprefix("about "),
            )


class RunningTrials:
    """The trials that have reported an epoch and not ended, as a table.

    Attributes:
        folder: of the experiment, where their records are; None before the search has started.
    """

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self._rows: dict[int, EpochRow] = {}
        self._trials: dict[int, tuple[str, int]] = {}  # the label, and the epochs, which a twin has its own number of
        self.folder: ExperimentFolder | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def epoch_done(self, number: int, row: EpochRow) -> None:
        """Trial `number` has done an epoch."""
        self._rows[number] = row
        if number not in self._trials and self.folder is not None:
            self._trials[number] = str(number), self._epochs
            with suppress(ValueError, OSError):
                record = self.folder.trial_folder(number).read_record()
                self._trials[number] = label_record(record), trial_config(record.config).epochs

    def trial_ended(self, number: int) -> None:
        """Trial `number` is no longer running."""
        self._rows.pop(number, None)
        self._trials.pop(number, None)

    def __rich__(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        table.add_column("running", no_wrap=True)
        for heading in ("epoch", "phase", "alpha", "accuracy if cut, %", "epochs a minute"):
            table.add_column(heading, justify="left" if heading == "phase" else "right", no_wrap=True)
        shown = sorted(self._rows)[:TABLE_ROWS]
        for number in shown:
            row = self._rows[number]
            pace = UNKNOWN if not row.epoch_seconds else f"{60 / row.epoch_seconds:.3g}"
            accuracy = percent_number(row.pruned_val_accuracy, 2)
            label, epochs = self._trials.get(number, (str(number), self._epochs))
            epoch = f"{row.epoch} of {epochs}"
            table.add_row(Text(label), epoch, row.phase, f"{row.alpha:.3g}", accuracy, pace)
        if len(self._rows) > len(shown):
            table.caption = f"and {len(self._rows) - len(shown)} more"
        return table


class _SearchProgress(Progress):
    """One line of at most the terminal's width, and above it, where there is room, the running trials."""

    def __init__(self, console: Console, running: RunningTrials) -> None:
        self._running, self._bar, self._console = running, BarColumn(), console
        columns: list[ProgressColumn] = [_CountsColumn(), self._bar, TextColumn("{task.fields[state]}"), _LeftColumn()]
        super().__init__(*columns, console=console, transient=True)

    def get_renderables(self) -> Iterable[RenderableType]:
        width = self._console.width
        if width >= TABLE_COLUMNS and len(self._running):
            yield self._running
        for task in self.tasks:
            texts = [max(1, len(task.fields[name])) for name in ("state", "left")]  # an empty column has a width, too
            room = width - sum(texts) - 3  # the spaces between the columns
            counts = _fit_counts(task.description, room - LEAST_BAR)
            task.fields["counts"] = counts
            self._bar.bar_width = max(LEAST_BAR, min(MOST_BAR, room - len(counts)))
        yield self.make_tasks_table(self.tasks)


def _fit_counts(counts: str, room: int) -> str:
    """The counts of trials and of epochs, or of trials alone where there is not room for both."""
    return counts if len(counts) <= room else counts.partition(",")[0]


class _CountsColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(task.fields.get("counts", task.description), no_wrap=True)


class _LeftColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(task.fields["left"], "progress.remaining", no_wrap=True)


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

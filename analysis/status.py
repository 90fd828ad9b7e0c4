"""How an experiment stands, while it runs or after: who runs it, what is done, what is running, what failed."""

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import pandas as pd

from analysis.columns import iterate_rows, number_of
from analysis.experiment import Experiment
from analysis.labels import label_row, select_kinds
from analysis.rank.ranking import sort_best_first
from analysis.text import first_line
from records.driver import DriverRecord, DriverState, format_command, read_driver_state
from records.experiment import ExperimentFolder

State = Literal["running", "measuring", "interrupted", "not measured", "finished"]


@dataclass(frozen=True)
class StateCounts:
    """How many there are of each state; planned: how many were asked for, None where the settings do not say.

    interrupted: those that would be running if a process ran the experiment.
    """

    planned: int | None
    complete: int
    running: int
    stopped: int
    failed: int
    interrupted: int = 0

    @property
    def ended(self) -> int:
        return self.complete + self.stopped + self.failed

    @property
    def total(self) -> int:
        """How many there are, or will be."""
        return max(self.planned or 0, self.ended + self.running + self.interrupted)


@dataclass(frozen=True)
class NamedTrial:
    """Which trial it is; control: its kind if it is a control."""

    number: int
    label: str
    control: str | None


@dataclass(frozen=True)
class RunningTrial(NamedTrial):
    """A trial that has not ended: it runs or waits, or is interrupted. What is not known yet is None.

    epoch: the last that has a row, 0 before the first; phase, alpha, pruned_val_accuracy: of that epoch.
    seconds_since_row: since its last row was written, or since its start where it has none.
    """

    confirms: int | None
    epoch: int
    epochs: int | None
    phase: str | None
    alpha: float | None
    pruned_val_accuracy: float | None
    host: str | None
    device: str | None
    seconds_since_row: float | None


@dataclass(frozen=True)
class BestTrial(NamedTrial):
    """The best complete trial: the most accurate one, of equals the one with the fewest MACs (rank.ranking)."""

    pruned_val_accuracy: float
    accuracy_drop: float | None
    mac_sparsity: float | None


@dataclass(frozen=True)
class FailedTrial(NamedTrial):
    """A failed trial and the first line of its error."""

    error: str


@dataclass(frozen=True)
class ExperimentStatus:
    """How an experiment stands. Accuracies are fractions in [0, 1].

    state: `running` and `measuring` while a process does that; then `finished`, or what is left to do: trials
    (`interrupted`) or only measurements (`not measured`). driver: that process or the last one, None if that is not
    known; seconds_since_driver: since it was last alive. command: what continues the experiment, None if nothing is
    left to do or it is being done. running, interrupted: the trials that have not ended; one of them is empty.
    dense_val_accuracy: None until the dense network is trained. front_size: how many complete trials are on the Pareto
    front of accuracy and MACs. problems: see Experiment.
    """

    name: str
    state: State
    driver: DriverRecord | None
    seconds_since_driver: float | None
    command: str | None
    dense_val_accuracy: float | None
    controls: StateCounts
    branches: StateCounts
    repeats: StateCounts
    twins: StateCounts
    trials: StateCounts
    running: tuple[RunningTrial, ...]
    interrupted: tuple[RunningTrial, ...]
    best: BestTrial | None
    front_size: int
    failed: tuple[FailedTrial, ...]
    problems: tuple[str, ...]


def status(experiment: Experiment, at: datetime | None = None, driver: DriverState | None = None) -> ExperimentStatus:
    """How the experiment stood when it was loaded.

    Args:
        experiment: from analysis.load.
        at: when to count seconds from, now by default.
        driver: who ran it before it was loaded; by default, who runs it now. One that ended in between would have left
            newer records.
    """
    driver, at = driver or read_driver_state(ExperimentFolder(experiment.path)), at or datetime.now(UTC)
    unended = _unended_trials(experiment, at)
    trials, controls = experiment.trials, experiment.settings.get("controls")
    failed = trials[trials["state"] == "failed"]
    state = _find_state(experiment, driver)
    return ExperimentStatus(
        name=experiment.name,
        state=state,
        driver=driver.record,
        seconds_since_driver=None if driver.last_seen is None else max(0.0, at.timestamp() - driver.last_seen),
        command=_find_command(experiment, state, driver.record),
        dense_val_accuracy=experiment.dense.val_accuracy if experiment.dense else None,
        controls=_count_states(select_kinds(trials, "control"), _count_controls(controls), driver),
        branches=_count_states(select_kinds(trials, "branch"), None, driver),
        repeats=_count_states(select_kinds(trials, "repeat"), None, driver),
        twins=_count_states(select_kinds(trials, "twin"), None, driver),
        trials=_count_states(select_kinds(trials, "searched"), _count_searched(experiment), driver),
        running=unended if driver.is_alive else (),
        interrupted=() if driver.is_alive else unended,
        best=_best_trial(experiment),
        front_size=int(experiment.ranked["on_front"].sum()),
        failed=tuple(
            FailedTrial(*_name_trial(number, trial), first_line(trial["error"]))
            for number, trial in iterate_rows(failed)
        ),
        problems=tuple(experiment.problems),
    )


def _find_state(experiment: Experiment, driver: DriverState) -> State:
    record = driver.record
    if driver.is_alive:
        return "measuring" if record is not None and record.to_measure is not None else "running"
    if (experiment.trials["state"] == "running").any():
        return "interrupted"
    has_searched = record is not None and record.searched
    if not has_searched and (record is None or record.command == "measure"):
        has_searched = _has_all_trials(experiment)  # it was searched by a version that kept no such record
    if not has_searched:
        return "interrupted"
    is_done = record is None or (record.ended is not None and record.reason is None)
    return "finished" if is_done else "not measured"


def _has_all_trials(experiment: Experiment) -> bool:
    planned = _count_searched(experiment)
    controls = _count_controls(experiment.settings.get("controls")) or 0
    return planned is not None and len(ExperimentFolder(experiment.path).trial_names()) >= planned + controls


def _find_command(experiment: Experiment, state: State, record: DriverRecord | None) -> str | None:
    folder = ExperimentFolder(experiment.path)
    if state not in ("interrupted", "not measured"):
        return None
    if record is None or (state == "interrupted" and record.command != "resume"):
        return format_command(folder, "resume")
    return format_command(folder, record.command, record.options)


def to_json(status: ExperimentStatus) -> str:
    """The status as a JSON object, null where something is not known."""
    return json.dumps(asdict(status), indent=1, allow_nan=False)


def _name_trial(number: int, trial: Mapping[str, Any]) -> tuple[int, str, str | None]:
    label = label_row(number, trial)
    return number, label.text, label.control


def _unended_trials(experiment: Experiment, at: datetime) -> tuple[RunningTrial, ...]:
    folder = ExperimentFolder(experiment.path)
    rows = dict(iterate_rows(experiment.epochs[~experiment.epochs.index.duplicated(keep="last")]))
    running = []
    for number, trial in iterate_rows(experiment.trials[experiment.trials["state"] == "running"]):
        row = rows.get(number, {})
        since = _known_value(trial["started"])
        with suppress(OSError):
            if row:
                since = datetime.fromtimestamp(folder.trial_folder(number).rows_path.stat().st_mtime, UTC)
        running.append(
            RunningTrial(
                *_name_trial(number, trial),
                confirms=_whole_number(trial["confirms"]),
                epoch=trial["epochs_done"],
                epochs=_whole_number(number_of(trial, "epochs")),
                phase=row.get("phase"),
                alpha=row.get("alpha"),
                pruned_val_accuracy=row.get("pruned_val_accuracy"),
                host=_known_value(trial["host"]),
                device=_known_value(trial["device"]),
                # Clocks of other machines may be ahead.
                seconds_since_row=None if since is None else max(0.0, (at - since).total_seconds()),
            )
        )
    return tuple(running)


def _best_trial(experiment: Experiment) -> BestTrial | None:
    for number, trial in iterate_rows(sort_best_first(experiment.ranked).head(1)):
        outcomes = (_known_value(trial[name]) for name in ("pruned_val_accuracy", "accuracy_drop", "mac_sparsity"))
        return BestTrial(*_name_trial(number, trial), *outcomes)
    return None


def _count_controls(settings: Any) -> int | None:
    """How many controls were asked for; None where the settings do not say."""
    kinds, amounts = (settings.get("kinds"), settings.get("amounts")) if isinstance(settings, dict) else (None, None)
    return len(kinds) * len(amounts) if isinstance(kinds, list) and isinstance(amounts, list) else None


def _count_searched(experiment: Experiment) -> int | None:
    """How many trials the study was to suggest; None where the settings do not say."""
    return _whole_number(number_of(experiment.settings.get("search"), "trials"))


def _count_states(trials: pd.DataFrame, planned: int | None, driver: DriverState) -> StateCounts:
    counts = trials["state"].value_counts()
    complete, unended, stopped, failed = (
        int(counts.get(state, 0)) for state in ("complete", "running", "stopped", "failed")
    )
    running, interrupted = (unended, 0) if driver.is_alive else (0, unended)
    return StateCounts(planned, complete, running, stopped, failed, interrupted)


def _known_value(value: Any) -> Any:
    return None if value is None or pd.isna(value) else value


def _whole_number(value: float) -> int | None:
    return None if math.isnan(value) else int(value)

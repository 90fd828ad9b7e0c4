"""How an experiment stands, while it runs or after: what is done, what is running, what failed."""

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from analysis.columns import iterate_rows, number_of
from analysis.experiment import Experiment
from analysis.labels import label_row, select_kinds
from analysis.rank.ranking import sort_best_first
from analysis.text import first_line
from records.experiment import ExperimentFolder


@dataclass(frozen=True)
class StateCounts:
    """How many there are of each state; planned: how many were asked for, None where the settings do not say."""

    planned: int | None
    complete: int
    running: int
    stopped: int
    failed: int


@dataclass(frozen=True)
class NamedTrial:
    """Which trial it is; control: its kind if it is a control."""

    number: int
    label: str
    control: str | None


@dataclass(frozen=True)
class RunningTrial(NamedTrial):
    """A trial whose record says it runs. What is not known yet is None.

    epoch: the last that has a row, 0 before the first; phase, alpha, pruned_val_accuracy: of that epoch.
    seconds_since_row: since its last row was written, or since its start where it has none; it tells of
    a trial whose process died.
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

    dense_val_accuracy: None until the dense network is trained. front_size: how many complete trials are on the Pareto
    front of accuracy and MACs. problems: see Experiment.
    """

    name: str
    dense_val_accuracy: float | None
    controls: StateCounts
    branches: StateCounts
    repeats: StateCounts
    trials: StateCounts
    running: tuple[RunningTrial, ...]
    best: BestTrial | None
    front_size: int
    failed: tuple[FailedTrial, ...]
    problems: tuple[str, ...]


def status(experiment: Experiment, at: datetime | None = None) -> ExperimentStatus:
    """How the experiment stood when it was loaded; `at` (now by default) is when to count seconds from."""
    trials = experiment.trials
    return ExperimentStatus(
        name=experiment.name,
        dense_val_accuracy=experiment.dense.val_accuracy if experiment.dense else None,
        controls=_count_states(select_kinds(trials, "control"), _count_controls(experiment.settings.get("controls"))),
        branches=_count_states(select_kinds(trials, "branch"), None),
        repeats=_count_states(select_kinds(trials, "repeat"), None),
        trials=_count_states(
            select_kinds(trials, "searched"), _whole_number(number_of(experiment.settings.get("search"), "trials"))
        ),
        running=_running_trials(experiment, at or datetime.now(UTC)),
        best=_best_trial(experiment),
        front_size=int(experiment.ranked["on_front"].sum()),
        failed=tuple(
            FailedTrial(*_name_trial(number, trial), first_line(trial["error"]))
            for number, trial in iterate_rows(trials[trials["state"] == "failed"])
        ),
        problems=tuple(experiment.problems),
    )


def to_json(status: ExperimentStatus) -> str:
    """The status as a JSON object, null where something is not known."""
    return json.dumps(asdict(status), indent=1, allow_nan=False)


def _name_trial(number: int, trial: Mapping[str, Any]) -> tuple[int, str, str | None]:
    label = label_row(number, trial)
    return number, label.text, label.control


def _running_trials(experiment: Experiment, at: datetime) -> tuple[RunningTrial, ...]:
    folder = ExperimentFolder(experiment.path)
    rows = dict(iterate_rows(experiment.epochs.drop_duplicates("number", keep="last").set_index("number")))
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


def _count_states(trials: pd.DataFrame, planned: int | None) -> StateCounts:
    counts = trials["state"].value_counts()
    return StateCounts(planned, *(int(counts.get(state, 0)) for state in ("complete", "running", "stopped", "failed")))


def _known_value(value: Any) -> Any:
    return None if value is None or pd.isna(value) else value


def _whole_number(value: float) -> int | None:
    return None if math.isnan(value) else int(value)

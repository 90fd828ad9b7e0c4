"""How an experiment stands, while it runs or after: what is done, what is running, what failed."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.experiment import Experiment
from analysis.tables.trials import number_of
from analysis.text import printable
from records.experiment import ExperimentFolder


@dataclass(frozen=True)
class Counts:
    """How many there are of each state; planned: how many were asked for, None where the settings do not say."""

    planned: int | None
    complete: int
    running: int
    stopped: int
    failed: int


@dataclass(frozen=True)
class Running:
    """A trial whose record says it runs. What is not known yet is None.

    epoch: the last that has a row, 0 before the first; phase, alpha, pruned_val_accuracy: of that epoch.
    seconds_since_row: since its last row was written, or since its start where it has none; a trial whose process
    died without a word shows by it.
    """

    number: int
    control: str | None
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
class Best:
    """The complete trial with the highest pruned_val_accuracy, the earliest of those that are equal."""

    number: int
    control: str | None
    pruned_val_accuracy: float
    accuracy_drop: float | None
    mac_sparsity: float | None


@dataclass(frozen=True)
class Failed:
    """A failed trial and the first line of its error."""

    number: int
    control: str | None
    error: str


@dataclass(frozen=True)
class Status:
    """How an experiment stands. Accuracies are fractions in [0, 1].

    dense_val_accuracy: None until the dense network is trained. front_size: how many complete trials are on the front
    of accuracy and MACs. problems: see Experiment.
    """

    name: str
    dense_val_accuracy: float | None
    controls: Counts
    branches: Counts
    repeats: Counts
    trials: Counts
    running: tuple[Running, ...]
    best: Best | None
    front_size: int
    failed: tuple[Failed, ...]
    problems: tuple[str, ...]


def status(experiment: Experiment, at: datetime | None = None) -> Status:
    """How the experiment stood when it was loaded; `at` (now by default) is when to count seconds from."""
    trials = experiment.trials
    is_repeat, is_branch = trials["confirms"].notna(), trials["parent"].notna()
    is_control = trials["control"].notna() & ~is_repeat
    planned = experiment.settings.get("controls")
    ranked = experiment.rank(by="pruned_val_accuracy")
    return Status(
        name=experiment.name,
        dense_val_accuracy=experiment.dense.val_accuracy if experiment.dense else None,
        controls=_counts(trials[is_control], _product(planned, ("kinds", "amounts"))),
        branches=_counts(trials[is_branch], None),
        repeats=_counts(trials[is_repeat], None),
        trials=_counts(
            trials[~is_control & ~is_branch & ~is_repeat],
            _whole(number_of(experiment.settings.get("search"), "trials")),
        ),
        running=_running(experiment, at or datetime.now(UTC)),
        best=_best(ranked),
        front_size=int(ranked["on_front"].sum()),
        failed=tuple(
            Failed(number, _known(trial["control"]), _first_line(trial["error"]))
            for number, trial in _rows(trials[trials["state"] == "failed"])
        ),
        problems=tuple(experiment.problems),
    )


def to_json(status: Status) -> str:
    """The status as a JSON object, null where something is not known."""
    return json.dumps(asdict(status), indent=1, allow_nan=False)


def _running(experiment: Experiment, at: datetime) -> tuple[Running, ...]:
    folder = ExperimentFolder(experiment.path)
    rows = dict(_rows(experiment.epochs.drop_duplicates("number", keep="last").set_index("number")))
    running = []
    for number, trial in _rows(experiment.trials[experiment.trials["state"] == "running"]):
        row = rows.get(number, {})
        since = _written(folder.trial(number).rows_path) if row else None
        since = since or _known(trial["started"])
        running.append(
            Running(
                number=number,
                control=_known(trial["control"]),
                confirms=_whole(trial["confirms"]),
                epoch=int(trial["epochs_done"]),
                epochs=_whole(number_of(trial, "epochs")),
                phase=row.get("phase"),
                alpha=_known(row.get("alpha")),
                pruned_val_accuracy=_known(row.get("pruned_val_accuracy")),
                host=_known(trial["host"]),
                device=_known(trial["device"]),
                # Clocks of other machines may be ahead.
                seconds_since_row=None if since is None else max(0.0, (at - since).total_seconds()),
            )
        )
    return tuple(running)


def _written(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None


def _best(ranked: pd.DataFrame) -> Best | None:
    for number, trial in _rows(ranked[ranked["pruned_val_accuracy"].notna()].head(1)):
        return Best(
            number=number,
            control=_known(trial["control"]),
            pruned_val_accuracy=trial["pruned_val_accuracy"],
            accuracy_drop=_known(trial["accuracy_drop"]),
            mac_sparsity=_known(trial["mac_sparsity"]),
        )
    return None


def _product(settings: Any, keys: tuple[str, ...]) -> int | None:
    """How many combinations of the lists under `keys` there are; None where the settings do not say."""
    lists = [settings.get(key) for key in keys] if isinstance(settings, dict) else []
    sizes = [len(each) for each in lists if isinstance(each, list)]
    return math.prod(sizes) if len(sizes) == len(keys) else None


def _counts(trials: pd.DataFrame, planned: int | None) -> Counts:
    counts = trials["state"].value_counts()
    return Counts(planned, *(int(counts.get(state, 0)) for state in ("complete", "running", "stopped", "failed")))


def _rows(frame: pd.DataFrame) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a frame whose index is the trial's number."""
    for number, row in zip(frame.index.tolist(), frame.to_dict("records"), strict=True):
        yield number, {str(name): value for name, value in row.items()}


def _known(value: Any) -> Any:
    return None if value is None or pd.isna(value) else value


def _whole(value: float) -> int | None:
    return None if math.isnan(value) else int(value)


def _first_line(error: Any) -> str:
    lines = error.strip().splitlines() if isinstance(error, str) else []
    return printable(lines[0]) if lines else "no error was recorded"

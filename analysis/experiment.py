"""An experiment as its records tell it: finished, running, interrupted or damaged. Nothing is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import ranking
from analysis.epochs import Rows, epochs_frame
from analysis.text import printable
from analysis.trials import number_of, read_bytes, read_record, trials_frame
from trainable.records import ExperimentFolder, TrialFolder, TrialRecord, read_json


@dataclass(frozen=True)
class Experiment:
    """What `load` read.

    record: experiment.json. dense: dense/dense.json, None as long as there is none. trials: a row a trial, controls
    included (columns: analysis.trials). epochs: a row an epoch (columns: analysis.epochs). problems: what could not
    be read or does not fit together, a line each that begins with the file's name.
    """

    path: Path
    record: dict[str, Any]
    dense: dict[str, Any] | None
    trials: pd.DataFrame
    epochs: pd.DataFrame
    problems: list[str]

    @property
    def name(self) -> str:
        return str(self.record["name"])

    @property
    def settings(self) -> dict[str, Any]:
        """The resolved settings, as experiment.json holds them."""
        settings: dict[str, Any] = self.record["settings"]
        return settings

    @property
    def controls(self) -> pd.DataFrame:
        """The rows of `trials` that are controls."""
        return self.trials[self.trials["control"].notna()]

    def rank(
        self, by: str | Sequence[str] | None = None, where: str | None = None, top: int | None = None
    ) -> pd.DataFrame:
        """The complete trials, controls included, best first: see analysis.ranking.rank."""
        return ranking.rank(self.trials, by, where, top)

    def pareto(self, objectives: Sequence[str] = ranking.OBJECTIVES, where: str | None = None) -> pd.DataFrame:
        """The complete trials that no other beats in all `objectives`: see analysis.ranking.pareto."""
        return ranking.pareto(self.trials, objectives, where)


def load(path: str | Path) -> Experiment:
    """Reads the experiment in the folder `path`; raises ValueError, in one line, where that holds none."""
    folder = ExperimentFolder(Path(path))
    record = _experiment_record(folder)
    problems: list[str] = []
    dense = _dense(folder, problems)
    records: list[TrialRecord] = []
    rows: list[Rows] = []
    for trial in sorted(folder.trials(), key=_by_number):
        files = f"trials/{trial.path.name}"
        try:
            # The record first: a trial that ends in between must not look complete without its last row.
            records.append(read_record(trial))
        except (ValueError, OSError) as error:
            problems.append(f"{files}/trial.json {_reason(error)}")
            continue
        rows.append(Rows(records[-1].number, f"{files}/epochs.jsonl", _rows_text(trial, problems)))
    epochs = epochs_frame(rows, problems)
    trials = trials_frame(records, epochs, dense, problems)
    return Experiment(folder.path, record, dense, trials, epochs, [printable(problem) for problem in problems])


def _experiment_record(folder: ExperimentFolder) -> dict[str, Any]:
    where = str(folder.path)
    try:
        if not folder.record_path.is_file():
            names = sorted(path.parent.name for path in folder.path.glob("*/experiment.json"))
            hint = f"choose one of those in it: {', '.join(names)}" if names else "`alphaprune run` makes one"
            raise ValueError(f"{where!r} holds no experiment: there is no experiment.json in it; {hint}")
        record = read_json(folder.record_path)
    except (OSError, RecursionError) as error:
        raise ValueError(f"{where!r} cannot be read: experiment.json {_reason(error)}") from error
    if not isinstance(record.get("name"), str) or not isinstance(record.get("settings"), dict):
        raise ValueError(
            f"{where!r} holds no experiment: its experiment.json has no `name` and `settings`; "
            "was it written by something else than `alphaprune run`?"
        )
    return record


def _dense(folder: ExperimentFolder, problems: list[str]) -> dict[str, Any] | None:
    path = folder.dense / "dense.json"
    try:
        dense = read_json(path)
    except FileNotFoundError:
        return None
    except (ValueError, OSError, RecursionError) as error:
        problems.append(f"dense/dense.json {_reason(error).removeprefix(f'{path} ')}")
        return None
    for key in ("val_accuracy", "macs", "parameters"):
        value = number_of(dense, key)
        if value != value:
            problems.append(f"dense/dense.json has no number `{key}`; what is compared with it is unknown")
    return dense


def _by_number(trial: TrialFolder) -> tuple[int, str]:
    """Sorts trial 99999 before 100000."""
    return len(trial.path.name), trial.path.name


def _rows_text(trial: TrialFolder, problems: list[str]) -> bytes:
    try:
        return read_bytes(trial.rows_path)
    except FileNotFoundError:
        return b""
    except OSError as error:
        problems.append(f"trials/{trial.path.name}/epochs.jsonl {_reason(error)}")
        return b""


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror}"
    return "is damaged: nested too deep" if isinstance(error, RecursionError) else str(error)

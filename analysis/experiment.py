"""An experiment as its records tell it: finished, running, interrupted or damaged. Nothing is written."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import ranking
from analysis.epochs import Rows, epochs_frame
from analysis.text import printable
from analysis.trials import number_of, read_record, trials_frame
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
    for trial in folder.trials():
        try:
            # The record first: a trial that ends in between must not look complete without its last row.
            found = read_record(trial)
        except ValueError as error:
            problems.append(_short(folder, error))
            continue
        records.append(found)
        name = f"trials/{trial.path.name}"
        problems += [f"{name}/trial.json: {problem}" for problem in found.problems]
        rows.append(Rows(found.number, f"{name}/epochs.jsonl", _rows_text(trial, problems)))
    epochs = epochs_frame(rows, problems)
    trials = trials_frame(records, epochs, dense, problems)
    return Experiment(folder.path, record, dense, trials, epochs, [printable(problem) for problem in problems])


def _experiment_record(folder: ExperimentFolder) -> dict[str, Any]:
    where = str(folder.path)
    try:
        if not folder.record_path.is_file():
            names = sorted(path.parent.name for path in folder.path.glob("*/experiment.json"))
            hint = (
                f"choose one of those in it: {printable(', '.join(names))}" if names else "`alphaprune run` makes one"
            )
            raise ValueError(f"{where!r} holds no experiment: there is no experiment.json in it; {hint}")
        record = read_json(folder.record_path)
    except OSError as error:
        raise ValueError(f"{where!r} cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise ValueError(f"{folder.record_path} is damaged: nested too deep") from error
    if not isinstance(record.get("name"), str) or not isinstance(record.get("settings"), dict):
        raise ValueError(
            f"{where!r} holds no experiment: its experiment.json has no `name` and `settings`; "
            "was it written by something else than `alphaprune run`?"
        )
    return record


def _dense(folder: ExperimentFolder, problems: list[str]) -> dict[str, Any] | None:
    try:
        dense = read_json(folder.dense / "dense.json")
    except FileNotFoundError:
        return None
    except OSError as error:
        problems.append(f"dense/dense.json cannot be read: {error.strerror}")
        return None
    except RecursionError:
        problems.append("dense/dense.json is damaged: nested too deep")
        return None
    except ValueError as error:
        problems.append(_short(folder, error))
        return None
    for key in ("val_accuracy", "macs", "parameters"):
        if math.isnan(number_of(dense, key)):
            problems.append(f"dense/dense.json has no number `{key}`; what is compared with it is unknown")
    return dense


def _rows_text(trial: TrialFolder, problems: list[str]) -> bytes:
    try:
        return trial.rows_path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        problems.append(f"trials/{trial.path.name}/epochs.jsonl cannot be read: {error.strerror}")
        return b""


def _short(folder: ExperimentFolder, error: ValueError) -> str:
    """What trainable.records says of a file, the file named as seen from the experiment."""
    return str(error).removeprefix(f"{folder.path}{os.sep}")

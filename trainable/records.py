"""The records of an experiment: which files there are, how they are written, how they are read back.

    <experiment>/
      experiment.json          the resolved settings, data fingerprint, versions, created
      dense/                   dense.json, epochs.jsonl, model.safetensors
      trials/00012/
        trial.json             what the trial is and how it stands (TrialRecord)
        epochs.jsonl           a row an epoch
        checkpoint-00007.pt    the newest two
        model/                 arch.json and model.safetensors of the pruned network

A file is replaced whole (written aside, flushed, renamed) or appended to by a line. Imports neither torch nor ray.
"""

import json
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self

State = Literal["running", "complete", "stopped", "failed"]


def now() -> str:
    """The time as records write it: UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def replace_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Puts what `write` writes in the place of `path`, whole or not at all, also if the machine dies meanwhile."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with aside.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_json(path: Path, value: Any) -> None:
    """Replaces `path` by `value` as JSON; raises ValueError for NaN and infinities, which JSON does not have."""
    text = json.dumps(value, indent=1, allow_nan=False) + "\n"
    replace_file(path, lambda file: file.write(text.encode()))


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`; raises ValueError naming the file when it holds anything else."""
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} is damaged: it holds no JSON object")
    return value


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Appends `row` as one line of JSON and flushes it to the disk."""
    with path.open("ab") as file:
        file.write(json.dumps(row, allow_nan=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a .jsonl file up to the first line that is torn or damaged; none where there is no file."""
    rows: list[dict[str, Any]] = []
    if not path.exists():
        return rows
    for line in path.read_bytes().split(b"\n"):
        try:
            row = json.loads(line)
        except ValueError:
            break
        if not isinstance(row, dict):
            break
        rows.append(row)
    return rows


def replace_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Makes `path` hold just `rows`: what lies behind them, torn lines included, goes."""
    text = b"".join(json.dumps(row, allow_nan=False).encode() + b"\n" for row in rows)
    if (path.read_bytes() if path.exists() else b"") != text:
        replace_file(path, lambda file: file.write(text))


@dataclass(frozen=True)
class TrialRecord:
    """trial.json: what a trial is and how it stands.

    control: one_shot, random_channels or from_scratch; None for what the study asked for. params, distributions: what
    the study asked, from which it is rebuilt. attempt: how often the trial was started, 0 for not yet. host, device:
    where it ran last, as `hostname:pid` and `cpu` or the GPU's name.
    cut: what removing the channels gave: epoch (the last of the alpha phase), widths, channels, parameters, macs,
    val_loss and val_accuracy behind it, before retraining, and difference (of the outputs, relative).
    error: why it failed. Times are UTC, ISO 8601.
    """

    number: int
    config: dict[str, Any]
    control: str | None = None
    parent: dict[str, Any] | None = None
    params: dict[str, Any] = field(default_factory=dict)
    distributions: dict[str, str] = field(default_factory=dict)
    state: State = "running"
    attempt: int = 0
    host: str | None = None
    device: str | None = None
    cut: dict[str, Any] | None = None
    error: str | None = None
    created: str = field(default_factory=now)
    started: str | None = None
    finished: str | None = None


@dataclass(frozen=True)
class TrialFolder:
    """One trial's files. Every reader and writer of them goes through here."""

    path: Path

    @property
    def record_path(self) -> Path:
        return self.path / "trial.json"

    @property
    def rows_path(self) -> Path:
        return self.path / "epochs.jsonl"

    @property
    def model(self) -> Path:
        return self.path / "model"

    def read(self) -> TrialRecord:
        """The trial's record; raises FileNotFoundError, or ValueError naming the file when it is damaged."""
        try:
            return TrialRecord(**read_json(self.record_path))
        except TypeError as error:
            raise ValueError(f"{self.record_path} is damaged: {error}") from error

    def write(self, record: TrialRecord) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.record_path, asdict(record))

    def end(self, state: State, error: str | None = None) -> None:
        """Records how the trial ended; its checkpoints have served."""
        self.write(replace(self.read(), state=state, error=error, finished=now()))
        for checkpoint in self.checkpoints():
            checkpoint.unlink(missing_ok=True)

    def rows(self) -> list[dict[str, Any]]:
        return read_rows(self.rows_path)

    def checkpoint(self, epoch: int) -> Path:
        return self.path / f"checkpoint-{epoch:05}.pt"

    def checkpoints(self) -> list[Path]:
        """The trial's checkpoints, newest first."""
        return sorted(self.path.glob("checkpoint-*.pt"), reverse=True)


@dataclass(frozen=True)
class ExperimentFolder:
    """An experiment's files."""

    path: Path

    @classmethod
    def find(cls, storage: Path, name: str) -> Self:
        """The experiment `name` in `storage`; raises ValueError listing those there are where it is none."""
        folder = cls(storage / name)
        if not folder.record_path.is_file():
            names = sorted(path.parent.name for path in storage.glob("*/experiment.json"))
            there = f"there are: {', '.join(names)}" if names else "there is none; `alphaprune run` makes one"
            raise ValueError(f"{str(storage)!r} holds no experiment {name!r}; {there}")
        return folder

    @property
    def record_path(self) -> Path:
        return self.path / "experiment.json"

    @property
    def dense(self) -> Path:
        return self.path / "dense"

    def trial(self, number: int) -> TrialFolder:
        return TrialFolder(self.path / "trials" / f"{number:05}")

    def trials(self) -> Iterator[TrialFolder]:
        """The folders of all trials, in the order of their numbers."""
        for path in sorted((self.path / "trials").glob("[0-9]*")):
            yield TrialFolder(path)

"""The records of an experiment: which files there are, how they are written, how they are read back.

    <experiment>/
      experiment.json          the resolved settings, data fingerprint, versions, created
      dense/                   dense.json, epochs.jsonl, model.safetensors
      trials/00012/
        trial.json             what the trial is and how it stands (TrialRecord)
        epochs.jsonl           a row an epoch
        checkpoint-00007.pt    the newest two, and those asked to be kept
        model/                 arch.json and model.safetensors of the pruned network

A file is replaced whole (written aside, flushed, renamed) or appended to by a line. A trial's files are written under
its newest attempt only (TrialFolder.fenced). Imports neither torch nor ray.
"""

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError

State = Literal["running", "complete", "stopped", "failed"]

# The columns of epochs.jsonl besides `epoch` (1-based) and `phase`: numbers, all of them.
PHASES = ("alpha", "retrain")
MEASURES = (
    "alpha",
    "lr",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "pruned_val_accuracy",
    "channel_sparsity",
    "parameter_sparsity",
    "mac_sparsity",
    "images_per_second",
    "epoch_seconds",
)


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


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the lock of `folder`, once whoever has it gives it up; a process that is gone has given it up."""
    with (folder / ".lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class TrialRecord:
    """trial.json: what a trial is and how it stands.

    control: one_shot, random_channels or from_scratch; None for what the study asked for. parent: number and epoch of
    the trial that a branch goes on from. confirms: the number of the trial that this one repeats with another seed; a
    repeat of a control is a control too. params, distributions: what the study asked, from which it is rebuilt.
    attempt: how often the trial was started, 0 for not yet. host, device: where it ran last, as `hostname:pid` and
    `cpu` or the GPU's name.
    cut: what removing the channels gave: epoch (the last of the alpha phase), widths, channels, parameters, macs,
    val_loss and val_accuracy behind it, before retraining, and difference (of the outputs, relative).
    error: why it failed. problems: what else went wrong, a line each. Times are UTC, ISO 8601.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    number: int
    config: dict[str, Any]
    control: str | None = None
    parent: dict[str, Any] | None = None
    confirms: int | None = None
    params: dict[str, Any] = field(default_factory=dict)
    distributions: dict[str, str] = field(default_factory=dict)
    state: State = "running"
    attempt: int = 0
    host: str | None = None
    device: str | None = None
    cut: dict[str, Any] | None = None
    error: str | None = None
    problems: list[str] = field(default_factory=list)
    created: str = field(default_factory=now)
    started: str | None = None
    finished: str | None = None

    @property
    def asked(self) -> bool:
        """Whether the study asked for the trial: no control, branch or repeat. No other is ever stopped early."""
        return self.control is None and self.parent is None and self.confirms is None


_RECORD = TypeAdapter(TrialRecord)


class FencedError(RuntimeError):
    """Somebody else has the trial now."""


def _is_row(epoch: int, row: dict[str, Any]) -> bool:
    """Whether `row` is a trial's row of `epoch`, with all its columns."""
    return (
        row.get("epoch") == epoch
        and row.get("phase") in PHASES
        and all(type(row.get(measure)) in (int, float) for measure in MEASURES)
    )


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

    @property
    def number(self) -> int:
        """The trial's number, as its folder's name has it."""
        return int(self.path.name)

    def read(self) -> TrialRecord:
        """The trial's record, its fields' types checked; raises ValueError, in one line, where it is not whole."""
        try:
            record = _RECORD.validate_json(self.record_path.read_bytes(), strict=True)
        except FileNotFoundError as error:
            raise ValueError(f"{self.record_path} is missing") from error
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            place = ".".join(str(key) for key in first["loc"])
            raise ValueError(f"{self.record_path} is damaged: {place}{': ' if place else ''}{first['msg']}") from error
        except OSError as error:
            raise ValueError(f"{self.record_path} cannot be read: {error.strerror}") from error
        if record.number != self.number:
            raise ValueError(f"{self.record_path} is damaged: it is of trial {record.number}")
        return record

    def create(self, record: TrialRecord, checkpoint: Path | None = None) -> None:
        """Makes the folder with its record, and a copy of `checkpoint` to start from, all at once or not at all."""
        aside = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        aside.mkdir(parents=True)
        if checkpoint is not None:
            shutil.copyfile(checkpoint, aside / checkpoint.name)
        write_json(aside / self.record_path.name, asdict(record))
        aside.rename(self.path)

    def write(self, record: TrialRecord) -> None:
        write_json(self.record_path, asdict(record))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else changes the trial meanwhile, on this machine or another that the storage's locks reach."""
        with locked(self.path):
            yield

    def begin(self, host: str, device: str) -> TrialRecord:
        """Takes the next attempt at a trial that has not ended; whoever had the one before can write no more."""
        with self.locked():
            record = self.read()
            if record.state != "running":
                raise FencedError(f"{self.path} is {record.state}, so that nobody may go on with it")
            began = replace(
                record,
                attempt=record.attempt + 1,
                host=host,
                device=device,
                error=None,
                started=record.started or now(),
            )
            self.write(began)
        return began

    @contextmanager
    def fenced(self, attempt: int) -> Iterator[TrialRecord]:
        """The record, for a write under `attempt`; raises FencedError if there is a newer one or the trial has ended.

        A worker that outlived its driver would otherwise overwrite what its successor does.
        """
        with self.locked():
            record = self.read()
            if record.attempt != attempt or record.state != "running":
                raise FencedError(
                    f"{self.path} is {record.state} in attempt {record.attempt}, so attempt {attempt} may not write"
                )
            yield record

    def end(self, state: State, error: str | None = None) -> None:
        """Records how the trial ended, as the driver has it; one that has ended meanwhile stays as it ended."""
        with self.locked():
            record = self.read()
            if record.state == "running":
                self.write(replace(record, state=state, error=error, finished=now()))

    def again(self) -> None:
        """Makes an ended trial one that has not ended."""
        with self.locked():
            self.write(replace(self.read(), state="running", error=None, finished=None))

    def rows(self) -> list[dict[str, Any]]:
        """The rows of epochs 1, 2, 3 ... up to the first line that is torn or damaged, or is not the next epoch's."""
        numbered = enumerate(read_rows(self.rows_path), start=1)
        return [row for _, row in takewhile(lambda each: _is_row(*each), numbered)]

    def checkpoint(self, epoch: int) -> Path:
        return self.path / f"checkpoint-{epoch:05}.pt"

    def checkpoints(self) -> list[Path]:
        """The trial's checkpoints, newest first."""
        return sorted(self.path.glob("checkpoint-*.pt"), key=self.epoch_of, reverse=True)

    @staticmethod
    def epoch_of(checkpoint: Path) -> int:
        """The epoch behind which a checkpoint was taken; -1 for a file that is not named like one."""
        digits = checkpoint.stem.removeprefix("checkpoint-")
        return int(digits) if digits.isdecimal() else -1


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
        names = [path.name for path in (self.path / "trials").glob("[0-9]*") if path.name.isdecimal()]
        for name in sorted(names, key=int):
            yield TrialFolder(self.path / "trials" / name)

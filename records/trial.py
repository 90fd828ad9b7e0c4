"""A trial's folder: its trial.json, and every way to read and write what belongs to the trial."""

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter

from records.epoch import EpochRow, parse_epoch_rows
from records.files import append_json_line, hold_lock, now, read_record, replace_json_lines, write_json
from records.numbers import Count, Number

State = Literal["running", "complete", "stopped", "failed"]
Kind = Literal["searched", "control", "branch", "repeat"]
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True)
class Parent:
    """The trial that a branch starts from: its number, and the epoch and alpha of the checkpoint."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    number: Count
    epoch: Count
    alpha: Number | None = None


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The result of removing the channels.

    epoch: the last of the alpha phase, 0 if there was none. widths, channels, parameters, macs: of the pruned
    network. val_loss, val_accuracy: right after the cut, before retraining; difference: of its outputs from the gated
    network's at alpha = 0, relative to the largest. These three are None if the pruned network starts from random
    weights.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    epoch: Count
    widths: tuple[Count, ...]
    channels: Count
    parameters: Count
    macs: Count
    val_loss: Number | None = None
    val_accuracy: Number | None = None
    difference: Number | None = None


@dataclass(frozen=True)
class TrialRecord:
    """trial.json: what a trial is and what state it is in.

    control: one_shot, random_channels or from_scratch; None for all others. parent: of a branch. confirms: the number
    of the trial that a repeat runs again with another seed; a repeat of a control has its `control` too. params,
    distributions: what the study asked for; it is rebuilt from them. attempt: how many times the trial was started, 0
    if not yet. host, device: where it ran last, as `hostname:pid` and `cpu` or the GPU's name. cut: None before the
    cut. error: why it failed. problems: what else went wrong, one line each. Times are UTC, ISO 8601.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    number: Count
    config: dict[str, Any]
    control: str | None = None
    parent: Parent | None = None
    confirms: Count | None = None
    params: dict[str, Any] = field(default_factory=dict)
    distributions: dict[str, str] = field(default_factory=dict)
    state: State = "running"
    attempt: Count = 0
    host: str | None = None
    device: str | None = None
    cut: Cut | None = None
    error: str | None = None
    problems: list[str] = field(default_factory=list)
    created: str = field(default_factory=now)
    started: str | None = None
    finished: str | None = None

    @property
    def kind(self) -> Kind:
        """What the trial is: searched (the study asked for it), a control, a branch, or a repeat of any of them."""
        if self.confirms is not None:
            return "repeat"
        if self.parent is not None:
            return "branch"
        return "searched" if self.control is None else "control"


_SCHEMA = TypeAdapter(TrialRecord)


class FencedError(RuntimeError):
    """Another process has the trial now, or the trial has ended."""


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
    def model_path(self) -> Path:
        return self.path / "model"

    @property
    def measurement_path(self) -> Path:
        return self.model_path / "measure.json"

    @property
    def number(self) -> int:
        """The trial's number, from the folder's name."""
        return int(self.path.name)

    def read_record(self) -> TrialRecord:
        """The trial's record; raises ValueError, in one line that names the file, if it is not intact."""
        record = read_record(self.record_path, _SCHEMA)
        if record.number != self.number:
            raise ValueError(f"{self.record_path} is damaged: it belongs to trial {record.number}")
        # trials/12 and trials/00012 would both be trial 12.
        if self.path.name != f"{record.number:05}":
            raise ValueError(f"{self.record_path} is left out: trial {record.number} belongs in {record.number:05}")
        return record

    def create(self, record: TrialRecord, checkpoint: Path | None = None) -> None:
        """Creates the folder with its record, and a copy of `checkpoint` to start from, all at once or not at all.

        Raises:
            FencedError: if another process has created it.
        """
        aside = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        aside.mkdir(parents=True)
        if checkpoint is not None:
            shutil.copyfile(checkpoint, aside / checkpoint.name)
        write_json(aside / self.record_path.name, asdict(record))
        try:
            aside.rename(self.path)
        except OSError as error:
            shutil.rmtree(aside, ignore_errors=True)
            if not self.path.exists():
                raise
            raise FencedError(f"{self.path} has been created by another process") from error

    def write_record(self, record: TrialRecord) -> None:
        write_json(self.record_path, asdict(record))

    @contextmanager
    def hold_lock(self) -> Iterator[None]:
        """Keeps others from changing the trial, on this machine and any other that the storage's locks reach."""
        with hold_lock(self.path):
            yield

    def begin_attempt(self, host: str, device: str) -> TrialRecord:
        """Starts the next attempt at a trial that has not ended; the attempt before it can no longer write."""
        with self.hold_lock():
            record = self.read_record()
            if record.state != "running":
                raise FencedError(f"{self.path} is {record.state}, so it cannot be continued")
            began = replace(
                record,
                attempt=record.attempt + 1,
                host=host,
                device=device,
                error=None,
                started=record.started or now(),
            )
            self.write_record(began)
        return began

    @contextmanager
    def hold_fence(self, attempt: int) -> Iterator[TrialRecord]:
        """The record, for a write by `attempt`; raises FencedError if there is a newer one or the trial has ended.

        A worker that outlived its driver would otherwise overwrite what its successor writes.
        """
        with self.hold_lock():
            record = self.read_record()
            if record.attempt != attempt or record.state != "running":
                raise FencedError(
                    f"{self.path} is {record.state} in attempt {record.attempt}, so attempt {attempt} may not write"
                )
            yield record

    def record_end(self, state: State, error: str | None = None) -> None:
        """Records how the trial ended according to the driver; a trial that has already ended stays as it is."""
        with self.hold_lock():
            record = self.read_record()
            if record.state == "running":
                self.write_record(replace(record, state=state, error=error, finished=now()))

    def reopen(self) -> TrialRecord:
        """Marks an ended trial as one that has not ended."""
        with self.hold_lock():
            record = replace(self.read_record(), state="running", error=None, finished=None)
            self.write_record(record)
        return record

    def read_rows(self) -> list[EpochRow]:
        """The rows of epochs 1, 2, 3 ... up to the first line that is torn, damaged or not the next epoch's."""
        try:
            return parse_epoch_rows(self.rows_path.read_bytes()).rows
        except FileNotFoundError:
            return []

    def append_row(self, row: EpochRow) -> None:
        append_json_line(self.rows_path, row.as_values())

    def replace_rows(self, rows: Sequence[EpochRow]) -> None:
        """Keeps exactly `rows`; anything after them in the file, torn lines included, is removed."""
        replace_json_lines(self.rows_path, [row.as_values() for row in rows])

    def checkpoint_path(self, epoch: int) -> Path:
        return self.path / f"checkpoint-{epoch:05}.pt"

    def list_checkpoints(self) -> list[Path]:
        """The trial's checkpoints, newest first."""
        return sorted(self.path.glob("checkpoint-*.pt"), key=self.checkpoint_epoch, reverse=True)

    @staticmethod
    def checkpoint_epoch(checkpoint: Path) -> int:
        """The epoch after which a checkpoint was taken; -1 for a file that is not named like one."""
        digits = checkpoint.stem.removeprefix("checkpoint-")
        return int(digits) if digits.isdecimal() else -1

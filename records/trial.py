"""A trial's folder: its trial.json, and every way to read and write what belongs to the trial."""

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from pydantic import ConfigDict, TypeAdapter

from records.digest import DIGEST, compare_digest, compute_content_digest, compute_digest
from records.epoch import EpochRow, parse_epoch_rows
from records.files import (
    LOCK_NAME,
    append_json_line,
    describe_unreadable,
    encode_json,
    hold_lock,
    is_full_disk,
    name_aside,
    now,
    parse_record,
    read_record,
    read_text_bytes,
    remove_unfinished,
    replace_json_lines,
    write_json,
)
from records.network import FILE_NAME, WEIGHTS_NAME
from records.numbers import Count, Number

State = Literal["running", "complete", "stopped", "failed"]
Kind = Literal["searched", "control", "branch", "repeat", "twin"]
# What a twin has as much of as the trial whose twin it is: epochs, training compute, or both, where a fade is so short
# that it does not pay for another epoch.
Budget = Literal["epochs", "compute"]
BUDGETS: tuple[Budget, ...] = get_args(Budget)
Twin = Literal["epochs", "compute", "both"]
RECORD_NAME, ROWS_NAME, MEASUREMENT_NAME = "trial.json", "epochs.jsonl", "model/measure.json"
# All that is ever written into a trial's folder by replacing a file, except checkpoints.
_FILES = (RECORD_NAME, ROWS_NAME, "measure.json", FILE_NAME, WEIGHTS_NAME)
_CHECKPOINT = re.compile(r"checkpoint-[0-9]{5,9}\.pt")
_DIGESTED = ("number", "config", "control", "parent", "confirms", "twin", "params", "distributions", "created", "cut")
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
    of the trial that a repeat runs again with another seed; a repeat of a control has its `control` too. twin: of a
    repeat without a fade, what it has as much of as the trial that it `confirms`: epochs, compute or both. params,
    distributions: what the study asked for; it is rebuilt from them. attempt: how many times the trial was started, 0
    if not yet. host, device: where it ran last, as `hostname:pid` and `cpu` or the GPU's name. cut: None before the
    cut. error: why it failed. problems: what else went wrong, one line each. Times are UTC, ISO 8601.

    digest: of what never changes (records.files) and the cut; filled in by whoever writes the record. rows_digest: of
    epochs.jsonl, once the trial has ended. With them a changed digit is noticed; older records have neither.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    number: Count
    config: dict[str, Any]
    control: str | None = None
    parent: Parent | None = None
    confirms: Count | None = None
    twin: Twin | None = None
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
    rows_digest: str | None = None
    digest: str | None = field(default=None, compare=False)

    @property
    def digested(self) -> dict[str, Any]:
        """What `digest` is of. Without what is None, so that a field that is added later changes no older digest."""
        known = {name: value for name in _DIGESTED if (value := getattr(self, name)) is not None}
        for name in ("parent", "cut"):
            if name in known:
                known[name] = {key: value for key, value in vars(known[name]).items() if value is not None}
        return known

    @property
    def is_added(self) -> bool:
        """Whether the trial is neither a control nor asked for by the study: a branch, a repeat or a twin."""
        return self.kind not in ("control", "searched")

    @property
    def kind(self) -> Kind:
        """What the trial is: searched (the study asked for it), a control, a branch, a repeat, or a repeat's twin."""
        if self.twin is not None:
            return "twin"
        if self.confirms is not None:
            return "repeat"
        if self.parent is not None:
            return "branch"
        return "searched" if self.control is None else "control"


_SCHEMA = TypeAdapter(TrialRecord)


class FencedError(RuntimeError):
    """Another process has the trial now, or the trial has ended."""


class UnusableError(ValueError):
    """The lock of a trial cannot be used, so nothing of the trial can be written; the message names it."""


@dataclass(frozen=True)
class TrialFolder:
    """One trial's files. Every reader and writer of them goes through here."""

    path: Path

    @property
    def record_path(self) -> Path:
        return self.path / RECORD_NAME

    @property
    def rows_path(self) -> Path:
        return self.path / ROWS_NAME

    @property
    def model_path(self) -> Path:
        return self.path / "model"

    @property
    def measurement_path(self) -> Path:
        return self.path / MEASUREMENT_NAME

    def read_text(self, name: str) -> bytes:
        """The content of one of the trial's text files; raises OSError if it cannot be read (records.files)."""
        return read_text_bytes(f"{self.path}/{name}")

    @cached_property
    def number(self) -> int:
        """The trial's number, from the folder's name."""
        return int(self.path.name)

    def read_record(self) -> TrialRecord:
        """The trial's record; raises ValueError, in one line that names the file, if it is not intact."""
        record = read_record(f"{self.path}/{RECORD_NAME}", _SCHEMA)
        try:
            compare_digest(record.digest, record.digested)
        except ValueError as error:
            raise ValueError(f"{self.record_path} is damaged: {error}") from error
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
        aside = name_aside(self.path)
        aside.mkdir(parents=True)
        if checkpoint is not None:
            shutil.copyfile(checkpoint, aside / checkpoint.name)
        TrialFolder(aside).write_record(record)
        try:
            aside.rename(self.path)
        except OSError as error:
            shutil.rmtree(aside, ignore_errors=True)
            if not self.path.exists():
                raise
            raise FencedError(f"{self.path} has been created by another process") from error

    def write_record(self, record: TrialRecord) -> None:
        values = asdict(record)
        written = parse_record(encode_json(values), _SCHEMA)  # of what will be read, as in records.files.write_record
        write_json(self.record_path, {**values, DIGEST: compute_digest(written.digested)})

    @contextmanager
    def hold_lock(self) -> Iterator[None]:
        """Keeps others from changing the trial, on this machine and any other that the storage's locks reach.

        Raises:
            UnusableError: if the lock cannot be used.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(hold_lock(self.path))
            except OSError as error:
                if is_full_disk(error):
                    raise
                raise UnusableError(f"{self.path / LOCK_NAME} cannot be used: {error.strerror}") from error
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
                self.end(record, state, error)

    def end(self, record: TrialRecord, state: State, error: str | None = None) -> None:
        """Records that the trial has ended, and the digest of its rows; the caller holds the lock."""
        with suppress(OSError):
            record = replace(record, rows_digest=compute_content_digest(read_text_bytes(self.rows_path)))
        self.write_record(replace(record, state=state, error=error, finished=now()))

    def reopen(self) -> TrialRecord:
        """Marks an ended trial as one that has not ended."""
        with self.hold_lock():
            record = replace(self.read_record(), state="running", error=None, finished=None, rows_digest=None)
            self.write_record(record)
        return record

    def read_rows(self, digest: str | None = None) -> list[EpochRow]:
        """The rows of the trial that count (records.epoch.parse_epoch_rows).

        Args:
            digest: rows_digest of the trial's record.

        Raises:
            ValueError: if they cannot be read, in one line that names the file.
        """
        try:
            return parse_epoch_rows(read_text_bytes(self.rows_path), digest).rows
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ValueError(describe_unreadable(self.rows_path, error)) from error

    def remove_unfinished(self) -> None:
        """Removes the files that a killed process had begun to write; the caller keeps others from writing."""
        for folder in (self.path, self.model_path):
            remove_unfinished(folder, lambda name: name in _FILES or bool(_CHECKPOINT.fullmatch(name)))

    def append_row(self, row: EpochRow) -> None:
        append_json_line(self.rows_path, row.as_values())

    def replace_rows(self, rows: Sequence[EpochRow]) -> None:
        """Keeps exactly `rows`; anything after them in the file, torn lines included, is removed."""
        replace_json_lines(self.rows_path, [row.as_values() for row in rows])

    def checkpoint_path(self, epoch: int) -> Path:
        return self.path / f"checkpoint-{epoch:05}.pt"

    def list_checkpoints(self) -> list[Path]:
        """The trial's checkpoints, newest first."""
        paths = [path for path in self.path.glob("checkpoint-*.pt") if _CHECKPOINT.fullmatch(path.name)]
        return sorted(paths, key=self.checkpoint_epoch, reverse=True)

    @staticmethod
    def checkpoint_epoch(checkpoint: Path) -> int:
        """The epoch after which a checkpoint was taken."""
        return int(checkpoint.stem.removeprefix("checkpoint-"))

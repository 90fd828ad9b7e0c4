"""dense/: the dense network that all trials of an experiment start from, and the epochs of its training."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict, TypeAdapter

from records.files import now, read_digested_record, read_json_lines, write_record
from records.numbers import Count, Number

FILE_NAME = "dense.json"
ROWS_NAME = "epochs.jsonl"
CHECKPOINT_NAME = "checkpoint.pt"


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseEpochRow:
    """An epoch of the dense network's training: one line of its epochs.jsonl. Accuracies are fractions in [0, 1]."""

    epoch: int
    lr: float
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    epoch_seconds: float


@dataclass(frozen=True, kw_only=True)
class DenseRecord:
    """dense.json, written last: if it exists, the network is complete.

    hash: of the data, the network and the recipe; the network is found again by it. epochs: 0 if its weights were
    given. Losses and accuracies (fractions in [0, 1]): of the last epoch, or of the given weights. groups, widths:
    names and channels of the groups, which are removed together. whole: the groups that are never cut, each with the
    reason. channels, parameters, macs: of the network. seconds: of training. created: UTC, ISO 8601.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="ignore")

    hash: str
    epochs: Count
    train_loss: Number
    train_accuracy: Number
    val_loss: Number
    val_accuracy: Number
    widths: tuple[Count, ...]
    channels: Count
    parameters: Count
    macs: Count
    seconds: Number
    device: str
    threads: Count
    groups: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    created: str = field(default_factory=now)


_SCHEMA = TypeAdapter(DenseRecord)


def read_dense_record(folder: Path) -> DenseRecord:
    """The dense.json in `folder`; raises ValueError, in one line that names it, if it is missing or damaged."""
    return read_digested_record(folder / FILE_NAME, _SCHEMA)


def write_dense_record(folder: Path, record: DenseRecord) -> None:
    """Replaces the dense.json in `folder`."""
    write_record(folder / FILE_NAME, asdict(record))


def read_dense_rows(folder: Path) -> list[DenseEpochRow]:
    """The rows of the training so far, up to the first that is torn or damaged."""
    rows = []
    for values in read_json_lines(folder / ROWS_NAME):
        try:
            rows.append(DenseEpochRow(**values))
        except TypeError:
            break
    return rows

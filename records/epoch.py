"""An epoch of a trial: one line of its epochs.jsonl, and the one check that says which lines count."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from math import isfinite
from typing import Any, Literal, NamedTuple, Self, get_args

from records.digest import DIGEST_PROBLEM, compute_content_digest

Phase = Literal["alpha", "retrain"]
PHASES: tuple[Phase, ...] = get_args(Phase)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRow:
    """What a trial reports after an epoch. Accuracies and sparsities are fractions in [0, 1].

    A field with a default is optional: a row without it is valid, and its value is unknown (None). All others are
    required, because the trial, its early stopping or its ranking depends on them.
    """

    epoch: int
    """1 for the trial's first epoch; never reset by a resume. A branch continues its parent's count."""
    phase: Phase
    alpha: float
    """What the doomed channels were multiplied by in this epoch; 0 after the cut."""
    lr: float
    """Mean learning rate over the epoch's batches."""
    train_loss: float
    train_accuracy: float
    """On the augmented training images, during training."""
    val_loss: float
    val_accuracy: float
    """Of the network at this epoch's alpha."""
    pruned_val_accuracy: float
    """If the cut were made now: alpha set to 0 on a copy, batch-norm statistics recalibrated."""
    channel_sparsity: float
    parameter_sparsity: float
    mac_sparsity: float
    training_cost: float | None = None
    """Multiply-accumulates of training in the epoch, in units of an epoch of the dense network: 1 for a gated epoch."""
    images_per_second: float | None = None
    """Training images per second."""
    epoch_seconds: float | None = None
    """The whole epoch: training, validation and projection."""

    @classmethod
    def from_values(cls, values: Any, epoch: int) -> Self:
        """The row of `epoch` in `values`, which were read from JSON or a checkpoint; unknown columns are dropped.

        Raises:
            ValueError: saying what is wrong with the row.
        """
        if not isinstance(values, Mapping):
            raise ValueError("it is not a JSON object")
        if type(values.get("epoch")) is not int or values["epoch"] != epoch:
            raise ValueError(f"`epoch` must be {epoch}, but is {_shorten_value(values.get('epoch'))}")
        if values.get("phase") not in PHASES:
            raise ValueError(
                f"`phase` must be one of {', '.join(PHASES)}, but is {_shorten_value(values.get('phase'))}"
            )
        row: dict[str, Any] = {"epoch": epoch, "phase": values["phase"]}
        for name in METRICS:
            value = values.get(name)
            if value is None and name in OPTIONAL:
                continue
            if type(value) is not float and type(value) is not int:
                raise ValueError(f"`{name}` must be a number, but is {_shorten_value(value)}")
            if not _is_finite(value):
                raise ValueError(f"`{name}` must be finite, but is {_shorten_value(value)}")
            row[name] = value
        return cls(**row)

    def as_values(self) -> dict[str, Any]:
        """The row as records and checkpoints store it: plain numbers and strings, without unknown values."""
        values = ((each.name, getattr(self, each.name)) for each in fields(self))
        return {name: value for name, value in values if value is not None}


# The numeric columns, in the order of the fields, and those of them that a row may lack.
METRICS = tuple(field.name for field in fields(EpochRow) if field.name not in ("epoch", "phase"))
OPTIONAL = frozenset(field.name for field in fields(EpochRow) if field.default is not MISSING)


class EpochRows(NamedTuple):
    """The rows of a file, and what is wrong with the first line that is not a row; None if all are."""

    rows: list[EpochRow]
    problem: str | None


def parse_epoch_rows(content: bytes, digest: str | None = None) -> EpochRows:
    """The rows of epochs 1, 2, 3 ... in `content` (of an epochs.jsonl), up to the first line that is not the next.

    That line may be torn, damaged or another epoch's. It and everything after it are left out. So are all rows if the
    lines are whole, but their content has changed since `digest` was taken: nobody knows which of them did.

    Args:
        content: of the file.
        digest: rows_digest of the trial's record; None while the trial runs, and of older versions.
    """
    rows: list[EpochRow] = []
    lines = content.split(b"\n")
    ends_with_newline = lines[-1] == b""
    if ends_with_newline:
        lines.pop()
    for epoch, line in enumerate(lines, start=1):
        try:
            rows.append(EpochRow.from_values(json.loads(line.decode()), epoch))
        except (ValueError, RecursionError) as error:
            after = len(lines) - epoch
            reason = "nested too deeply" if isinstance(error, RecursionError) else error
            how = f"damaged ({reason})" if after or ends_with_newline else "torn"
            left_out = f"it and the {after} after it are" if after else "it is"
            return EpochRows(rows, f"line {epoch} is {how}; {left_out} left out")
    if digest is not None and digest != compute_content_digest(content):
        return EpochRows([], f"{DIGEST_PROBLEM} in trial.json; all rows are left out")
    return EpochRows(rows, None)


def _is_finite(value: float) -> bool:
    try:
        return isfinite(value)
    except OverflowError:  # an integer too large for a float
        return False


def _shorten_value(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 30 else f"{text[:30]}…"

"""Checkpoint files: a SHA-256 digest, then what torch.save wrote; so a torn or damaged file is detected."""

import hashlib
import io
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from records.files import describe_unreadable, read_bytes, replace_file
from trainable.network.weights import MOST_TENSOR_BYTES

DIGEST_BYTES = hashlib.sha256().digest_size


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Replaces `path` with `state` (tensors, numbers, strings, lists and dicts)."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getbuffer()

    def write(file: Any) -> None:
        file.write(hashlib.sha256(payload).digest())
        file.write(payload)

    replace_file(path, write)


def read_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """The state in `path`, its tensors on `device`; only tensors and plain values are unpickled.

    Raises:
        ValueError: if the file is missing, cannot be read or is damaged, naming it.
    """
    try:
        content = memoryview(read_bytes(path, most=MOST_TENSOR_BYTES))
    except OSError as error:
        raise ValueError(describe_unreadable(path, error)) from error
    digest, payload = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    if hashlib.sha256(payload).digest() != digest:
        raise ValueError(f"{path} is damaged: its content does not match its digest")
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(payload), map_location=device, weights_only=True)
    except UnpicklingError as error:
        raise ValueError(f"{path} is damaged: it holds more than tensors and plain values") from error
    return state

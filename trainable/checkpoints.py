"""Checkpoint files: a SHA-256 digest, then what torch.save wrote; so a torn or damaged file is detected."""

import copy
import hashlib
import io
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Self

import torch
from torch import Tensor

from records.files import describe_unreadable, read_bytes, replace_file
from trainable.network.weights import MOST_TENSOR_BYTES

DIGEST_BYTES = hashlib.sha256().digest_size


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Replaces `path` with `state` (tensors, numbers, strings, lists and dicts)."""
    write_content(path, encode_state(state))


def encode_state(state: dict[str, Any]) -> Iterable[memoryview | bytes]:
    """The parts of what a checkpoint of `state` contains."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getbuffer()
    return hashlib.sha256(payload).digest(), payload


def write_content(path: Path, content: Iterable[memoryview | bytes]) -> None:
    """Replaces `path` with what encode_state returned."""
    replace_file(path, lambda file: file.writelines(content))


class CheckpointWriter:
    """Writes one checkpoint at a time: beside the training, or before it continues."""

    def __init__(self, *, beside_training: bool) -> None:
        """Writes nothing yet.

        Args:
            beside_training: whether a thread writes a copy of the state. That pays where training leaves the CPU idle.
        """
        self._thread = ThreadPoolExecutor(1, "alphaprune-checkpoint") if beside_training else None
        self._running: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Waits for the checkpoint that is being written, whatever comes of it."""
        if self._thread is not None:
            self._thread.shutdown()

    def write(self, state: dict[str, Any], write: Callable[[dict[str, Any]], None]) -> None:
        """Calls `write` with `state`, or a thread calls it with a copy; first waits for the checkpoint before.

        Raises:
            Exception: what the checkpoint before raised, or if there is no thread, what `write` raises.
        """
        self.wait()
        if self._thread is None:
            write(state)
            return
        copied, copying = copy_to_host(state), None
        if torch.cuda.is_available():
            copying = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            copying.record()
        self._running = self._thread.submit(_write_copy, copied, copying, write)

    def raise_error(self) -> None:
        """Raises what writing has raised since the last call of a method here; does not wait."""
        if self._running is not None and self._running.done():
            self.wait()

    def wait(self) -> None:
        """Waits for the checkpoint that is being written; raises what that raises."""
        running, self._running = self._running, None
        if running is not None:
            running.result()


def _write_copy(
    state: dict[str, Any], copying: torch.cuda.Event | None, write: Callable[[dict[str, Any]], None]
) -> None:
    if copying is not None:
        copying.synchronize()
    write(state)


def copy_to_host(state: Any) -> Any:
    """A copy of `state` in this machine's memory, so that training may continue to change the original.

    On CUDA it returns at once: the copies are complete when what has been queued on the current stream is.
    """
    match state:
        case Tensor():
            return state.detach().to("cpu", non_blocking=True, copy=True)  # into page-locked memory
        case dict():
            copied = copy.copy(state)  # what torch gives is not always a plain dict
            copied.update((key, copy_to_host(value)) for key, value in state.items())
            return copied
        case list():
            return [copy_to_host(value) for value in state]
    return state


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

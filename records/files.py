"""Files that survive whatever happens to their writer: replaced as a whole, or appended to line by line."""

import errno
import fcntl
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def now() -> str:
    """The current time as records store it: UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def replace_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Replaces `path` with what `write` writes, completely or not at all, even if the machine dies in between."""
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
    """Replaces `path` with `value` as JSON; raises ValueError for NaN and infinities, which JSON does not have."""
    text = json.dumps(value, indent=1, allow_nan=False) + "\n"
    replace_file(path, lambda file: file.write(text.encode()))


def open_file(path: Path, flags: int = os.O_RDONLY) -> int:
    """A descriptor of the file `path`, without waiting: opening a FIFO would wait until somebody else opens it, too.

    Raises:
        OSError: if it cannot be opened or is not a regular file; its strerror says so in words.
    """
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.ENXIO):
            raise
        raise _not_a_file(path, path.stat().st_mode) from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise _not_a_file(path, mode)
    return descriptor


def _not_a_file(path: Path, mode: int) -> OSError:
    kind = _KINDS.get(stat.S_IFMT(mode), "something else")
    return OSError(errno.EINVAL, f"it is {kind}, not a file", str(path))


def read_bytes(path: Path) -> bytes:
    """The file's content, in half the time that Path.read_bytes takes: an experiment has thousands of small files."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        content = b""
        while piece := os.read(descriptor, 1 << 16):
            content += piece
        return content
    finally:
        os.close(descriptor)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`; raises ValueError, naming the file, if it holds anything else."""
    try:
        value = json.loads(read_bytes(path))
    except RecursionError as error:
        raise ValueError(f"{path} is damaged: nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} is damaged: it does not hold a JSON object")
    return value


def read_record(path: Path, schema: TypeAdapter[T]) -> T:
    """The record in `path`, checked against `schema`.

    Raises:
        ValueError: if it is missing, cannot be read or is damaged, in one line that names the file.
    """
    try:
        return schema.validate_json(read_bytes(path), strict=True)
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise ValueError(f"{path} is damaged: {describe_invalid(error)}") from error


def describe_invalid(error: ValidationError) -> str:
    """The first thing that is wrong with a record, in one line that begins with the field."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = ".".join(str(key) for key in first["loc"])
    if first["type"] == "unexpected_keyword_argument":
        return f"{field} is not a field that this version knows; a newer version may have written it"
    return f"{field}{': ' if field else ''}{first['msg']}"


def append_json_line(path: Path, row: dict[str, Any]) -> None:
    """Appends `row` as one line of JSON and flushes it to the disk."""
    with path.open("ab") as file:
        file.write(json.dumps(row, allow_nan=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a .jsonl file up to the first line that is torn or damaged; none if there is no file."""
    rows: list[dict[str, Any]] = []
    if not path.exists():
        return rows
    for line in read_bytes(path).split(b"\n"):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not isinstance(row, dict):
            break
        rows.append(row)
    return rows


def replace_json_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Makes `path` hold exactly `rows`: anything after them, torn lines included, is removed."""
    text = b"".join(json.dumps(row, allow_nan=False).encode() + b"\n" for row in rows)
    if (read_bytes(path) if path.exists() else b"") != text:
        replace_file(path, lambda file: file.write(text))


@contextmanager
def hold_lock(folder: Path) -> Iterator[None]:
    """Holds the lock of `folder`, after waiting for whoever has it; a process that dies gives it up."""
    with (folder / ".lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

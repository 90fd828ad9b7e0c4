"""Files that survive whatever happens to their writer: replaced as a whole, or appended to line by line.

Whatever stands in their place instead (a folder, a FIFO, a device, another program's 3 GB) is refused by name, without
waiting and without being read.
"""

import errno
import fcntl
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from records.digest import DIGEST, check_digest, compute_digest

T = TypeVar("T")
AnyPath = str | os.PathLike[str]  # where many small files are read: a Path for each would take a tenth of the time

# No text that this project writes comes near: an epoch takes 600 bytes, and networks have files of their own.
MOST_TEXT_BYTES = 256 << 20
LOCK_NAME = ".lock"

_ASIDE = re.compile(r"\.(.+)\.[0-9a-f]{8}")
_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def is_full_disk(error: OSError) -> bool:
    """Whether a write failed because the disk is full or a quota is used up."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def is_misplaced(error: OSError) -> bool:
    """Whether an operation failed because something that is no file stands in the place of one."""
    odd = (errno.EISDIR, errno.ENOTDIR, errno.EINVAL, errno.ELOOP, errno.EEXIST, errno.ENOTEMPTY)
    return error.errno in odd


def now() -> str:
    """The current time as records store it: UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def name_aside(path: Path) -> Path:
    """Where `path` is written before it gets its name: the file's own name between a dot and eight hex digits."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def remove_unfinished(folder: Path, is_own: Callable[[str], bool]) -> None:
    """Removes what killed writers left in `folder`: files or folders aside (name_aside) of a name that `is_own`."""
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _ASIDE.fullmatch(path.name)
        if match and is_own(match[1]):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def replace_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Replaces `path` with what `write` writes, completely or not at all, even if the machine dies in between."""
    aside = name_aside(path)
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


def encode_json(value: Any) -> bytes:
    """`value` as JSON in UTF-8; raises ValueError for NaN and infinities, which JSON does not have.

    A byte of a file's name that is no UTF-8, which Python keeps as half a surrogate pair, becomes a question mark: no
    reader would take it.
    """
    return json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False).encode(errors="replace") + b"\n"


def write_json(path: Path, value: Any) -> None:
    """Replaces `path` with `value` as JSON (encode_json)."""
    content = encode_json(value)
    replace_file(path, lambda file: file.write(content))


def write_record(path: Path, values: Mapping[str, Any]) -> None:
    """Replaces `path` with `values` and a digest of them, by which `read_digested_record` notices a changed one."""
    own = {key: values[key] for key in values if key != DIGEST}
    # Of what will be read, which differs where JSON does: it has no tuples, and only text as keys.
    write_json(path, {**own, DIGEST: compute_digest(from_json(encode_json(own)))})


def open_file(path: AnyPath, flags: int = os.O_RDONLY) -> int:
    """A descriptor of the file `path`, without waiting: opening a FIFO would wait until somebody else opens it, too.

    Raises:
        OSError: if it cannot be opened or is not a regular file; its strerror says so in words.
    """
    return _open_regular(path, flags)[0]


def _open_regular(path: AnyPath, flags: int) -> tuple[int, os.stat_result]:
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK, 0o666)
    except FileNotFoundError as error:
        if not os.path.islink(path):  # noqa: PTH114
            raise
        raise OSError(errno.EINVAL, "it is a link to nowhere", str(path)) from error
    except OSError as error:
        if error.errno != errno.ENXIO:  # a socket, or a FIFO that nobody reads
            raise
        raise _not_a_file(path, os.stat(path).st_mode) from error  # noqa: PTH116
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise _not_a_file(path, status.st_mode)
    return descriptor, status


def _not_a_file(path: AnyPath, mode: int) -> OSError:
    if stat.S_ISDIR(mode):
        return IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    kind = _KINDS.get(stat.S_IFMT(mode), "something else")
    return OSError(errno.EINVAL, f"it is {kind}, not a file", str(path))


def read_bytes(path: AnyPath, *, most: int | None = None) -> bytes:
    """The file's content, in half the time that Path.read_bytes takes: an experiment has thousands of small files.

    Raises:
        OSError: if it cannot be read, is not a regular file, or has more than `most` bytes; see open_file.
    """
    descriptor, status = _open_regular(path, os.O_RDONLY)
    try:
        size = status.st_size
        if most is not None and size > most:
            raise OSError(errno.EFBIG, f"it is too large ({size:,} bytes, and at most {most:,} are read)", str(path))
        # One byte more than there should be, so that mostly a single call reads all and sees the end.
        content = os.read(descriptor, size + 1)
        while len(content) != size and (piece := os.read(descriptor, max(1 << 20, size - len(content)))):
            content += piece
        return content
    finally:
        os.close(descriptor)


def read_text_bytes(path: AnyPath) -> bytes:
    """The content of a file that holds JSON, which is never larger than MOST_TEXT_BYTES; raises as `read_bytes`."""
    return read_bytes(path, most=MOST_TEXT_BYTES)


def describe_unreadable(path: AnyPath, error: OSError) -> str:
    """Why a file could not be read, in one line that names it."""
    if isinstance(error, FileNotFoundError):
        return f"{path} is missing"
    return f"{path} cannot be read: {error.strerror or error}"


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`.

    Raises:
        ValueError: if it is missing, cannot be read or is damaged, in one line that names the file.
    """
    try:
        value = json.loads(read_text_bytes(path))
    except OSError as error:
        raise ValueError(describe_unreadable(path, error)) from error
    except RecursionError as error:
        raise ValueError(f"{path} is damaged: nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} is damaged: it does not hold a JSON object")
    return value


def read_record(path: AnyPath, schema: TypeAdapter[T]) -> T:
    """The record in `path`, checked against `schema`.

    Raises:
        ValueError: if it is missing, cannot be read or is damaged, in one line that names the file.
    """
    return _read_as(path, lambda content: parse_record(content, schema))


def read_digested_record(path: Path, schema: TypeAdapter[T]) -> T:
    """The record that `write_record` wrote: as read_record, and checked against the digest in it."""
    return _read_as(path, lambda content: parse_digested_record(content, schema))


def _read_as(path: AnyPath, parse: Callable[[bytes], T]) -> T:
    try:
        return parse(read_text_bytes(path))
    except OSError as error:
        raise ValueError(describe_unreadable(path, error)) from error
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def parse_record(content: bytes, schema: TypeAdapter[T]) -> T:
    """The record that a file holds; raises ValueError, in one line without the file's name, if it is damaged."""
    try:
        return schema.validate_json(content, strict=True)
    except ValidationError as error:
        raise ValueError(describe_invalid(error)) from error


def parse_digested_record(content: bytes, schema: TypeAdapter[T]) -> T:
    """As parse_record, and checked against the digest in it."""
    record = parse_record(content, schema)
    check_digest(from_json(content))
    return record


def describe_invalid(error: ValidationError) -> str:
    """The first thing that is wrong with a record, in one line that begins with the field."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = ".".join(str(key) for key in first["loc"])
    if first["type"] == "unexpected_keyword_argument":
        return f"{field} is not a field that this version knows; a newer version may have written it"
    return f"{field}{': ' if field else ''}{first['msg']}"


def append_json_line(path: Path, row: dict[str, Any]) -> None:
    """Appends `row` as one line of JSON and flushes it to the disk."""
    with os.fdopen(open_file(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab") as file:
        file.write(json.dumps(row, allow_nan=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a .jsonl file up to the first line that is torn or damaged; none if it is missing or unreadable."""
    rows: list[dict[str, Any]] = []
    try:
        content = read_text_bytes(path)
    except OSError:
        return rows
    for line in content.split(b"\n"):
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
    try:
        there = read_text_bytes(path)
    except FileNotFoundError:
        there = b""
    if there != text:
        replace_file(path, lambda file: file.write(text))


def remove_file(path: Path) -> None:
    """Removes a file that this project wrote; a folder in its place is not ours, and stays."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)


@contextmanager
def hold_lock(folder: Path) -> Iterator[None]:
    """Holds the lock of `folder`, after waiting for whoever has it; a process that dies gives it up.

    Raises:
        OSError: if the lock cannot be taken: its file is not a regular one, or the storage has no locks.
    """
    descriptor = open_file(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

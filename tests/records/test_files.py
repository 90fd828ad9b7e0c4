"""Files survive whatever happens to the process that writes them."""

import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from records import files
from records.files import (
    append_json_line,
    hold_lock,
    name_aside,
    open_file,
    read_bytes,
    read_json,
    read_json_lines,
    read_text_bytes,
    remove_file,
    remove_unfinished,
    replace_file,
    replace_json_lines,
    write_json,
)
from records.trial import TrialFolder

ROOT = Path(__file__).parents[2]
ROWS: list[dict[str, Any]] = [
    {"epoch": 1, "alpha": 0.7, "phase": "alpha"},
    {"epoch": 2, "alpha": 0.1 + 0.2, "host": "Zürich"},
    {"epoch": 3, "alpha": None, "lr": 1e-300},
]


def write_rows(path: Path) -> bytes:
    for row in ROWS:
        append_json_line(path, row)
    return path.read_bytes()


# A writer that kills itself at the moment named by its first argument.
WRITER = """
import os, signal, sys
from pathlib import Path
from records.files import replace_file

moment, path = sys.argv[1], Path(sys.argv[2])
flush, flushed = os.fsync, []

def die_at(now):
    if now == moment:
        os.kill(os.getpid(), signal.SIGKILL)

def fsync(descriptor):
    die_at("renamed" if flushed else "written")
    flush(descriptor)
    flushed.append(descriptor)

def write(file):
    file.write(b"new " * 100_000)
    file.flush()
    die_at("half")
    file.write(b"end")

os.fsync = fsync
replace_file(path, write)
"""


@pytest.mark.parametrize(
    ("moment", "whole"), [("half", b"old"), ("written", b"old"), ("renamed", b"new " * 100_000 + b"end")]
)
def test_a_killed_writer_leaves_the_old_file_or_the_new_one(tmp_path: Path, moment: str, whole: bytes) -> None:
    path = TrialFolder(tmp_path).checkpoint_path(1)
    path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", WRITER, moment, str(path)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == whole
    # What a killed writer leaves over is not taken for a checkpoint.
    assert TrialFolder(tmp_path).list_checkpoints() == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_writer_that_raises_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    def write(file: BinaryIO) -> None:
        file.write(b"new")
        raise error

    path = tmp_path / "trial.json"
    path.write_bytes(b"old")
    with pytest.raises(error):
        replace_file(path, write)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_replace_file_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "trial.json"
    for text in (b"first", b"second"):
        replace_file(path, lambda file, text=text: file.write(text))
        assert path.read_bytes() == text
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_does_not_have_are_refused(tmp_path: Path, value: float) -> None:
    json_file, rows_file = tmp_path / "trial.json", tmp_path / "epochs.jsonl"
    write_json(json_file, {"loss": 1.5})
    before = write_rows(rows_file)
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(json_file, {"loss": [value]})
    with pytest.raises(ValueError, match="Out of range float"):
        append_json_line(rows_file, {"epoch": 4, "loss": value})
    with pytest.raises(ValueError, match="Out of range float"):
        replace_json_lines(rows_file, [{"epoch": 1, "loss": value}])
    assert read_json(json_file) == {"loss": 1.5}
    assert rows_file.read_bytes() == before


@pytest.mark.parametrize("text", ["", '{"number": 1', "[1]", "3", "null", "\0\0\0\0"])
def test_a_damaged_json_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "trial.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"^{path} is damaged: "):
        read_json(path)


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    assert write_rows(tmp_path / "epochs.jsonl").count(b"\n") == 3
    assert read_json_lines(tmp_path / "epochs.jsonl") == ROWS
    assert read_json_lines(tmp_path / "none.jsonl") == []


def test_a_line_torn_anywhere_costs_that_line_only(tmp_path: Path) -> None:
    path = tmp_path / "epochs.jsonl"
    whole = write_rows(path)
    # A row counts once its last brace is there, even without its newline.
    ends = [position + 1 for position, byte in enumerate(whole) if byte == ord("}")]
    assert len(ends) == 3
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        left = ROWS[: sum(end <= length for end in ends)]
        assert read_json_lines(path) == left, length
        replace_json_lines(path, left)
        append_json_line(path, {"epoch": 4})
        assert read_json_lines(path) == [*left, {"epoch": 4}], length


@pytest.mark.parametrize("damage", [b"\xff\xfe", b"\0" * 64, b"[1]\n", b"3\n", b"\n", b'{"epoch": 4,\n'])
def test_reading_stops_at_the_first_damage(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "epochs.jsonl"
    whole = write_rows(path)
    path.write_bytes(whole + damage + b'{"epoch": 5}\n')
    assert read_json_lines(path) == ROWS
    replace_json_lines(path, ROWS)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_replace_rows_leaves_only_these(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "epochs.jsonl"
    lines = write_rows(path).splitlines(keepends=True)
    replace_json_lines(path, ROWS[:kept])
    assert path.read_bytes() == b"".join(lines[:kept])
    replace_json_lines(tmp_path / "new.jsonl", ROWS)
    assert read_json_lines(tmp_path / "new.jsonl") == ROWS


def test_replace_rows_does_not_touch_a_file_that_is_already_right(tmp_path: Path) -> None:
    path = tmp_path / "epochs.jsonl"
    replace_json_lines(path, [])
    assert not path.exists()
    write_rows(path)
    before = path.stat()
    replace_json_lines(path, ROWS)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


NO_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "folder": (Path.mkdir, "Is a directory"),
    "FIFO": (os.mkfifo, "it is a FIFO, not a file"),
    "socket": (make_socket, "it is a socket, not a file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "it is a device, not a file"),
    "link to nowhere": (lambda path: path.symlink_to("nowhere/else"), "it is a link to nowhere"),
    "loop of links": (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
}


@pytest.fixture(params=NO_FILES)
def no_file(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """Something that is not a file, and what is said of it."""
    monkeypatch.chdir(tmp_path)  # a socket's path may have 107 bytes only
    make, what = NO_FILES[request.param]
    make(Path("trial.json"))
    return tmp_path / "trial.json", what


@pytest.mark.timeout(20)
def test_what_is_no_file_is_neither_read_nor_written(no_file: tuple[Path, str]) -> None:
    """A FIFO would wait for ever, and /dev/zero never ends."""
    path, what = no_file
    with pytest.raises(OSError, match=what):
        read_bytes(path)
    with pytest.raises(OSError, match=what):
        append_json_line(path, {"epoch": 1})
    with pytest.raises(OSError, match=what):
        replace_json_lines(path, [{"epoch": 1}])
    with pytest.raises(ValueError, match=rf"^{path} cannot be read: {what}$"):
        read_json(path)
    assert read_json_lines(path) == []
    assert path.lstat()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", NO_FILES)
def test_a_lock_that_is_no_file_is_refused(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make, what = NO_FILES[kind]
    make(Path(".lock"))
    with pytest.raises(OSError, match=what), hold_lock(tmp_path):
        pass


def test_a_missing_file_is_called_missing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"^{tmp_path / 'none.json'} is missing$"):
        read_json(tmp_path / "none.json")


def test_a_file_is_read_whole_while_it_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its size is that of a moment ago."""
    path = tmp_path / "epochs.jsonl"
    path.write_bytes(b"x" * 1000)
    read, grown = os.read, []

    def read_after_growth(descriptor: int, count: int) -> bytes:
        if not grown:
            grown.append(True)
            with path.open("ab") as file:
                file.write(b"y" * 5_000_000)
        return read(descriptor, count)

    monkeypatch.setattr(files.os, "read", read_after_growth)
    assert read_bytes(path) == b"x" * 1000 + b"y" * 5_000_000


@pytest.mark.timeout(20)
def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "trial.json"
    with path.open("wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(ValueError, match=rf"^{path} cannot be read: it is too large \(3,221,225,472 bytes"):
        read_json(path)
    with pytest.raises(OSError, match="too large"):
        read_text_bytes(path)
    assert read_json_lines(path) == []


def test_json_that_is_nested_too_deeply_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "trial.json"
    path.write_text("[" * 100_000)
    with pytest.raises(ValueError, match=rf"^{path} is damaged: "):
        read_json(path)


def test_descriptors_are_closed(no_file: tuple[Path, str]) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with pytest.raises(OSError, match=no_file[1]):
            open_file(no_file[0])
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_only_what_the_project_began_to_write_is_cleaned_up(tmp_path: Path) -> None:
    """A person's own `.notes.20261126` looks like it."""
    own = name_aside(tmp_path / "trial.json")
    own.write_text("{")
    kept = [".notes.20261126", "trial.json", ".trial.json", ".trial.json.bak", ".trial.json.0123456", "notes.01234567"]
    for name in kept:
        (tmp_path / name).write_text("mine")
    remove_unfinished(tmp_path, {"trial.json"}.__contains__)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    remove_unfinished(tmp_path / "missing", lambda name: True)


def test_a_folder_in_the_place_of_a_file_stays(tmp_path: Path) -> None:
    folder, file, link = tmp_path / "folder", tmp_path / "file", tmp_path / "link"
    folder.mkdir()
    file.touch()
    link.symlink_to(folder)
    for path in (folder, file, link, tmp_path / "missing"):
        remove_file(path)
    assert list(tmp_path.iterdir()) == [folder]

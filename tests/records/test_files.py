"""Files survive whatever happens to the process that writes them."""

import math
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from records.files import append_json_line, read_json, read_json_lines, replace_file, replace_json_lines, write_json
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

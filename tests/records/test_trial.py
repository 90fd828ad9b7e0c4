"""Records survive whatever happens to the process that writes them."""

import json
import math
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from records.epoch import MEASURES
from records.experiment import ExperimentFolder
from records.files import append_row, read_json, read_rows, replace_file, replace_rows, write_json
from records.trial import FencedError, TrialFolder, TrialRecord

ROOT = Path(__file__).parents[2]
ROWS: list[dict[str, Any]] = [
    {"epoch": 1, "alpha": 0.7, "phase": "alpha"},
    {"epoch": 2, "alpha": 0.1 + 0.2, "host": "Zürich"},
    {"epoch": 3, "alpha": None, "lr": 1e-300},
]


def write_rows(path: Path) -> bytes:
    for row in ROWS:
        append_row(path, row)
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
    path = TrialFolder(tmp_path).checkpoint(1)
    path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", WRITER, moment, str(path)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == whole
    # What a killed writer leaves aside is not taken for a checkpoint.
    assert TrialFolder(tmp_path).checkpoints() == [path]


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


def test_replace_file_replaces_and_leaves_nothing_aside(tmp_path: Path) -> None:
    path = tmp_path / "trial.json"
    for text in (b"first", b"second"):
        replace_file(path, lambda file, text=text: file.write(text))
        assert path.read_bytes() == text
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_does_not_have_is_refused(tmp_path: Path, value: float) -> None:
    json_file, rows_file = tmp_path / "trial.json", tmp_path / "epochs.jsonl"
    write_json(json_file, {"loss": 1.5})
    before = write_rows(rows_file)
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(json_file, {"loss": [value]})
    with pytest.raises(ValueError, match="Out of range float"):
        append_row(rows_file, {"epoch": 4, "loss": value})
    with pytest.raises(ValueError, match="Out of range float"):
        replace_rows(rows_file, [{"epoch": 1, "loss": value}])
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
    assert read_rows(tmp_path / "epochs.jsonl") == ROWS
    assert read_rows(tmp_path / "none.jsonl") == []


def test_a_line_torn_anywhere_costs_that_line_only(tmp_path: Path) -> None:
    path = tmp_path / "epochs.jsonl"
    whole = write_rows(path)
    # A row is there once its last brace is, though not yet its newline.
    ends = [position + 1 for position, byte in enumerate(whole) if byte == ord("}")]
    assert len(ends) == 3
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        left = ROWS[: sum(end <= length for end in ends)]
        assert read_rows(path) == left, length
        replace_rows(path, left)
        append_row(path, {"epoch": 4})
        assert read_rows(path) == [*left, {"epoch": 4}], length


@pytest.mark.parametrize("damage", [b"\xff\xfe", b"\0" * 64, b"[1]\n", b"3\n", b"\n", b'{"epoch": 4,\n'])
def test_reading_stops_at_the_first_damage(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "epochs.jsonl"
    whole = write_rows(path)
    path.write_bytes(whole + damage + b'{"epoch": 5}\n')
    assert read_rows(path) == ROWS
    replace_rows(path, ROWS)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_replace_rows_leaves_just_these(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "epochs.jsonl"
    lines = write_rows(path).splitlines(keepends=True)
    replace_rows(path, ROWS[:kept])
    assert path.read_bytes() == b"".join(lines[:kept])
    replace_rows(tmp_path / "new.jsonl", ROWS)
    assert read_rows(tmp_path / "new.jsonl") == ROWS


def test_replace_rows_touches_nothing_that_is_as_it_should_be(tmp_path: Path) -> None:
    path = tmp_path / "epochs.jsonl"
    replace_rows(path, [])
    assert not path.exists()
    write_rows(path)
    before = path.stat()
    replace_rows(path, ROWS)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


FULL = TrialRecord(
    number=12,
    config={"epochs": 18, "alpha": {"family": "cosine"}},
    control="one_shot",
    parent={"number": 3, "epoch": 4},
    confirms=7,
    params={"alpha.family": "cosine", "lr.peak": 0.1 + 0.2},
    distributions={"lr.peak": '{"name": "FloatDistribution"}'},
    state="failed",
    attempt=2,
    host="höst",
    device="cpu",
    cut={"epoch": 6, "widths": [8, 16], "difference": 2e-6},
    error="RuntimeError: two\nlines",
    created="2025-01-01T00:00:00.000+00:00",
    started="2025-01-01T00:00:01.000+00:00",
    finished="2025-01-01T00:00:02.000+00:00",
)


@pytest.mark.parametrize("record", [FULL, TrialRecord(number=0, config={})])
def test_a_trial_record_comes_back_as_it_was(tmp_path: Path, record: TrialRecord) -> None:
    folder = ExperimentFolder(tmp_path).trial(record.number)
    folder.create(record)
    assert folder.read() == record


@pytest.mark.parametrize(
    "fields", [{"control": "one_shot"}, {"parent": {"number": 3, "epoch": 4}}, {"confirms": 0}, {"confirms": 7}]
)
def test_the_study_did_not_ask_for_controls_branches_and_repeats(fields: dict[str, Any]) -> None:
    assert TrialRecord(number=12, config={}).asked
    assert not TrialRecord(number=12, config={}, **fields).asked


def test_a_record_from_before_repeats_is_of_none(tmp_path: Path) -> None:
    folder = ExperimentFolder(tmp_path).trial(12)
    folder.create(FULL)
    old = {name: value for name, value in asdict(FULL).items() if name != "confirms"}
    folder.record_path.write_text(json.dumps(old))
    assert folder.read() == replace(FULL, confirms=None)


def test_a_damaged_trial_record_is_named(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path / "00012")
    folder.path.mkdir()
    with pytest.raises(ValueError, match=rf"^{folder.record_path} is missing$"):
        folder.read()
    folder.write(replace(FULL, number=13))
    with pytest.raises(ValueError, match="is damaged: it is of trial 13"):
        folder.read()
    for values in ({**asdict(FULL), "nunber": 3}, {"number": 3}):
        folder.record_path.write_text(json.dumps(values))
        with pytest.raises(ValueError, match=rf"^{folder.record_path} is damaged: .*(nunber|config)"):
            folder.read()


def test_the_end_of_a_trial_is_recorded(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path / "00012")
    folder.create(replace(FULL, state="running", error=None, finished=None))
    folder.end("stopped")
    ended = folder.read()
    assert ended == replace(FULL, state="stopped", error=None, finished=ended.finished)
    assert ended.finished is not None
    assert ended.finished > ended.created
    folder.end("failed", "MemoryError")
    assert folder.read() == ended  # as it ended first
    folder.again()
    folder.end("failed", "MemoryError")
    assert (folder.read().state, folder.read().error) == ("failed", "MemoryError")
    folder.again()
    assert folder.read() == replace(FULL, state="running", error=None, finished=None)


def test_checkpoints_come_newest_first(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path / "00012")
    folder.path.mkdir()
    for epoch in (7, 12, 99_999, 100_000):
        folder.checkpoint(epoch).write_bytes(b"")
    (folder.path / "checkpoint-mine.pt").write_bytes(b"")
    assert [folder.epoch_of(path) for path in folder.checkpoints()] == [100_000, 99_999, 12, 7, -1]


def test_a_trial_is_made_all_at_once(tmp_path: Path) -> None:
    experiment = ExperimentFolder(tmp_path)
    checkpoint = tmp_path / "checkpoint-00003.pt"
    checkpoint.write_bytes(b"weights")
    experiment.trial(12).create(FULL, checkpoint)
    assert experiment.trial(12).checkpoint(3).read_bytes() == b"weights"
    with pytest.raises(OSError, match="not empty"):
        experiment.trial(12).create(FULL)
    with pytest.raises(FileNotFoundError):
        experiment.trial(13).create(replace(FULL, number=13), tmp_path / "none.pt")
    assert [folder.number for folder in experiment.trials()] == [12]


def test_only_the_newest_attempt_may_write(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path / "00012")
    folder.create(replace(FULL, state="running", attempt=0))
    first = folder.begin("here:1", "cpu").attempt
    with folder.fenced(first) as record:
        assert (record.host, record.error) == ("here:1", None)
    second = folder.begin("there:2", "cpu").attempt
    assert (first, second) == (1, 2)
    with pytest.raises(FencedError, match="running in attempt 2, so attempt 1 may not write"), folder.fenced(first):
        raise AssertionError("the fence let a stale attempt in")
    folder.end("stopped")
    with pytest.raises(FencedError, match="is stopped"), folder.fenced(second):
        raise AssertionError("the fence let an ended trial go on")
    with pytest.raises(FencedError, match="is stopped"):
        folder.begin("here:3", "cpu")


def test_a_write_waits_for_the_one_that_has_the_lock(tmp_path: Path) -> None:
    """The next attempt cannot begin in the middle of a write of the one before."""
    folder = TrialFolder(tmp_path / "00012")
    folder.create(replace(FULL, state="running", attempt=0))
    attempt = folder.begin("here:1", "cpu").attempt
    code = f"""
from pathlib import Path
from records.trial import TrialFolder
print(TrialFolder(Path({str(folder.path)!r})).begin("there:2", "cpu").attempt)
"""
    with folder.fenced(attempt):
        other = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(timeout=3)
        append_row(folder.rows_path, {"epoch": 1})
        assert folder.read().attempt == attempt
    assert other.communicate(timeout=60)[0].strip() == "2"


def test_rows_are_read_up_to_the_first_that_is_not_the_next_epochs(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path / "00012")
    folder.create(FULL)
    rows = [{"epoch": epoch, "phase": "alpha", **dict.fromkeys(MEASURES, 0.5)} for epoch in (1, 2, 3)]
    replace_rows(folder.rows_path, rows)
    assert folder.rows() == rows
    # A letter of a name, a value of another kind, an epoch that is left out or there twice.
    for odd in (
        {"epoch": 2, "phase": "alpha", **dict.fromkeys(MEASURES[1:], 0.5), "alphb": 0.5},
        {**rows[1], "val_loss": None},
        {**rows[1], "val_loss": "0.5"},
        {**rows[1], "val_loss": True},
        {**rows[1], "phase": "alphb"},
        rows[2],
        rows[0],
    ):
        replace_rows(folder.rows_path, [rows[0], odd, rows[2]])
        assert folder.rows() == rows[:1], odd


def test_trials_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    experiment = ExperimentFolder(tmp_path)
    assert list(experiment.trials()) == []
    for number in (100, 12, 3):
        experiment.trial(number).create(replace(FULL, number=number))
    (tmp_path / "trials" / "notes").mkdir()
    assert [folder.read().number for folder in experiment.trials()] == [3, 12, 100]
    assert experiment.trial(12).path == tmp_path / "trials" / "00012"


def test_find_says_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no experiment 'mine'; there is none; `alphaprune run` makes one"):
        ExperimentFolder.find(tmp_path, "mine")
    for name in ("zebra", "ant"):
        (tmp_path / name).mkdir()
        write_json(ExperimentFolder(tmp_path / name).record_path, {})
    (tmp_path / "no-experiment").mkdir()
    with pytest.raises(ValueError, match=rf"^'{tmp_path}' holds no experiment 'mine'; there are: ant, zebra$"):
        ExperimentFolder.find(tmp_path, "mine")
    assert ExperimentFolder.find(tmp_path, "ant") == ExperimentFolder(tmp_path / "ant")


def test_importing_it_imports_nothing_heavy() -> None:
    code = "import sys, records.trial; print({'torch', 'ray', 'optuna', 'pandas', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

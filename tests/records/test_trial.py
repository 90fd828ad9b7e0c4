"""A trial's record and its files: what is written can be read again, damage is named, and one writes at a time."""

import json
import math
import subprocess
import sys
from dataclasses import MISSING, asdict, fields, replace
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
from examples import make_row

from records.epoch import METRICS
from records.experiment import ExperimentFolder
from records.files import append_json_line, read_json, replace_json_lines
from records.trial import Cut, FencedError, Parent, TrialFolder, TrialRecord

ROOT = Path(__file__).parents[2]

FULL = TrialRecord(
    number=12,
    config={"epochs": 18, "alpha": {"family": "cosine"}},
    control="one_shot",
    parent=Parent(number=3, epoch=4, alpha=0.5),
    confirms=7,
    params={"alpha.family": "cosine", "lr.peak": 0.1 + 0.2},
    distributions={"lr.peak": '{"name": "FloatDistribution"}'},
    state="failed",
    attempt=2,
    host="höst",
    device="cpu",
    cut=Cut(
        epoch=6,
        widths=(8, 16),
        channels=24,
        parameters=1400,
        macs=9000,
        val_loss=0.1 + 0.2,
        val_accuracy=0.9,
        difference=2e-6,
    ),
    error="RuntimeError: two\nlines",
    problems=["attempt 2 started further back"],
    created="2025-01-01T00:00:00.000+00:00",
    started="2025-01-01T00:00:01.000+00:00",
    finished="2025-01-01T00:00:02.000+00:00",
)


@pytest.mark.parametrize("record", [FULL, TrialRecord(number=0, config={})])
def test_a_trial_record_comes_back_as_it_was(tmp_path: Path, record: TrialRecord) -> None:
    folder = ExperimentFolder(tmp_path).trial_folder(record.number)
    folder.create(record)
    assert folder.read_record() == record


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({}, "searched"),
        ({"control": "one_shot"}, "control"),
        ({"parent": Parent(number=3, epoch=4)}, "branch"),
        ({"confirms": 0}, "repeat"),
        ({"confirms": 7, "control": "one_shot"}, "repeat"),
        ({"confirms": 7, "parent": Parent(number=3, epoch=4)}, "repeat"),
    ],
)
def test_the_study_did_not_ask_for_controls_branches_and_repeats(given: dict[str, Any], kind: str) -> None:
    assert TrialRecord(number=12, config={}, **given).kind == kind


def optional(kind: type) -> dict[str, Any]:
    """The fields that records may lack, and their defaults; None if the default differs each time."""
    found = {}
    for each in fields(kind):
        if each.default is not MISSING:
            found[each.name] = each.default
        elif each.default_factory is not MISSING:
            found[each.name] = None if each.name == "created" else each.default_factory()
    return found


def test_what_older_records_may_lack() -> None:
    """All but what makes the trial: a field added without a default makes old experiments unreadable."""
    assert {each.name for each in fields(TrialRecord)} - optional(TrialRecord).keys() == {"number", "config"}
    required = {each.name for each in fields(Cut)} - optional(Cut).keys()
    assert required == {"epoch", "widths", "channels", "parameters", "macs"}
    assert {each.name for each in fields(Parent)} - optional(Parent).keys() == {"number", "epoch"}


@pytest.mark.parametrize("missing", optional(TrialRecord))
def test_a_record_from_before_a_field_was_added_is_read(tmp_path: Path, missing: str) -> None:
    folder = TrialFolder(tmp_path / "00012")
    folder.create(FULL)
    old = {name: value for name, value in asdict(FULL).items() if name != missing}
    folder.record_path.write_text(json.dumps(old))
    found = folder.read_record()
    if missing == "created":
        assert found.created >= FULL.created
        found = replace(found, created=FULL.created)
    expected = FULL if missing == "created" else replace(FULL, **{missing: optional(TrialRecord)[missing]})
    assert found == expected


@pytest.mark.parametrize(
    ("part", "missing"), [*(("cut", name) for name in optional(Cut)), *(("parent", name) for name in optional(Parent))]
)
def test_what_part_of_an_older_record_lacks_is_unknown(tmp_path: Path, part: str, missing: str) -> None:
    folder = TrialFolder(tmp_path / "00012")
    folder.create(FULL)
    old = asdict(FULL)
    del old[part][missing]
    folder.record_path.write_text(json.dumps(old))
    assert folder.read_record() == replace(FULL, **{part: replace(getattr(FULL, part), **{missing: None})})


def test_a_damaged_trial_record_is_named(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path / "00012")
    folder.path.mkdir()
    with pytest.raises(ValueError, match=rf"^{folder.record_path} is missing$"):
        folder.read_record()
    folder.write_record(replace(FULL, number=13))
    with pytest.raises(ValueError, match="is damaged: it belongs to trial 13"):
        folder.read_record()
    for values in ({**asdict(FULL), "nunber": 3}, {"number": 3}):
        folder.record_path.write_text(json.dumps(values))
        with pytest.raises(ValueError, match=rf"^{folder.record_path} is damaged: .*(nunber|config)"):
            folder.read_record()


def test_an_unknown_field_may_be_from_a_newer_version(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path / "00012")
    folder.create(FULL)
    values = asdict(FULL)
    for newer, field in (
        ({**values, "queue": "long"}, "queue"),
        ({**values, "cut": {**values["cut"], "groups": 3}}, "cut.groups"),
        ({**values, "parent": {**values["parent"], "seed": 3}}, "parent.seed"),
    ):
        folder.record_path.write_text(json.dumps(newer))
        with pytest.raises(ValueError, match="a newer version may have written it") as error:
            folder.read_record()
        assert str(error.value).startswith(
            f"{folder.record_path} is damaged: {field} is not a field that this version "
        )
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("missing", ["epoch", "widths", "channels", "parameters", "macs"])
def test_an_incomplete_cut_makes_the_record_a_damaged_one(tmp_path: Path, missing: str) -> None:
    """What a trial is ranked by must be complete."""
    folder = TrialFolder(tmp_path / "00012")
    folder.create(FULL)
    values = asdict(FULL)
    del values["cut"][missing]
    folder.record_path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=rf"^{folder.record_path} is damaged: cut\.{missing}: "):
        folder.read_record()


def test_a_folder_that_is_not_named_after_its_number_is_left_out(tmp_path: Path) -> None:
    """Or there would be two trials 12."""
    folder = TrialFolder(tmp_path / "12")
    folder.create(FULL)
    with pytest.raises(ValueError, match=rf"^{folder.record_path} is left out: trial 12 belongs in 00012$"):
        folder.read_record()


def test_the_end_of_a_trial_is_recorded(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path / "00012")
    folder.create(replace(FULL, state="running", error=None, finished=None))
    folder.record_end("stopped")
    ended = folder.read_record()
    assert ended == replace(FULL, state="stopped", error=None, finished=ended.finished)
    assert ended.finished is not None
    assert ended.finished > ended.created
    folder.record_end("failed", "MemoryError")
    assert folder.read_record() == ended  # the first end stands
    folder.reopen()
    folder.record_end("failed", "MemoryError")
    assert (folder.read_record().state, folder.read_record().error) == ("failed", "MemoryError")
    folder.reopen()
    assert folder.read_record() == replace(FULL, state="running", error=None, finished=None)


def test_checkpoints_come_newest_first(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path / "00012")
    folder.path.mkdir()
    for epoch in (7, 12, 99_999, 100_000):
        folder.checkpoint_path(epoch).write_bytes(b"")
    (folder.path / "checkpoint-mine.pt").write_bytes(b"")
    assert [folder.checkpoint_epoch(path) for path in folder.list_checkpoints()] == [100_000, 99_999, 12, 7]


def test_a_trial_is_created_all_at_once(tmp_path: Path) -> None:
    experiment = ExperimentFolder(tmp_path)
    checkpoint = tmp_path / "checkpoint-00003.pt"
    checkpoint.write_bytes(b"weights")
    experiment.trial_folder(12).create(FULL, checkpoint)
    assert experiment.trial_folder(12).checkpoint_path(3).read_bytes() == b"weights"
    with pytest.raises(FencedError, match="has been created by another process"):
        experiment.trial_folder(12).create(FULL)
    assert [path.name for path in experiment.trials_path.iterdir()] == ["00012"]
    with pytest.raises(FileNotFoundError):
        experiment.trial_folder(13).create(replace(FULL, number=13), tmp_path / "none.pt")
    assert [folder.number for folder in experiment.trial_folders()] == [12]


def test_only_the_newest_attempt_may_write(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path / "00012")
    folder.create(replace(FULL, state="running", attempt=0))
    first = folder.begin_attempt("here:1", "cpu").attempt
    with folder.hold_fence(first) as record:
        assert (record.host, record.error) == ("here:1", None)
    second = folder.begin_attempt("there:2", "cpu").attempt
    assert (first, second) == (1, 2)
    with pytest.raises(FencedError, match="running in attempt 2, so attempt 1 may not write"), folder.hold_fence(first):
        raise AssertionError("the fence let a stale attempt in")
    folder.record_end("stopped")
    with pytest.raises(FencedError, match="is stopped"), folder.hold_fence(second):
        raise AssertionError("the fence let an ended trial continue")
    with pytest.raises(FencedError, match="is stopped"):
        folder.begin_attempt("here:3", "cpu")


def test_a_write_waits_for_the_one_that_has_the_lock(tmp_path: Path) -> None:
    """The next attempt cannot begin in the middle of a write by the one before it."""
    folder = TrialFolder(tmp_path / "00012")
    folder.create(replace(FULL, state="running", attempt=0))
    attempt = folder.begin_attempt("here:1", "cpu").attempt
    code = f"""
from pathlib import Path
from records.trial import TrialFolder
print(TrialFolder(Path({str(folder.path)!r})).begin_attempt("there:2", "cpu").attempt)
"""
    with folder.hold_fence(attempt):
        other = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(timeout=3)
        append_json_line(folder.rows_path, {"epoch": 1})
        assert folder.read_record().attempt == attempt
    assert other.communicate(timeout=60)[0].strip() == "2"


def test_rows_are_read_up_to_the_first_that_is_not_the_next_epochs(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path / "00012")
    folder.create(FULL)
    assert folder.read_rows() == []
    rows = [make_row(epoch, phase="alpha") for epoch in (1, 2, 3)]
    folder.replace_rows(rows)
    assert folder.read_rows() == rows
    values = [row.as_values() for row in rows]
    # A wrong letter in a name, a value of the wrong kind, an epoch left out or repeated.
    for odd in (
        {"epoch": 2, "phase": "alpha", **dict.fromkeys(METRICS[1:], 0.5), "alphb": 0.5},
        {**values[1], "val_loss": None},
        {**values[1], "val_loss": "0.5"},
        {**values[1], "val_loss": True},
        {**values[1], "phase": "alphb"},
        values[2],
        values[0],
    ):
        replace_json_lines(folder.rows_path, [values[0], odd, values[2]])
        assert folder.read_rows() == rows[:1], odd


def test_rows_are_appended_one_by_one(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path / "00012")
    folder.create(FULL)
    rows = [make_row(1), make_row(2, images_per_second=None, epoch_seconds=None)]
    for row in rows:
        folder.append_row(row)
    assert folder.read_rows() == rows
    assert folder.rows_path.read_bytes().count(b"\n") == 2
    assert b"null" not in folder.rows_path.read_bytes()


def test_importing_the_records_imports_nothing_heavy() -> None:
    names = [f"records.{path.stem}" for path in sorted((ROOT / "records").glob("*.py")) if path.stem != "__init__"]
    assert "records.trial" in names
    code = f"import sys, {', '.join(names)}; print({{'torch', 'ray', 'optuna', 'pandas', 'numpy'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *(("number", value) for value in (-1, 2**63)),
        *(("attempt", value) for value in (-1, 2**63)),
        *(("parent.epoch", value) for value in (-1, 2**63)),
        *(("parent.alpha", value) for value in (math.nan, math.inf)),
        *(("cut.macs", value) for value in (-1, 2**63, 10**400)),
        *(("cut.widths.0", value) for value in (-1, 2**63)),
        *(("cut.val_accuracy", value) for value in (math.nan, math.inf)),
    ],
)
def test_a_number_that_no_column_can_hold_is_damage(tmp_path: Path, place: str, value: float) -> None:
    folder = ExperimentFolder(tmp_path).trial_folder(FULL.number)
    folder.create(FULL)
    values: Any = read_json(folder.record_path)
    *path, last = [int(key) if key.isdecimal() else key for key in place.split(".")]
    reduce(getitem, path, values)[last] = value
    folder.record_path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=rf"^{folder.record_path} is damaged: {place}: "):
        folder.read_record()


def test_each_changed_digit_of_what_never_changes_is_noticed(tmp_path: Path) -> None:
    folder = ExperimentFolder(tmp_path).trial_folder(FULL.number)
    folder.create(FULL)
    values: Any = read_json(folder.record_path)
    fixed = ("number", "config", "control", "parent", "confirms", "params", "distributions", "created", "cut")
    for name in fixed:
        text = json.dumps(values[name])
        for place in (place for place, letter in enumerate(text) if letter.isdigit()):
            changed = text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :]
            try:
                value = json.loads(changed)
            except ValueError:
                continue  # 05 is no number
            if value == values[name]:
                continue  # a digit too many for a float
            folder.record_path.write_text(json.dumps({**values, name: value}))
            with pytest.raises(ValueError, match=rf"^{folder.record_path} is damaged: "):
                folder.read_record()
    folder.record_path.write_text(json.dumps({**values, "state": "stopped", "attempt": 7}))
    assert folder.read_record().attempt == 7


def test_rows_that_change_after_the_end_no_longer_count(tmp_path: Path) -> None:
    folder = ExperimentFolder(tmp_path).trial_folder(3)
    folder.create(TrialRecord(3, {}))
    rows = [make_row(epoch) for epoch in (1, 2, 3)]
    for row in rows:
        folder.append_row(row)
    assert folder.read_record().rows_digest is None
    folder.record_end("stopped")
    digest = folder.read_record().rows_digest
    assert folder.read_rows(digest) == rows
    content = folder.rows_path.read_bytes()
    folder.rows_path.write_bytes(content.replace(b'"epoch": 2', b'"epoch":  2'))
    assert folder.read_rows(digest) == []
    folder.rows_path.write_bytes(content[:-20])
    assert folder.read_rows(digest) == rows[:2]  # torn, which shows by itself
    folder.rows_path.write_bytes(content)
    folder.reopen()
    assert folder.read_record().rows_digest is None


def test_rows_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    folder = ExperimentFolder(tmp_path).trial_folder(3)
    folder.create(TrialRecord(3, {}))
    folder.rows_path.mkdir()
    with pytest.raises(ValueError, match=rf"^{folder.rows_path} cannot be read: Is a directory$"):
        folder.read_rows()
    folder.record_end("failed", "it ended all the same")
    assert folder.read_record().state == "failed"


def test_a_lock_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    folder = ExperimentFolder(tmp_path).trial_folder(3)
    folder.create(TrialRecord(3, {}))
    (folder.path / ".lock").mkdir()
    with pytest.raises(ValueError, match=rf"^{folder.path}/.lock cannot be used: Is a directory$"):
        folder.begin_attempt("host:1", "cpu")


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    folder = ExperimentFolder(tmp_path).trial_folder(3)
    folder.create(TrialRecord(3, {}))
    folder.model_path.mkdir()
    for name in (".trial.json.0123abcd", ".checkpoint-00012.pt.0123abcd", "model/.model.safetensors.0123abcd"):
        (folder.path / name).write_bytes(b"half")
    mine = [".notes.20261126", ".checkpoint-best.pt.20261126", "model/.mine.20261126"]
    for name in mine:
        (folder.path / name).write_bytes(b"mine")
    folder.remove_unfinished()
    left = {str(path.relative_to(folder.path)) for path in folder.path.rglob("*") if path.is_file()}
    assert left == {*mine, "trial.json"}


def test_text_that_no_reader_would_take_is_replaced(tmp_path: Path) -> None:
    """Python keeps a byte of a file's name that is no UTF-8 as half a surrogate pair."""
    folder = ExperimentFolder(tmp_path).trial_folder(0)
    folder.create(TrialRecord(number=0, config={"name": "caf\udce9"}))
    folder.record_end("failed", "FileNotFoundError: 'caf\udce9.png'")
    assert folder.read_record().config == {"name": "caf?"}
    assert folder.read_record().error == "FileNotFoundError: 'caf?.png'"


def test_values_that_json_writes_differently_are_no_damage(tmp_path: Path) -> None:
    folder = ExperimentFolder(tmp_path).trial_folder(0)
    cut = replace(FULL.cut, val_loss=0) if FULL.cut else None
    folder.create(TrialRecord(number=0, config={"epochs": 12, "lr": {"milestones": (3, 6)}}, cut=cut))
    assert folder.read_record().config["lr"]["milestones"] == [3, 6]
    assert json.loads(folder.record_path.read_text())["cut"]["val_loss"] == 0


def test_a_digest_does_not_depend_on_fields_that_are_not_there(tmp_path: Path) -> None:
    """Or a field that a later version adds would change the digests of all older records."""
    assert set(TrialRecord(number=0, config={}).digested) == {"number", "config", "params", "distributions", "created"}
    cut = Cut(epoch=1, widths=(8,), channels=8, parameters=1, macs=1)
    assert set(TrialRecord(number=0, config={}, cut=cut).digested["cut"]) == {
        *("epoch", "widths", "channels", "parameters", "macs"),
    }

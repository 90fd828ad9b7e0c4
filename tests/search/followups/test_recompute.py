"""Whether a trial that is computed again is the same as recorded."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from examples import make_row
from searches import TINY, alphaprune

from records.experiment import ExperimentFolder
from search.followups.recompute import find_difference

ROWS = [make_row(epoch) for epoch in (1, 2, 3)]


def test_times_do_not_count() -> None:
    again = [replace(row, epoch_seconds=99.0, images_per_second=1.0) for row in ROWS]
    assert find_difference(ROWS, again) is None


def test_what_an_older_version_did_not_record_does_not_count() -> None:
    older = [replace(row, training_cost=None) for row in ROWS]
    assert find_difference(older, ROWS) is None
    assert find_difference(ROWS, older) == "training_cost of epoch 1 was 0.5, and is None now"


def test_the_first_difference_is_named() -> None:
    again = [*ROWS[:1], *(replace(row, val_accuracy=0.125) for row in ROWS[1:])]
    difference = find_difference(ROWS, again)
    assert difference == f"val_accuracy of epoch 2 was {ROWS[1].val_accuracy}, and is 0.125 now"


def test_of_an_unfinished_trial_the_recorded_epochs_are_compared() -> None:
    assert find_difference(ROWS[:2], ROWS) is None
    assert find_difference([], ROWS) is None


@pytest.mark.filterwarnings("ignore")
def test_a_trial_that_is_not_the_same_on_the_same_device_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    alphaprune("trial", tmp_path / "tiny.toml", "--storage", tmp_path)
    again = alphaprune("trial", "tiny", 0, "--storage", tmp_path)
    assert "same as recorded: yes, 3 of 3 epochs" in again.stderr
    folder = ExperimentFolder(tmp_path / "tiny")
    files = folder.trial_folder(0)
    record = json.loads(files.record_path.read_text())
    del record["rows_digest"]  # as older versions wrote it
    files.record_path.write_text(json.dumps(record))
    lines = files.rows_path.read_text().splitlines()
    changed = json.loads(lines[1]) | {"val_loss": 0.5}
    files.rows_path.write_text("\n".join([lines[0], json.dumps(changed), lines[2]]) + "\n")
    again = alphaprune("trial", "tiny", 0, "--storage", tmp_path, code=1)
    assert len(again.stdout.splitlines()) == 3
    assert "same as recorded: no, val_loss of epoch 2 was 0.5, and is " in again.stderr
    folder.write_record(replace(folder.read_record(), versions={"torch": "2.0"}))
    again = alphaprune("trial", "tiny", 0, "--storage", tmp_path)
    assert "it was recorded elsewhere (torch 2.0, now " in again.stderr

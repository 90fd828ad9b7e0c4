"""An experiment written by version 0.1.0, before records had a format number: it loads, ranks, resumes and branches.

tests/fixtures/experiment-0.1.0.tar.xz is a search of a few seconds on scikit-learn's digits at 1/16 of the width:
controls, searched trials (one stopped, one interrupted after two of its four epochs), a branch, repeats, measurements.
experiment-0.1.0.json holds what that version said of it, and the rows that it computed when it resumed and branched.
"""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from searches import alphaprune

import analysis
from analysis.report import write_report
from records.experiment import FIRST_FORMAT, FORMAT, ExperimentFolder

FIXTURES = Path(__file__).parent / "fixtures"
EXPECTED: dict[str, Any] = json.loads((FIXTURES / "experiment-0.1.0.json").read_text())
# Columns that stood there twice then, and have kept one of their names.
RENAMED = {"family": "alpha.family", "rate": "alpha.rate", "policy": "lr.policy"}
# Retraining rounds its sums differently from one processor to another; everything else is arithmetic.
TRAINED = {"train_loss", "train_accuracy", "val_loss", "val_accuracy", "pruned_val_accuracy"}


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    with tarfile.open(FIXTURES / "experiment-0.1.0.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return ExperimentFolder(tmp_path / "recorded")


def check_rows(folder: ExperimentFolder, number: int) -> None:
    """The trial's rows are those of version 0.1.0."""
    found = [row.as_values() for row in folder.trial_folder(number).read_rows()]
    expected = EXPECTED["rows"][str(number)]
    assert len(found) == len(expected)
    for row, before in zip(found, expected, strict=True):
        for name, value in before.items():
            assert row[name] == (pytest.approx(value, rel=0.2, abs=0.1) if name in TRAINED else value), name


def test_it_ranks_as_it_did(folder: ExperimentFolder) -> None:
    ranking = json.loads(alphaprune("rank", "recorded", "--storage", folder.path.parent, "--format", "json").stdout)
    found = [{name: row[RENAMED.get(name, name)] for name in EXPECTED["ranking"][0]} for row in ranking]
    assert found == EXPECTED["ranking"]


def test_its_status_is_what_it_was(folder: ExperimentFolder) -> None:
    status = json.loads(alphaprune("status", "recorded", "--storage", folder.path.parent, "--format", "json").stdout)
    for name, before in EXPECTED["status"].items():
        # Nobody runs it now, so what that version called running is interrupted.
        moved = {"running": 0, "interrupted": before["running"]} if isinstance(before, dict) else None
        assert status[name] == (before if moved is None else {**before, **moved})
    assert (status["state"], status["driver"]) == ("interrupted", None)
    assert status["problems"] == []


def test_it_has_the_format_that_had_no_number_and_reports(folder: ExperimentFolder, tmp_path: Path) -> None:
    assert "format" not in json.loads(folder.record_path.read_text())
    assert folder.read_record().format == FIRST_FORMAT < FORMAT
    assert "multiplicative" in write_report(analysis.load(folder.path), tmp_path / "report.html").read_text()


def test_it_resumes_and_branches(folder: ExperimentFolder) -> None:
    place = ("--local", "--storage", folder.path.parent)
    folder.write_record(folder.read_record())  # as a search that changes its settings does
    alphaprune("branch", "recorded", 4, "--at-alpha", 0.6, "--set", "lr.peak=0.02", *place)
    for number in (16, 17):
        assert folder.trial_folder(number).read_record().state == "complete"
        check_rows(folder, number)
    # And the unfinished search has run to its end.
    assert folder.trial_folder(18).read_record().kind == "searched"

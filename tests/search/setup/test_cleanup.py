"""What killed processes leave is removed at the next start; what may still be wanted stays."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from examples import make_row

from records.experiment import ExperimentFolder
from records.trial import State, TrialRecord
from search.setup.cleanup import remove_leftovers
from search.snapshot import Snapshot
from trainable.config import TrialConfig, as_json


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    folder = ExperimentFolder(tmp_path / "experiment")
    folder.dense_path.mkdir(parents=True)
    return folder


def add(folder: ExperimentFolder, number: int, state: State, *, rows: int = 4) -> None:
    """A trial of four epochs at alpha 0.6, 0.3, 0 and 0 with the checkpoints of the last three."""
    trial = folder.trial_folder(number)
    trial.create(TrialRecord(number, as_json(TrialConfig(epochs=4)), state=state))
    for epoch, alpha in list(enumerate((0.6, 0.3, 0.0, 0.0), start=1))[:rows]:
        trial.append_row(make_row(epoch, phase="alpha", alpha=alpha))
    for epoch in (2, 3, 4):
        trial.checkpoint_path(epoch).write_bytes(b"")


def clean_up(folder: ExperimentFolder, keep_at_alpha: Sequence[float] = ()) -> None:
    remove_leftovers(folder, Snapshot.read(folder), keep_at_alpha)


def epochs(folder: ExperimentFolder, number: int) -> list[int]:
    return sorted(map(folder.trial_folder(number).checkpoint_epoch, folder.trial_folder(number).list_checkpoints()))


@pytest.mark.parametrize(
    ("state", "left"), [("complete", [2]), ("stopped", [2]), ("running", [2, 3, 4]), ("failed", [2, 3, 4])]
)
def test_an_ended_trial_keeps_only_the_requested_checkpoints(
    folder: ExperimentFolder, state: State, left: list[int]
) -> None:
    add(folder, 1, state)
    clean_up(folder, (0.4,))
    assert epochs(folder, 1) == left


def test_damaged_rows_do_not_cost_a_checkpoint(folder: ExperimentFolder) -> None:
    add(folder, 1, "complete", rows=1)
    clean_up(folder, (0.4,))
    assert epochs(folder, 1) == [2, 3, 4]


def test_unfinished_files_are_removed_and_nothing_else(folder: ExperimentFolder) -> None:
    add(folder, 1, "running")
    trial = folder.trial_folder(1)
    trial.model_path.mkdir()
    stay = [
        folder.path / ".driver.lock",
        trial.path / ".lock",
        trial.model_path / "arch.json",
        folder.dense_path / "checkpoint.pt",
    ]
    stay += [folder.path / "notes.0123abcd", trial.path / ".notes.mine"]
    go = [folder.path / ".experiment.json.0123abcd", trial.path / ".checkpoint-00005.pt.0123abcd"]
    go += [trial.model_path / ".arch.json.0123abcd", folder.dense_path / ".dense.json.0123abcd"]
    go += [folder.dense_path / ".layout.json.0123abcd"]
    for path in (*stay, *go):
        path.write_bytes(b"")
    begun = folder.path / "trials" / ".00002.0123abcd"
    begun.mkdir()
    (begun / "checkpoint-00001.pt").write_bytes(b"")
    clean_up(folder)
    assert [path for path in stay if not path.exists()] == []
    assert [path for path in (*go, begun) if path.exists()] == []
    (folder.dense_path / "dense.json").write_text("{}")
    clean_up(folder)
    assert not (folder.dense_path / "checkpoint.pt").exists()

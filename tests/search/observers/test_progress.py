"""What people are told of a running search, as plain lines."""

from pathlib import Path

import pytest

from records.experiment import ExperimentFolder
from search.observers.progress import SearchProgress
from search.settings import resolve


@pytest.fixture
def progress(tmp_path: Path) -> SearchProgress:
    return SearchProgress(ExperimentFolder(tmp_path / "search"), resolve({}), planned=9, dense_epochs=0)


def test_a_change_of_room_is_told_once(progress: SearchProgress, capsys: pytest.CaptureFixture[str]) -> None:
    def told(trials: int, waiting: int) -> str:
        progress.room(trials, waiting)
        return capsys.readouterr().err

    assert told(2, 0) == ""
    assert told(2, 0) == ""
    lost = "trials that the cluster has room for: 1 now, 2 before; 1 that ran before waits for resources\n"
    assert told(1, 1) == lost
    assert told(1, 1) == ""
    assert "0 now, 1 before; 2 that ran before wait for resources" in told(0, 2)
    assert told(2, 0) == "trials that the cluster has room for: 2 now, 0 before\n"
    assert told(2, 0) == ""

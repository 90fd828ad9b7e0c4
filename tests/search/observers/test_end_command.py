"""`--on-end CMD`: run once, however the search ends, with what is to be told in its environment."""

import json
import os
import signal
from pathlib import Path

import pytest
from searches import alphaprune, ended, start, wait_for

WRITE = (
    "import json, os, sys; from pathlib import Path; "
    "path = Path(os.environ['ALPHAPRUNE_EXPERIMENT']).parent / 'ends.jsonl'; "
    "path.open('a').write(json.dumps([os.environ['ALPHAPRUNE_STATE'], os.environ['ALPHAPRUNE_SUMMARY']]) + chr(10)); "
    "print('told')"
)


@pytest.fixture
def command(tmp_path: Path) -> str:
    """Appends to ends.jsonl beside the experiment."""
    script = tmp_path / "tell.py"
    script.write_text(WRITE)
    return f"python3 {script}"


def ends(storage: Path) -> list[list[str]]:
    path = storage / "ends.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_it_is_told_about_a_search_that_finished(command: str, tiny: Path, tmp_path: Path) -> None:
    options = ("--storage", tmp_path, "--trials", 0, "--local", "--on-end", command)
    result = alphaprune("run", tiny, *options, "--set", "controls.kinds=['one_shot']")
    (end,) = ends(tmp_path)
    assert end[0] == "finished"
    assert end[1].startswith("tiny finished: 1 trial, the best is trial 0 with a validation accuracy of")
    assert "told" not in result.stdout  # which is for data


def test_it_is_not_told_about_a_request_that_was_refused(command: str, tiny: Path, tmp_path: Path) -> None:
    alphaprune(*("run", tiny, "--storage", tmp_path, "--local", "--data", "nowhere", "--on-end", command), code=2)
    assert ends(tmp_path) == []


def test_a_command_that_fails_is_only_a_warning(tiny: Path, tmp_path: Path) -> None:
    options = ("--storage", tmp_path, "--trials", 0, "--local", "--on-end", "exit 3")
    result = alphaprune("run", tiny, *options, "--set", "controls.kinds=['one_shot']")
    assert "--on-end: the command ended with exit code 3" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_is_told_about_an_interruption(command: str, tiny: Path, tmp_path: Path, number: signal.Signals) -> None:
    log = tmp_path / "log.txt"
    options = ("--storage", tmp_path, "--local", "--on-end", command, "--set", "trial.epochs=200")
    driver = start("run", tiny, *options, log=log)
    with ended(driver):
        rows = tmp_path / "tiny" / "trials" / "00000" / "epochs.jsonl"
        wait_for(rows.exists, what="an epoch")
        os.kill(driver.pid, number)
        assert driver.wait(60) == 128 + number
    assert ends(tmp_path) == [["interrupted", f"tiny was interrupted: {number.name}"]]
    *_, last = log.read_text().splitlines()
    assert last.startswith("alphaprune resume tiny")
    assert "--on-end" in last

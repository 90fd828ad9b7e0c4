"""What a person sees in a real terminal of 80 columns: names are whole, and no line is cut or wraps."""

import os
import re
import threading
import time
from pathlib import Path

import pytest
from experiments import ExperimentBuilder
from searches import TINY
from terminal import run_in_terminal

from records.driver import FILE_NAME
from records.experiment import ExperimentFolder
from search.setup.driver_lock import drive


@pytest.fixture
def builder(tmp_path: Path) -> ExperimentBuilder:
    builder = ExperimentBuilder(tmp_path / "ray_results" / "demo", epochs=3)
    builder.write_dense()
    builder.add_trial(0, control="from_scratch", accuracies=(0.1, 0.2, 0.8))
    builder.add_trial(1, control="random_channels", accuracies=(0.1, 0.2, 0.85))
    builder.add_trial(2, accuracies=(0.1, 0.2, 0.9))
    return builder


def test_a_ranking_drops_columns_and_names_them(builder: ExperimentBuilder) -> None:
    lines = run_in_terminal("rank", "demo", columns=80, folder=builder.path.parents[1])
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    shown = "\n".join(lines)
    for name in ("0 training from scratch (control)", "1 random channels (control)", "2 exponential 3"):
        assert re.search(rf"^ +\d {re.escape(name)} ", shown, re.MULTILINE), shown
    assert "left out: " in shown


@pytest.mark.parametrize("answer", ["y", "n"])
def test_removing_asks_first(builder: ExperimentBuilder, answer: str) -> None:
    folder, code = builder.path.parents[1], int(answer == "n")
    lines = run_in_terminal("remove", "demo", columns=80, folder=folder, code=code, typed=f"{answer}\n")
    assert any(re.match(r"Remove ray_results/demo, with 3 trials \([\d.]+ MB\)\? \[y/N\]", line) for line in lines), (
        lines
    )
    assert builder.path.exists() == (answer == "n")


def test_status_is_watched_until_nothing_runs(builder: ExperimentBuilder) -> None:
    folder = ExperimentFolder(builder.path)

    def run_for_a_while() -> None:
        with drive(folder) as driver:
            driver.update(searched=True)
            time.sleep(6)

    running = threading.Thread(target=run_for_a_while)
    running.start()
    try:
        while not (builder.path / FILE_NAME).exists():
            time.sleep(0.05)
        command = ("status", "demo", "--watch", "--every", "0.5")
        lines = run_in_terminal(*command, columns=80, folder=builder.path.parents[1])
    finally:
        running.join()
    states = [line for line in lines if line.startswith(("running", "finished"))]
    assert states[0].startswith(f"running: process {os.getpid()} on ")
    assert len(states) > 2
    assert states[-1].startswith("finished")


def test_status_is_not_watched_by_a_program(builder: ExperimentBuilder) -> None:
    command = ("status", "demo", "--watch", "--format", "json")
    lines = run_in_terminal(*command, columns=80, folder=builder.path.parents[1], code=2)
    assert lines[0].startswith("alphaprune: --watch needs a terminal")


@pytest.mark.slow
def test_a_running_search_fits_80_columns(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY.replace("trials = 3", "trials = 2"))
    lines = run_in_terminal("run", "tiny.toml", "--local", columns=80, folder=tmp_path)
    dense = [line for line in lines if re.match(r"dense network [━╸╺]+ epoch", line)]
    bars = [
        line for line in lines if re.match(r"\d of \d trials, .* epochs [━╸╺]+ best .* \(trial \d\) .* left$", line)
    ]
    assert dense
    assert bars
    assert max(map(len, (*dense, *bars))) <= 80
    assert any(line.startswith("time left: about ") for line in lines)
    assert not any("…" in line for line in lines)

"""The programs in examples/ do what they say, as a user would run them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


def run_example(*arguments: str) -> str:
    """What `python ARGUMENTS` prints, in a folder of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    ran = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_a_space_can_be_unit_tested() -> None:
    assert "3 passed" in run_example("-m", "pytest", "-p", "no:cacheprovider", "-v", str(EXAMPLES / "test_my_space.py"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ones_own_tuner_runs_every_trial() -> None:
    """Ray's OptunaSearch adds what a space suggested to what it returned, by which every trial used to fail."""
    shown = run_example(str(EXAMPLES / "own_tuner.py"))
    assert "3 trials, 0 errors" in shown
    assert "best: 0." in shown


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_trial_runs_in_the_process() -> None:
    rows = run_example(str(EXAMPLES / "one_trial.py")).splitlines()
    assert [row.split()[1] for row in rows[2:]] == ["alpha"] * 3 + ["retrain"] * 3


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_in_python_ends_with_its_ranking() -> None:
    shown = run_example(str(EXAMPLES / "search_in_python.py"))
    assert "quickstart finished: 4 trials, the best is trial" in shown
    assert "more columns: columns='all' shows them" in shown


def test_every_example_is_tested() -> None:
    text = Path(__file__).read_text()
    assert all(path.name in text for path in EXAMPLES.glob("*.py"))

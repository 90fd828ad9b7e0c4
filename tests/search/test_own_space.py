"""Whole searches of a space of one's own: what NumPy lists, choices that change before a resume, a late defect."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from searches import TINY, run

from records.experiment import ExperimentFolder

pytestmark = pytest.mark.slow
HEAD = """
from dataclasses import replace
import numpy as np
from trainable.schedules.alpha import Cosine, Exponential, Polynomial

def space(trial, base):
    base = replace(base, seed=trial.number)
"""
FAMILIES = """
    family = trial.suggest_categorical("family", CHOICES)
    rate = trial.suggest_float("rate", 1, 4)
    schedules = {"exponential": Exponential(rate=rate), "polynomial": Polynomial(rate=rate), "cosine": Cosine()}
    return replace(base, alpha=schedules[family])
"""


@pytest.fixture
def write_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Writes the body of `my_space:space`, and mine.toml, which uses it, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    text = TINY.replace("images = 200", "images = 100")
    text = text.replace("[space.options]\namounts = [0.5]", '[space]\nfunction = "my_space:space"')
    Path("mine.toml").write_text(text.replace("[controls]\n", "[controls]\nkinds = []\n"))

    def write(body: str) -> None:
        Path("my_space.py").write_text(HEAD + body, "utf-8")

    return write


def test_choices_of_numpy_are_recorded_and_resumed(write_space: Callable[[str], None]) -> None:
    write_space(
        "    rate = 1 + trial.suggest_categorical('k', list(np.arange(0, 3)))\n"
        "    return replace(base, alpha=Polynomial(rate=rate), alpha_lr=np.float32(0.0125))\n"
    )
    done = run("run", "mine.toml", "--local", "--name", "n", "--storage", ".", "--trials", 11)
    assert done.returncode == 0, done.stderr
    more = run("resume", "n", "--local", "--storage", ".", "--trials", 13)
    assert more.returncode == 0, more.stderr
    records = [trial.read_record() for trial in ExperimentFolder(Path("n")).trial_folders()]
    assert [record.state for record in records] == ["complete"] * 13
    assert {json.dumps(record.params["k"]) for record in records} <= {"0", "1", "2"}


def test_choices_that_change_before_a_resume_leave_the_sampler_what_it_knows(
    write_space: Callable[[str], None],
) -> None:
    write_space(FAMILIES.replace("CHOICES", "['exponential', 'polynomial']"))
    done = run("run", "mine.toml", "--local", "--name", "n", "--storage", ".", "--trials", 11)
    assert done.returncode == 0, done.stderr
    write_space(FAMILIES.replace("CHOICES", "['exponential', 'polynomial', 'cosine']"))
    more = run("resume", "n", "--local", "--storage", ".", "--trials", 14)
    assert more.returncode == 0, more.stderr
    assert more.stderr.count("the space has changed (family); the sampler keeps what it learned") == 1
    assert "rejects" not in more.stderr
    write_space(FAMILIES.replace("CHOICES", "['polynomial', 'cosine']"))
    last = run("resume", "n", "--local", "--storage", ".", "--trials", 16)
    assert last.returncode == 0, last.stderr
    assert last.stderr.count("recorded trials have values of family that it no longer has, so the sampler") == 1
    assert len(list(ExperimentFolder(Path("n")).trial_folders())) == 16


def test_a_defect_that_few_trials_reach_ends_the_search_in_one_line(write_space: Callable[[str], None]) -> None:
    """No traceback, no trial lost, and the search continues once the space is fixed."""
    write_space("    return {number: base for number in range(17)}[trial.number]\n")  # 16 are tried out first
    done = run("run", "mine.toml", "--local", "--name", "n", "--storage", ".", "--trials", 18)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith("alphaprune: the space failed with KeyError: 17 (")
    assert line.endswith("(once it is fixed, `alphaprune resume n --storage .` continues the search)")
    write_space("    return base\n")
    more = run("resume", "n", "--local", "--storage", ".")
    assert more.returncode == 0, more.stderr
    assert len(list(ExperimentFolder(Path("n")).trial_folders())) == 18

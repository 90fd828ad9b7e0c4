"""`alphaprune check`: a space is tried out without training anything."""

from pathlib import Path

import pytest
from searches import TINY
from searches import alphaprune as command

import alphaprune
from search.settings import resolve_settings
from search.space_check import sample_space

SPACE = """
from dataclasses import replace
from trainable.schedules.alpha import Cosine, Polynomial

def space(trial, base):
    family = trial.suggest_categorical("alpha.family", ["cosine", "polynomial"])
    never = trial.suggest_categorical("rare", list(range(50)))
    amount = trial.suggest_float("pruning.amount", 0.3, {most})
    alpha = Cosine() if family == "cosine" else Polynomial(rate=3)
    return replace(base, alpha=alpha, pruning=replace(base.pruning, amount=amount))
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """mine.toml, whose space some_space.py has yet to be written, in the current folder."""
    monkeypatch.chdir(tmp_path)
    text = TINY.replace("[space.options]\namounts = [0.5]", f'[space]\nfunction = "{tmp_path.name}_space:space"')
    Path("mine.toml").write_text(text.replace("-", "_") if "-" in tmp_path.name else text)
    return tmp_path


def write_space(folder: Path, most: float) -> None:
    (folder / f"{folder.name}_space.py").write_text(SPACE.replace("{most}", str(most)))


def test_the_shipped_space_is_whole() -> None:
    shown = command("check", "quickstart", "--samples", 200).stdout
    assert shown == "200 samples, all valid, 200 of them distinct\n"


def test_it_is_the_same_in_python(mine: Path) -> None:
    write_space(mine, 0.6)
    found = alphaprune.check("mine.toml", samples=30)
    assert len(found.configs) == found.distinct == 30
    assert set(found.unseen) == {"rare"}
    assert 20 <= len(found.unseen["rare"]) < 50
    assert alphaprune.check("mine.toml", samples=30) == found
    shown = command("check", "mine.toml", "--samples", 30).stdout
    assert shown == f"{found}\n"
    assert "never drawn: rare = " in shown


def test_an_invalid_sample_is_one_line_and_exit_code_2(mine: Path) -> None:
    write_space(mine, 1.5)
    result = command("check", "mine.toml", "--samples", 100, code=2)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("alphaprune: ")]
    assert "pruning.amount" in line or "amount" in line
    with pytest.raises(ValueError, match="amount"):
        alphaprune.check("mine.toml", samples=100)


def test_a_cut_that_the_network_does_not_allow_is_invalid() -> None:
    settings = resolve_settings({"dense": {"width": 0.0625}, "space": {"options": {"amounts": [0.95]}}})
    with pytest.raises(ValueError, match="must be at most"):
        sample_space(settings, 10)


def test_samples_are_counted_from_one() -> None:
    with pytest.raises(ValueError, match="`samples` must be at least 1, but got 0"):
        alphaprune.check("quickstart", samples=0)

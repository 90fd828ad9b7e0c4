"""What is printed before any work is done (help, version, completion), without the libraries that take seconds."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from searches import TINY, write_experiment

from records.experiment import ExperimentFolder
from search.settings import resolve_settings

HEAVY = {"pandas", "torch", "ray", "optuna", "numpy", "pyarrow", "plotly", "sklearn"}
LOOK = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "
MAIN = "from alphaprune.__main__ import main; sys.argv[0] = 'alphaprune'; main()"
BASH = {"_ALPHAPRUNE_COMPLETE": "complete_bash"}


def start(*arguments: str, folder: Path, **environment: str) -> str:
    """What `alphaprune ARGUMENTS` prints in `folder`, 80 columns wide; it must not import what is heavy."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK + MAIN, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "COLUMNS": "80", "PYTHONPATH": str(Path(__file__).parents[3]), **environment},
        check=True,
    )
    assert "search.cli.app" in done.stderr
    assert not HEAVY & set(done.stderr.split())
    return done.stdout


def complete(words: str, folder: Path) -> list[str]:
    """What bash offers for the last of `words`."""
    count = str(len(words.split(" ")) - 1)
    return start(folder=folder, COMP_WORDS=words, COMP_CWORD=count, **BASH).split()


def test_help_is_whole_within_80_columns(tmp_path: Path) -> None:
    shown = start("--help", folder=tmp_path)
    assert max(map(len, shown.splitlines())) <= 80
    assert "..." not in shown.replace("[ARGS]...", "")
    for option in ("--version", "--install-completion", "--show-completion"):
        assert option in shown


@pytest.mark.parametrize("command", ["run", "rank", "measure", "confirm"])
def test_values_of_options_are_words(command: str, tmp_path: Path) -> None:
    shown = start(command, "--help", folder=tmp_path)
    values = re.findall(r"^ {2}--[\w-]+ (\S+)", shown, re.MULTILINE)
    assert {"FOLDER"} <= set(values)
    assert all(re.fullmatch(r"[A-Z.=:]+|<[a-z|]+>", value) and value not in ("<int>", "<str>") for value in values)


def test_the_version_is_that_of_the_package(tmp_path: Path) -> None:
    assert re.fullmatch(r"alphaprune \d+\.\d+\.\d+\n", start("--version", folder=tmp_path))


def test_a_shell_completes_commands_presets_and_names(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TINY)
    for storage in ("ray_results", "elsewhere"):
        write_experiment(ExperimentFolder(tmp_path / storage / f"in-{storage}"), resolve_settings({}))
    assert complete("alphaprune re", tmp_path) == ["resume", "report", "remove"]
    assert complete("alphaprune run cif", tmp_path) == ["cifar10", "cifar10-small"]
    assert complete("alphaprune run m", tmp_path) == ["mine.toml"]
    assert complete("alphaprune rank ", tmp_path) == ["in-ray_results"]
    assert complete("alphaprune rank --storage elsewhere ", tmp_path) == ["in-elsewhere"]


def test_completion_can_be_shown(tmp_path: Path) -> None:
    script = start("--show-completion", "bash", folder=tmp_path, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "_ALPHAPRUNE_COMPLETE=complete_bash" in script

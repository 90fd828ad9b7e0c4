"""Modules of the user's that have the names of our packages."""

import subprocess
import sys
from pathlib import Path

import pytest

OURS = ("records", "trainable", "spaces", "search", "analysis")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a module for each name, which tells if it is imported, and a space."""
    for name in OURS:
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name}.py was imported')")
    (tmp_path / "mine.py").write_text("def space(trial, base):\n    return base\n")
    return tmp_path


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_the_command_imports_its_own_packages_and_the_users_space(folder: Path) -> None:
    command = ("-m", "alphaprune", "run", "quickstart", "--local", "--set", "space.function='mine:space'")
    ran = run(folder, *command, "--set", "space.options={nonsense = 1}")
    assert ran.returncode == 2
    assert ran.stderr.splitlines()[-1].startswith("alphaprune: space 'mine:space' takes no option 'nonsense'")


@pytest.mark.parametrize("name", OURS)
def test_a_script_is_told_which_of_its_modules_hides_ours(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.py").touch()
    ran = run(tmp_path, "-c", "import alphaprune; alphaprune.load('x')")
    *_, last = ran.stderr.splitlines()
    assert last.startswith(f"ImportError: {name!r} must be the package that comes with alphaprune")
    assert str(tmp_path / f"{name}.py") in last

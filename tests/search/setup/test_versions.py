import subprocess
from pathlib import Path

import pytest

from search.setup.versions import PACKAGES, read_commit, read_versions


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A working tree with one commit of one file."""
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("1")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_the_commit_of_a_working_tree_and_whether_it_was_changed(tree: Path) -> None:
    commit = git(tree, "rev-parse", "--short=12", "HEAD")
    git(tree, "tag", "v1")
    assert read_commit(tree) == commit
    (tree / "untracked").write_text("x")
    assert read_commit(tree) == commit
    (tree / "file").write_text("2")
    assert read_commit(tree) == f"{commit}-dirty"


def test_another_projects_tree_is_none_of_this_package(tree: Path) -> None:
    (tree / "packages").mkdir()
    assert read_commit(tree / "packages") is None


def test_a_hook_of_another_repository_does_not_mislead(
    tree: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tree / ".git"))
    assert read_commit(tmp_path_factory.mktemp("elsewhere")) is None


def test_without_a_repository_or_git_there_is_no_commit(
    tree: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_commit(tmp_path_factory.mktemp("elsewhere")) is None
    monkeypatch.setenv("PATH", "")
    assert read_commit(tree) is None


def test_versions_are_of_python_and_the_packages() -> None:
    versions = read_versions()
    assert {"python", *PACKAGES} <= set(versions)
    assert all(versions.values())

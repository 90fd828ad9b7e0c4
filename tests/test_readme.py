"""What the README shows works as printed: its commands, Python and settings, in their order, on small experiments.

Searches are planned instead of run, and what trains does so without Ray; other tests run both for real.
"""

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from searches import TINY, alphaprune

from trainable.measurement import protocol

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]

README = (Path(__file__).parents[1] / "README.md").read_text()
SETTINGS = (
    TINY.replace("trials = 3", "trials = 14\nkeep_at_alpha = [0.4]")
    .replace("[controls]", "[controls]\nkinds = ['one_shot']")
    .replace("amounts = [0.5]", "amounts = [0.5, 0.8]\nfamilies = ['exponential', 'polynomial']", 1)
)
# What makes the search in the README's Python one of seconds.
QUICK = (
    '"dense.width": 0.0625, "dense.epochs": 1, "data.images": 200, "trial.pruning.round_to": 1, '
    '"results.measure": False, "trial.epochs": 3'
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """The words of each `alphaprune` command, without comments and redirections."""
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("alphaprune ")]
    split = [shlex.split(line, comments=True) for line in lines]
    return [words[1 : words.index(">") if ">" in words else None] for words in split]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current folder: with the README's own space and preset, and with experiments of the names it uses."""
    folder, before = tmp_path_factory.mktemp("readme"), Path.cwd()
    os.chdir(folder)
    sys.path.insert(0, "")  # as in a session or a notebook
    Path("tiny.toml").write_text(SETTINGS)
    alphaprune("run", "tiny.toml", "--name", "quickstart", "--local")
    for name in ("quickstart-2", "cifar10"):
        shutil.copytree("ray_results/quickstart", f"ray_results/{name}")
    for block in (*blocks("python"), *blocks("toml")):
        if found := re.match(r"# (my_\w+\.py|my\.toml)\n", block):
            Path(found[1]).write_text(block)
    yield folder
    sys.path.remove("")
    os.chdir(before)


@pytest.mark.usefixtures("folder")
def test_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "LATENCY_SECONDS", 0.1)
    tried = set()
    for name, *arguments in commands():
        more = []
        if name in ("run", "resume"):
            more = ["--dry-run", *(["--data", "digits"] if arguments[0].startswith("cifar10") else [])]
            more += ["--set", "data.images=1000"] if arguments[0] == "cifar10-small" else []
        elif name in ("branch", "confirm"):
            # Of two numbers the last counts: repeats and twins of one trial take seconds, of three a minute.
            more = ["--local", *(["--top", "1"] if name == "confirm" else [])]
        elif name == "remove":
            more = ["--yes"]
        if "--gpus-per-trial" in arguments:  # which only a machine with GPUs can plan
            where = arguments.index("--gpus-per-trial")
            del arguments[where : where + 2]
        alphaprune(name, *arguments, *more)
        tried.add(name)
    assert tried >= {"run", "resume", "status", "rank", "trial", "measure", "confirm", "report", "list", "compare"}
    assert tried >= {"remove", "branch", "export", "settings", "check"}
    assert not Path("ray_results/quickstart-2").exists()


@pytest.mark.usefixtures("folder")
def test_the_python() -> None:
    if not Path("network").exists():
        alphaprune("export", "quickstart", 12, "--to", "network")
    shown = [block for block in blocks("python") if not block.startswith("# my_")]
    assert len(shown) == 2
    names: dict[str, object] = {}
    for block in shown:
        quick = block.replace('"trial.epochs": 3', QUICK)
        exec(quick, names)
    assert {"experiment", "trial", "network"} <= names.keys()


def test_the_files_that_it_links_to_exist() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert [link for link in links if "://" not in link and not (Path(__file__).parents[1] / link).exists()] == []

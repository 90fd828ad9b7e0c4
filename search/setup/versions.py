"""What results depend on besides the settings: Python, the packages that compute, and the commit of this one."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("alphaprune", "torch", "torchvision", "ray", "optuna", "numpy")
_ROOT = Path(__file__).resolve().parents[2]
_SECONDS = 10.0


def read_versions() -> dict[str, str]:
    """Versions by name, with `alphaprune_commit` where this package runs from a git working tree of its own."""
    commit = read_commit(_ROOT)
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        **({"alphaprune_commit": commit} if commit else {}),
    }


def read_commit(root: Path) -> str | None:
    """The commit that the working tree at `root` is at, with `-dirty` after it if tracked files differ from that.

    None where `root` is not the top of a working tree, such as where the package is installed in another's, or where
    git is missing or refuses.
    """
    # A hook or an alias of git's own says where another repository is.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"

    def ask_git(*arguments: str) -> str:
        asked = subprocess.run(
            ["git", "-C", str(root), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=_SECONDS,
        )
        return asked.stdout.strip()

    try:
        if Path(ask_git("rev-parse", "--show-toplevel")) != root:
            return None
        return ask_git("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None

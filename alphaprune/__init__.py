"""alphaprune: a search for the best way to prune a network by fading channels out with a scalar alpha.

    import alphaprune

    experiment = alphaprune.load("ray_results/quickstart")   # tables, rankings and figures of an experiment
    network = alphaprune.load_pruned(experiment.path / "trials/00007/model")

The names here are the public Python API; everything else may change. Importing the package takes milliseconds: what a
name needs (torch, ray, pandas) is imported when the name is first used.
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis import diff, load
    from trainable.config import TrialConfig
    from trainable.data.dataset import load_data
    from trainable.network.weights import load_pruned
    from trainable.ray_trainable import AlphaPruning

__all__ = ["AlphaPruning", "TrialConfig", "diff", "load", "load_data", "load_pruned"]

_MODULES = {
    "AlphaPruning": "trainable.ray_trainable",
    "TrialConfig": "trainable.config",
    "diff": "analysis",
    "load": "analysis",
    "load_data": "trainable.data.dataset",
    "load_pruned": "trainable.network.weights",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _check_packages()
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


def _check_packages() -> None:
    """Raises ImportError if a module of the user's, beside a script for example, hides a package of ours."""
    root = Path(__file__).resolve().parents[1]
    for package in ("records", "trainable", "spaces", "search", "analysis"):
        found = find_spec(package)
        origin = found.origin if found is not None else None
        if origin is None or Path(origin).resolve().parents[1] != root:
            raise ImportError(
                f"{package!r} must be the package that comes with alphaprune, but is {origin}; rename that, or move it"
            )

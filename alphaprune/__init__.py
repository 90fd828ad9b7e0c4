"""alphaprune: a search for the best way to prune a network by fading channels out with a scalar alpha.

    import alphaprune

    experiment = alphaprune.run("quickstart", trials=4, local=True)   # or load("quickstart"), once it has run
    experiment.rank()
    network = alphaprune.load_pruned(experiment.path / "trials/00007/model")

The names here are the public Python API; everything else may change. Importing the package takes milliseconds: what a
name needs (torch, ray, pandas) is imported when the name is first used.
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis import Experiment, Experiments, diff, load
    from analysis.trial import ExperimentTrial
    from search.api import (
        SearchInterruptedError,
        branch,
        check,
        confirm,
        export,
        measure,
        resume,
        run,
        run_trial,
    )
    from search.observers.mlflow import MLflowCallback
    from search.observers.observer import ExperimentEnd, SearchObserver, SearchStart
    from search.observers.wandb import WandbCallback
    from search.settings import (
        ControlSettings,
        EarlyStoppingSettings,
        ResourceSettings,
        ResultSettings,
        SearchSettings,
        Settings,
        SpaceSettings,
    )
    from spaces.alpha_pruning import alpha_pruning
    from trainable.config import DataConfig, DenseConfig, OptimizerConfig, PruningConfig, TrialConfig, as_json
    from trainable.data.dataset import load_data
    from trainable.dense import train_dense
    from trainable.errors import TrialError
    from trainable.network.weights import load_pruned
    from trainable.ray_trainable import AlphaPruning
    from trainable.schedules import (
        Cosine,
        CosineAnnealing,
        CosineRestarts,
        Exponential,
        Multiplicative,
        OneCycle,
        OneShot,
        Piecewise,
        Plateau,
        Polynomial,
        Segment,
        StagnationRestart,
        TimeBased,
    )

__all__ = [
    "AlphaPruning",
    "ControlSettings",
    "Cosine",
    "CosineAnnealing",
    "CosineRestarts",
    "DataConfig",
    "DenseConfig",
    "EarlyStoppingSettings",
    "Experiment",
    "ExperimentEnd",
    "ExperimentTrial",
    "Experiments",
    "Exponential",
    "MLflowCallback",
    "Multiplicative",
    "OneCycle",
    "OneShot",
    "OptimizerConfig",
    "Piecewise",
    "Plateau",
    "Polynomial",
    "PruningConfig",
    "ResourceSettings",
    "ResultSettings",
    "SearchInterruptedError",
    "SearchObserver",
    "SearchSettings",
    "SearchStart",
    "Segment",
    "Settings",
    "SpaceSettings",
    "StagnationRestart",
    "TimeBased",
    "TrialConfig",
    "TrialError",
    "WandbCallback",
    "alpha_pruning",
    "as_json",
    "branch",
    "check",
    "confirm",
    "diff",
    "export",
    "load",
    "load_data",
    "load_pruned",
    "measure",
    "resume",
    "run",
    "run_trial",
    "train_dense",
]

_NAMES = {
    "analysis": ("Experiment", "Experiments", "diff", "load"),
    "analysis.trial": ("ExperimentTrial",),
    "search.api": (
        "SearchInterruptedError",
        "branch",
        "check",
        "confirm",
        "export",
        "measure",
        "resume",
        "run",
        "run_trial",
    ),
    "search.observers.mlflow": ("MLflowCallback",),
    "search.observers.observer": ("ExperimentEnd", "SearchObserver", "SearchStart"),
    "search.observers.wandb": ("WandbCallback",),
    "search.settings": (
        *("ControlSettings", "EarlyStoppingSettings", "ResourceSettings", "ResultSettings", "SearchSettings"),
        *("Settings", "SpaceSettings"),
    ),
    "trainable.config": ("DataConfig", "DenseConfig", "OptimizerConfig", "PruningConfig", "TrialConfig", "as_json"),
    "trainable.dense": ("train_dense",),
    "spaces.alpha_pruning": ("alpha_pruning",),
    "trainable.data.dataset": ("load_data",),
    "trainable.errors": ("TrialError",),
    "trainable.network.weights": ("load_pruned",),
    "trainable.ray_trainable": ("AlphaPruning",),
    "trainable.schedules": (
        *("Cosine", "CosineAnnealing", "CosineRestarts", "Exponential", "Multiplicative", "OneCycle", "OneShot"),
        *("Piecewise", "Plateau", "Polynomial", "Segment", "StagnationRestart", "TimeBased"),
    ),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}


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

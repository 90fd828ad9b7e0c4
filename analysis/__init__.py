"""What came out: tables, ranking, fronts, figures and a report, out of an experiment's records alone.

What a name here needs (pandas, pyarrow) is imported when it is first used, so that a search can share tables such as
analysis.objectives without waiting for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.experiment import Experiment
    from analysis.experiment_diff import diff
    from analysis.experiments import Experiments
    from analysis.tables.loader import load

__all__ = ["Experiment", "Experiments", "diff", "load"]

_MODULES = {
    "Experiment": "analysis.experiment",
    "Experiments": "analysis.experiments",
    "diff": "analysis.experiment_diff",
    "load": "analysis.tables.loader",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

"""Figures of an experiment, drawn with plotly.

Each is a pure `<name>_info(experiment, ...)`, in the module of its name, that computes what is seen, and a thin
`<name>(experiment, ...)` here that draws it. Where there is nothing to draw, the figure says so in a sentence.
CONFIG is how they are to be shown: `figure.write_html(path, config=CONFIG)`.
"""

from analysis.figures.accuracy_against import accuracy_against_macs, accuracy_against_measured
from analysis.figures.alpha_curves import alpha_curves
from analysis.figures.best_of_each import best_of_each_family, best_of_each_policy
from analysis.figures.epochs_of import epochs_of
from analysis.figures.hypervolume_history import hypervolume_history
from analysis.figures.iterations import iterations
from analysis.figures.parameters.importances import importances
from analysis.figures.parameters.parallel_coordinates import parallel_coordinates
from analysis.figures.parameters.slices import slices
from analysis.figures.stopped_by_rung import stopped_by_rung
from analysis.figures.style import CONFIG
from analysis.figures.timeline import timeline
from analysis.figures.twins import twins
from analysis.figures.widths import widths

__all__ = [
    "CONFIG",
    "accuracy_against_macs",
    "accuracy_against_measured",
    "alpha_curves",
    "best_of_each_family",
    "best_of_each_policy",
    "epochs_of",
    "hypervolume_history",
    "importances",
    "iterations",
    "parallel_coordinates",
    "slices",
    "stopped_by_rung",
    "timeline",
    "twins",
    "widths",
]

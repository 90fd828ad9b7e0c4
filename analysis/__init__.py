"""What came out: tables, ranking, fronts, figures and a report, out of an experiment's records alone."""

from analysis.diff import diff
from analysis.experiment import Experiment
from analysis.experiments import Experiments
from analysis.tables.loader import load

__all__ = ["Experiment", "Experiments", "diff", "load"]

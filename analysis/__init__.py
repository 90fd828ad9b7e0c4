"""What came out: tables, ranking and fronts, out of an experiment's records alone."""

from analysis.experiment import Experiment, load

__all__ = ["Experiment", "load"]

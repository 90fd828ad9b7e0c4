"""How good an experiment's Pareto front is, as one number: its hypervolume."""

from collections.abc import Sequence

import moocore
import numpy as np
import pandas as pd

from analysis.columns import COLUMNS, column
from analysis.objectives import DEFAULT_OBJECTIVES, OBJECTIVES
from analysis.rank.ranking import complete_trials, cost_matrix, split_direction
from analysis.text import printable

# All trials prune the same dense network, so their front in accuracy and MAC sparsity is that in accuracy and MACs;
# but this pair lies in the unit square, so that its hypervolume is a fraction.
FRACTION_OBJECTIVES = tuple(OBJECTIVES[name].epoch_column for name in DEFAULT_OBJECTIVES)


def hypervolume(
    trials: pd.DataFrame, objectives: Sequence[str] = FRACTION_OBJECTIVES, reference: Sequence[float] | None = None
) -> float:
    """What the complete trials dominate, up to the reference point (Zitzler & Thiele 1998), in units of `objectives`.

    For the default objectives that is a fraction in [0, 1]: accuracy 1 without any MACs would give 1. It is the mean
    over all MAC sparsities s in [0, 1] of the best accuracy at s or more. A trial and its repeats count once, with
    their mean (rank.seeds); what is unknown in an objective, or not better than the reference, does not count.

    Args:
        trials: one row per trial (columns: tables.trials), controls included.
        objectives: columns, directions as in analysis.rank.ranking.split_direction.
        reference: the worst value of each objective that counts, in its unit; None is `default_reference`'s. Numbers
            compare only if they were computed with the same reference.

    Raises:
        ValueError: in one line, for unknown columns, figures of several devices, and a reference that is needed or
            does not fit.
    """
    found = complete_trials(trials)
    costs = cost_matrix(found, objectives)
    worst = np.array(default_reference(found, objectives) if reference is None else reference, dtype=np.float64)
    if worst.shape != (len(objectives),):
        raise ValueError(f"`reference` must hold a number for each of {len(objectives)} objectives, but got {worst}")
    points = costs[np.isfinite(costs).all(axis=1)]
    if len(points) == 0:
        return 0.0
    if not np.isfinite(worst).all():
        raise ValueError(f"`reference` must hold finite numbers, but got {worst}")
    signs = [1 if split_direction(objective)[1] else -1 for objective in objectives]
    return float(moocore.hypervolume(points, ref=worst * signs))


def default_reference(trials: pd.DataFrame, objectives: Sequence[str]) -> list[float]:
    """The worst value of each objective: 0 for accuracies and sparsities, the dense network's for MACs and parameters.

    The dense network's follow from the trials (macs / (1 - mac_sparsity)): the largest, if they differ; NaN without
    trials. The training cost's is that of the longest trial if all its epochs trained the dense network. Raises
    ValueError, in one line, for objectives that have no such value.
    """
    worst = []
    for objective in objectives:
        name, low_first = split_direction(objective)
        sparsity = OBJECTIVES[name].sparsity if name in OBJECTIVES else None
        if name in COLUMNS and COLUMNS[name].kind == "fraction" and not low_first:
            worst.append(0.0)
        elif sparsity is not None and low_first:
            dense = column(trials, name) / (1 - column(trials, sparsity))
            worst.append(float(dense[np.isfinite(dense)].max()))
        elif name == "training_cost" and low_first:
            worst.append(float(column(trials, "epochs_done").max()))
        else:
            raise ValueError(f"{printable(objective)!r} has no known worst value; pass one as `reference`")
    return worst

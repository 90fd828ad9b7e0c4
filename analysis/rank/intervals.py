"""The 95% intervals of differences and means over seeds, and what a difference with such an interval says."""

import math
import statistics
from collections.abc import Sequence
from typing import Literal

# Of the first of two accuracies; noise where the 95% interval of the difference holds 0, unknown where there is none.
Outcome = Literal["better", "worse", "noise", "unknown"]
# A difference or a standard deviation of accuracies below this is what rounding leaves of equal ones.
LEAST_SPREAD = 1e-9


def student_quantile(freedom: float) -> float:
    """The 97.5% quantile of Student's t for a number of degrees of freedom, which need not be whole."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))


def mean_margin(values: Sequence[float]) -> float:
    """Half the width of the 95% interval of the mean of a normal sample: t * s / sqrt(n).

    NaN for fewer than two values, and for values that are all equal: they come in steps of one image, so a few of them
    may be equal by chance, and say nothing of how far others would be apart.
    """
    if len(values) < 2 or (spread := statistics.stdev(values)) < LEAST_SPREAD:
        return math.nan
    return student_quantile(len(values) - 1) * spread / math.sqrt(len(values))


def judge_difference(difference: float, margin: float) -> Outcome:
    """What a difference of accuracies says, whose 95% interval is `margin` to either side."""
    if abs(difference) < LEAST_SPREAD or abs(difference) <= margin:
        return "noise"
    if math.isnan(margin):
        return "unknown"
    return "better" if difference > 0 else "worse"

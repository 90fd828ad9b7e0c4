"""A trial and its repeats with other seeds as one row: the accuracies of a confirmed trial are means over seeds."""

import numpy as np
import pandas as pd

from analysis.rank.pairs import pair_columns

_AVERAGED = ("pruned_val_accuracy", "val_accuracy", "accuracy_at_cut", "accuracy_drop", "test_accuracy")


def merge_repeats(trials: pd.DataFrame) -> pd.DataFrame:
    """The complete trials that are not repeats, each with the results of its own repeats.

    The columns of columns.SEED_COLUMNS come first: how many repeats there are, and the sample standard deviations
    (divisor n - 1) of accuracies over them, NaN for fewer than two. Then those of columns.PAIR_COLUMNS: how the repeats
    compare with their twins, which are no rows of their own (rank.pairs).

    Where there are repeats, accuracies and accuracy_drop are means over those that have them. The trial itself is left
    out: it was chosen for being high, so counting it would bias the mean. Everything else is the trial's own.

    Args:
        trials: one row per trial (tables.trials), numbered by its index; without a column `confirms` none is a repeat.
    """
    complete = trials[trials["state"] == "complete"]
    if "twin" in complete:
        complete = complete[complete["twin"].isna()]
    confirms = complete["confirms"] if "confirms" in complete else pd.Series(np.nan, complete.index)
    found = complete[confirms.isna()].copy()
    repeats = complete[complete["pruned_val_accuracy"].notna()].groupby(confirms)  # NaN is no group
    seeds = repeats.size().reindex(found.index, fill_value=0)
    tested = repeats["test_accuracy"].count().reindex(found.index, fill_value=0) if "test_accuracy" in found else 0
    for name in _AVERAGED:
        if name in found:
            found[name] = found[name].where(seeds == 0, repeats[name].mean().reindex(found.index))
    spreads = {
        spread: repeats[name].std().reindex(found.index) if name in found else np.nan
        for spread, name in (("accuracy_std", "pruned_val_accuracy"), ("test_accuracy_std", "test_accuracy"))
    }
    pairs = pair_columns(trials, found.index)
    return pd.concat([pd.DataFrame({"seeds": seeds, "test_seeds": tested} | spreads), pairs, found], axis=1)

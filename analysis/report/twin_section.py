"""The page's table of confirmed trials and their twins: a row for each budget."""

import math
from dataclasses import dataclass

from analysis.columns import COLUMNS
from analysis.experiment import Experiment
from analysis.labels import label_trial
from analysis.rank.pairs import TwinComparison, compare_with_twins
from analysis.text import UNKNOWN, format_count, format_share

_VERDICTS = {"better": "gain", "worse": "loss", "noise": "within noise", "unknown": "unknown"}


@dataclass(frozen=True)
class TwinRow:
    """A trial against its twins of one budget. cut: of the trial. basis: how many seeds, on which images.

    cells: its accuracy, the twins', the difference, the verdict, its training cost, the twins'.
    """

    number: int
    label: str
    cut: str
    budget: str
    basis: str
    cells: tuple[str, ...]


def list_twin_rows(experiment: Experiment) -> list[TwinRow]:
    """The trials that have twins, those that cut least first, the two budgets of a trial one after the other."""
    cuts = experiment.ranked["mac_sparsity"].dropna()
    found = [one for one in compare_with_twins(experiment.trials) if one.number in cuts.index]
    # Sorting keeps the budgets of a trial in their order.
    return [
        TwinRow(
            one.number,
            label_trial(experiment.trials, one.number).text,
            f"{format_share(cuts[one.number])} fewer MACs",
            f"equal {one.budget}",
            f"{format_count(one.pairs, 'seed')}, {one.on} images",
            _write_cells(one),
        )
        for one in sorted(found, key=lambda one: (cuts[one.number], one.number))
    ]


def _write_cells(one: TwinComparison) -> tuple[str, ...]:
    accuracies, gain = COLUMNS["pruned_val_accuracy"], COLUMNS["twin_compute_difference"]
    difference = f"{'+' if one.difference > 0 else ''}{gain.format_value(one.difference)}"
    margin = "" if math.isnan(one.margin) else f" ± {gain.format_value(one.margin)}"
    costs = [COLUMNS["training_cost"].format_value(cost, 1) for cost in (one.cost, one.twin_cost)]
    return (
        accuracies.format_value(one.accuracy),
        accuracies.format_value(one.twin_accuracy),
        difference.replace("-", "\N{MINUS SIGN}") + margin,
        _VERDICTS[one.outcome],
        *(cost.replace(UNKNOWN, "\N{EN DASH}") for cost in costs),
    )

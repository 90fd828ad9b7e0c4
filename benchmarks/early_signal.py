"""How well the first epochs of a trial tell how accurate it will be.

    python benchmarks/early_signal.py

Kendall's tau between what a trial shows once it has spent a share of its training compute and its accuracy at the end,
over the trials of benchmarks/trials.parquet (trial_table.py) that cut as much, with 95% intervals by bootstrap. Below
it how far some of the trials are from their repeats with another seed (repeat_trials.py), and the tau that two runs of
all trials, with different seeds, would have if that is what a seed does (normally distributed). A curve is of the same
run as what it is compared with, so it may tell more than another run does.
"""

import argparse
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from repeat_trials import REPEATS
from rich.console import Console
from rich.table import Table
from scipy.stats import chi2, kendalltau
from trial_table import RecordedTrial, TrialTable

from records.epoch import EpochRow

SHARES = (0.1, 0.2, 1 / 3, 0.5, 0.75)
SAMPLES = 1000

SIGNALS: dict[str, Callable[[Sequence[EpochRow]], float]] = {
    "val_accuracy": lambda rows: rows[-1].val_accuracy,
    "pruned_val_accuracy": lambda rows: rows[-1].pruned_val_accuracy,
    "pruned_val_accuracy, best so far": lambda rows: max(row.pruned_val_accuracy for row in rows),
    "pruned_val_accuracy, mean of 3": lambda rows: float(np.mean([row.pruned_val_accuracy for row in rows[-3:]])),
    "val_loss": lambda rows: -rows[-1].val_loss,
    "train_loss": lambda rows: -rows[-1].train_loss,
    "train_accuracy": lambda rows: rows[-1].train_accuracy,
}


def show_at(trial: RecordedTrial, share: float) -> Sequence[EpochRow]:
    """The trial's rows by the time that it has spent `share` of its compute, and at least the first."""
    return trial.rows[: max(1, int(np.searchsorted(trial.cost, share * trial.cost[-1] + 1e-6, side="right")))]


def describe_tau(first: Sequence[float], second: Sequence[float]) -> str:
    """Kendall's tau of two series, with its 95% interval."""
    pairs: npt.NDArray[np.float64] = np.array([first, second])
    rng = np.random.default_rng(0)
    drawn = [kendalltau(*pairs[:, rng.integers(0, len(first), len(first))]).statistic for _ in range(SAMPLES)]
    low, high = np.nanquantile(drawn, (0.025, 0.975))
    return f"{kendalltau(*pairs).statistic:.2f} ({low:.2f} to {high:.2f})"


def repeats_tau(accuracies: npt.NDArray[np.float64], apart: float) -> float:
    """The mean tau of two runs of all trials, two runs of one being `apart` in the root mean square.

    accuracies: of one run each. What a seed adds to their variance is taken away from them first.
    """
    rng, of_seed = np.random.default_rng(0), apart**2 / 2
    shrunk = np.sqrt(max(0.0, 1 - of_seed / accuracies.var(ddof=1)))
    true = accuracies.mean() + shrunk * (accuracies - accuracies.mean())
    runs = rng.normal(0, np.sqrt(of_seed), (SAMPLES, 2, len(true))) + true
    return float(np.mean([kendalltau(*pair).statistic for pair in runs]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    table, console = TrialTable.read(), Console(width=120)
    for amount in table.amounts:
        trials = [trial for trial in table.trials if trial.amount == amount]
        accuracies = [trial.accuracy for trial in trials]
        page = Table("after", *(f"{share:.0%}" for share in SHARES), title=f"{len(trials)} trials, {amount:.0%} cut")
        for name, signal in SIGNALS.items():
            cells = ([signal(show_at(trial, share)) for trial in trials] for share in SHARES)
            page.add_row(name, *(describe_tau(cell, accuracies) for cell in cells))
        console.print(page)
    again = {(each.experiment, each.number): each.accuracy for each in TrialTable.read(REPEATS).trials}
    pairs = [(each.accuracy, again[key]) for each in table.trials if (key := (each.experiment, each.number)) in again]
    apart = float(np.sqrt(np.mean([(first - second) ** 2 for first, second in pairs])))
    # The sum of n squares of normal differences, over their variance, is of chi-squared with n degrees of freedom.
    low, high = (apart * np.sqrt(len(pairs) / chi2.ppf(share, len(pairs))) for share in (0.975, 0.025))
    console.print(
        f"{len(pairs)} trials and their repeats: {apart * 100:.2f} points apart "
        f"(root mean square; 95%: {low * 100:.2f} to {high * 100:.2f})"
    )
    for amount in table.amounts:
        accuracies = np.array([trial.accuracy for trial in table.trials if trial.amount == amount])
        tau, *ends = (f"{repeats_tau(accuracies, each):.2f}" for each in (apart, high, low))
        console.print(f"{amount:.0%} cut: two runs of all trials would have a tau of {tau} ({' to '.join(ends)})")


if __name__ == "__main__":
    main()

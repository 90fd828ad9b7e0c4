"""What the page shows of a trial that the reader picks: its curve, its settings, the commands that use it."""

from typing import Any

import pandas as pd

from analysis.columns import iterate_rows
from analysis.experiment import Experiment
from analysis.labels import label_row, spell
from analysis.text import shorten_text
from records.driver import format_command
from records.experiment import ExperimentFolder

MOST_DETAILS = 300
# Stands for the trial's number in the commands.
_NUMBER = "NUMBER"


def trial_details(experiment: Experiment, first: tuple[int, ...]) -> dict[str, Any]:
    """As JSON: `commands` for any trial, `trials` by number: those of `first`, then others up to MOST_DETAILS in all.

    A trial has label, state, settings (those that differ between trials) and by epoch accuracy (on the validation
    images, if the cut were made then) and alpha.
    """
    trials = experiment.trials
    numbers = list(dict.fromkeys([*first, *trials.index.tolist()]))[: max(MOST_DETAILS, len(first))]
    shown = trials.loc[numbers]
    settings = [
        str(name) for name in shown.columns if "." in str(name) or name in ("alpha_lr", "alpha_fraction", "seed")
    ]
    settings = [name for name in settings if len(set(map(str, shown[name]))) > 1]
    epochs = experiment.epochs[experiment.epochs.index.isin(numbers)]
    rows_of = dict(iter(epochs.groupby("number")))
    found = {}
    for number, row in iterate_rows(shown):
        rows = rows_of.get(number, epochs.iloc[:0])
        found[number] = {
            "label": label_row(number, row).text,
            "state": row["state"],
            "settings": [[name, _format_setting(row[name])] for name in settings if _is_known(row[name])],
            "epoch": rows["epoch"].tolist(),
            "accuracy": _round_values(rows["pruned_val_accuracy"]),
            "alpha": _round_values(rows["alpha"]),
        }
    return {"trials": found, "commands": _write_commands(experiment)}


def _write_commands(experiment: Experiment) -> dict[str, str]:
    """By what they do. A trial can be branched from only where the search kept checkpoints."""
    folder, search = ExperimentFolder(experiment.path), experiment.settings.get("search")
    kept = search.get("keep_at_alpha") if isinstance(search, dict) else None
    commands = {
        "Export its network": format_command(folder, "export", [_NUMBER, "--to", f"{experiment.path.name}-{_NUMBER}"]),
        "Compute its rows again": format_command(folder, "trial", [_NUMBER]),
    }
    for alpha in kept if isinstance(kept, list) else []:
        change = [_NUMBER, "--at-alpha", shorten_text(str(alpha), 20), "--set", "optimizer.weight_decay=0.001"]
        what = f"Continue it from alpha {change[2]} with another setting"
        commands[what] = format_command(folder, "branch", change)
    return commands


def _round_values(values: "pd.Series[float]") -> list[float | None]:
    return [None if pd.isna(value) else round(value, 4) for value in values.tolist()]


def _is_known(value: Any) -> bool:
    return not (value is None or (isinstance(value, float) and value != value))


def _format_setting(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return spell(str(value))

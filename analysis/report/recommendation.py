"""Which trial to use, at each amount that the controls cut, with what it costs and saves: what a reader came for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.columns import COLUMNS, row_of
from analysis.experiment import Experiment
from analysis.labels import label_row, select_kinds
from analysis.rank.comparison import cut_levels, rows_cutting, with_alpha
from analysis.rank.pairs import compare_with_twins
from analysis.rank.ranking import sort_best_first
from analysis.report.fade_verdict import describe_fade
from analysis.text import format_count, format_percent, format_share, join_words, shorten_text
from records.driver import format_command
from records.experiment import ExperimentFolder
from records.measurement import BATCH_SIZES

_LARGEST = BATCH_SIZES[-1]


@dataclass(frozen=True)
class Tile:
    """A number that a reader looks for. phrase: as in the sentence; empty for what stands in the tiles alone."""

    value: str
    label: str
    detail: str
    phrase: str = ""


@dataclass(frozen=True)
class Recommendation:
    """A trial to use. amount: what it is the best for; empty where it is the only recommendation.

    headline: all that counts, in a sentence. basis: over how many runs, against its twins, measured on what. command:
    exports its network.
    """

    number: int
    amount: str
    label: str
    headline: str
    tiles: tuple[Tile, ...]
    basis: str
    command: str


def recommend_trials(experiment: Experiment) -> tuple[Recommendation, ...]:
    """The best trial, controls included, of those that cut as much as the controls do or more: for each such amount.

    Which is best is decided as everywhere (`sort_best_first`), but where trials with alpha were repeated over seeds,
    only what was repeated counts, as in the comparison with the controls. Amounts with the same best trial are said
    together.
    """
    ranked = experiment.ranked[experiment.ranked["pruned_val_accuracy"].notna()]
    levels = cut_levels(select_kinds(ranked, "control")["mac_sparsity"].dropna())
    amounts: dict[int, list[float]] = {}
    for cut in levels:
        amounts.setdefault(_best_number(rows_cutting(ranked, cut)), []).append(cut)
    if not levels and len(ranked):
        amounts = {_best_number(ranked): []}
    return tuple(
        _write_recommendation(experiment, number, cuts if len(amounts) > 1 else []) for number, cuts in amounts.items()
    )


def _best_number(rows: pd.DataFrame) -> int:
    repeated = rows[rows["seeds"] >= 2]
    return int(sort_best_first(rows if with_alpha(repeated).empty else repeated).index[0])


def _write_recommendation(experiment: Experiment, number: int, cuts: list[float]) -> Recommendation:
    row = row_of(experiment.ranked, number)
    label = label_row(number, row)
    tiles = (_macs_tile(experiment, row), *_measured_tiles(experiment, row), _accuracy_tile(experiment, row))
    tiles = tuple(tile for tile in tiles if tile.value)
    control = "" if label.control is None else ", a control"
    missing = [] if isinstance(row["measured_on"], str) else ["speed and size have not been measured"]
    headline = "; ".join([", ".join(tile.phrase for tile in tiles if tile.phrase), *missing])
    seeds = row["seeds"] if pd.isna(row["test_accuracy"]) else row["test_seeds"]  # some may not have been tested
    runs = f"mean of {format_count(seeds, 'repeat')} with other seeds" if seeds else ""
    pairs = [describe_fade(one) for one in compare_with_twins(experiment.trials) if one.number == number]
    device = f"measured on {shorten_text(row['measured_on'])}" if isinstance(row["measured_on"], str) else ""
    folder = ExperimentFolder(experiment.path)
    return Recommendation(
        number=number,
        amount=f"For at least {join_words(list(map(format_share, cuts)), 'or')} fewer MACs" if cuts else "",
        label=label.text,
        headline=f"Use trial {number}{control}: {headline}.",
        tiles=tiles,
        basis="; ".join(filter(None, (runs, *pairs[:1], device))),
        command=format_command(folder, "export", [str(number), "--to", f"{experiment.path.name}-{number}"]),
    )


def _macs_tile(experiment: Experiment, row: Mapping[str, Any]) -> Tile:
    cut, dense = row["mac_sparsity"], experiment.dense
    if not cut >= 0:
        return Tile("", "", "")
    detail = f"from {_millions(dense.macs)} to {_millions(row['macs'])} million" if dense else ""
    return Tile(format_share(cut), "fewer MACs", detail, f"{format_share(cut)} fewer MACs")


def _accuracy_tile(experiment: Experiment, row: Mapping[str, Any]) -> Tile:
    """The test accuracy where there is one, else the validation accuracy."""
    on, dense = "test", experiment.dense_measure.get("test_accuracy")
    accuracy = row["test_accuracy"]
    if pd.isna(accuracy):
        on, accuracy = "validation", row["pruned_val_accuracy"]
        dense = experiment.dense.val_accuracy if experiment.dense else None
    value = format_percent(accuracy, 1)
    of_dense = "" if dense is None else f"dense {format_percent(dense, 1)}"
    detail = of_dense.replace("dense", "dense network:")
    return Tile(value, f"{on} accuracy", detail, f"{on} accuracy {value}" + (f" ({of_dense})" if of_dense else ""))


def _measured_tiles(experiment: Experiment, row: Mapping[str, Any]) -> tuple[Tile, ...]:
    """Speed, size and memory; nothing is compared with a figure of the dense network that is 0 or of another device."""
    speedups = {size: value for size in BATCH_SIZES if (value := row[f"batch{size}_speedup"]) > 0}
    tiles = []
    if speedups:
        main = _LARGEST if _LARGEST in speedups else max(speedups)
        others = [
            f"{value:.2g}\N{MULTIPLICATION SIGN} at batch {size}" for size, value in speedups.items() if size != main
        ]
        # As shown: what rounds to 1.0 is not faster.
        slow = "" if float(f"{speedups[main]:.2g}") > 1 else ", so not faster"
        times = f"{speedups[main]:.2g} times as fast at batch {main}{slow}"
        tiles.append(
            Tile(
                f"{speedups[main]:.2g}\N{MULTIPLICATION SIGN}",
                f"as fast at batch {main}{slow}",
                join_words(others),
                times,
            )
        )
    one_device = len(set(experiment.ranked["measured_on"].dropna())) == 1
    for name, what in (("size_bytes", "size"), ("peak_memory_bytes", "peak memory")):
        column, of_dense = COLUMNS[name], experiment.dense_measure.get(name, 0)
        if (one_device or not column.of_device) and of_dense > 0 and row[name] >= 0:
            share = format_percent(row[name] / of_dense, 0)
            amounts = f"from {column.format_value(of_dense)} to {column.format_value(row[name])} {column.shown_unit}"
            tiles.append(Tile(share, f"of the {what}", amounts, f"{share} of the {what}" if what == "size" else ""))
    return tuple(tiles)


def _millions(value: float) -> str:
    return f"{value / 1e6:,.3g}" if value < 1e9 else f"{value / 1e6:,.0f}"

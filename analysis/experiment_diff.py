"""Two experiments side by side: what was set differently, and what that gave."""

import json
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.columns import COLUMNS, iterate_rows, row_of
from analysis.labels import label_row, spell
from analysis.objectives import DEFAULT_OBJECTIVES
from analysis.rank.hypervolume import default_reference, hypervolume
from analysis.rank.intervals import mean_margin
from analysis.rank.ranking import complete_trials, cost_matrix, fronts, sort_best_first
from analysis.tables.configs import list_leaves
from analysis.text import UNKNOWN, format_count, printable, shorten_text

if TYPE_CHECKING:
    from analysis.experiment import Experiment

_LONGEST = 40
_SHOWN_PAIRS = 20


@dataclass(frozen=True, repr=False)
class ExperimentDiff:
    """How two experiments differ; printed, it is a text for people.

    names: of the two, made different where they are equal. settings, versions: a row for each leaf that differs, by
    its dotted path, with a column for each experiment; None where one has no such leaf. versions includes the data.
    best: the first of each ranking. front: the Pareto front (accuracy, MACs) of both together, most accurate first.
    Both have `experiment` and `number` before the columns of rank.seeds. pairs: the complete trials that are the same
    in both (kind and configuration) apart from the settings that differ: a row for each, with the label in the
    first experiment, number and accuracy in each, and the second's accuracy minus the first's. hypervolume: of each, by
    name, as a fraction of the box from accuracy 0 at the larger dense network's MACs to accuracy 1 at no MACs; NaN
    where neither has a complete trial.
    """

    names: tuple[str, str]
    settings: pd.DataFrame
    versions: pd.DataFrame
    best: pd.DataFrame
    front: pd.DataFrame
    pairs: pd.DataFrame
    hypervolume: dict[str, float]

    def __repr__(self) -> str:
        other_data = "data.fingerprint" in self.versions.index
        sections = {
            "Settings that differ": _format_differences(self.settings),
            "Data and versions that differ": _format_differences(self.versions)
            + ("\nThe data differ, so the accuracies cannot be compared." if other_data else ""),
            "Best of each": _format_outcomes(self.best),
            "Pareto front of both": _format_outcomes(self.front),
            "The same trials in both, apart from the settings that differ": _format_pairs(self.pairs),
            "Hypervolume (1 = accuracy 1 at no MACs)": _format_frame(
                pd.DataFrame(
                    {
                        name: [UNKNOWN if math.isnan(value) else f"{value:.4f}"]
                        for name, value in self.hypervolume.items()
                    }
                )
            ),
        }
        return "\n\n".join(f"{title}\n{text}" for title, text in sections.items())


def diff(a: "Experiment", b: "Experiment") -> ExperimentDiff:
    """How experiments `a` and `b` differ, in what was set and in what came out."""
    names = (a.name, b.name) if a.name != b.name else (f"{a.name} (1)", f"{b.name} (2)")
    trials = [complete_trials(each.trials) for each in (a, b)]
    both = pd.concat(trials, keys=names, names=["experiment"]).reset_index()
    front = both[fronts(cost_matrix(both, DEFAULT_OBJECTIVES)) == 0]
    [dense_macs] = default_reference(both, ["macs"])
    settings = _differing_leaves(names, a.settings, b.settings)
    return ExperimentDiff(
        names,
        settings=settings,
        versions=_differing_leaves(names, _recorded_versions(a), _recorded_versions(b)),
        best=pd.concat(
            [sort_best_first(both[both["experiment"] == name]).head(1) for name in names], ignore_index=True
        ),
        front=sort_best_first(front),
        pairs=_find_pairs(names, a, b, settings.index),
        hypervolume={
            name: hypervolume(each.trials, DEFAULT_OBJECTIVES, (0.0, dense_macs)) / dense_macs
            if dense_macs > 0
            else math.nan
            for name, each in zip(names, (a, b), strict=True)
        },
    )


def _find_pairs(names: tuple[str, str], a: "Experiment", b: "Experiment", differing: Iterable[str]) -> pd.DataFrame:
    """The trials that are the same in both but for the settings at the paths `differing`; see ExperimentDiff."""
    ignored = {path.removeprefix("trial.") for path in differing if path.startswith("trial.")}
    ours, theirs = (_index_by_config(each, ignored) for each in (a, b))
    rows = []
    for config, number in ours.items():
        if config in theirs:
            numbers = number, theirs[config]
            accuracies = [
                float(each.trials["pruned_val_accuracy"][its]) for each, its in zip((a, b), numbers, strict=True)
            ]
            label = label_row(number, row_of(a.trials, number)).text
            rows.append((label, *numbers, *accuracies, accuracies[1] - accuracies[0]))
    columns = [f"{what} in {name}" for what in ("number", "accuracy") for name in names]
    return pd.DataFrame(rows, columns=["trial", *columns, "difference"])


def _index_by_config(experiment: "Experiment", ignored: Collection[str]) -> dict[str, int]:
    """The complete trials by what they are, as text: their kind and their configuration without `ignored` leaves."""
    trials = experiment.trials
    found: dict[str, int] = {}
    for number in trials.index[(trials["state"] == "complete") & trials["pruned_val_accuracy"].notna()]:
        try:
            record = experiment.trial_record(number)
        except ValueError:
            continue  # damaged or lost since it was loaded
        leaves = [(path, value) for path, value in list_leaves(record.config) if path not in ignored]
        found.setdefault(json.dumps([record.kind, record.control, sorted(leaves)]), number)
    return found


def _recorded_versions(experiment: "Experiment") -> dict[str, Any]:
    data = asdict(experiment.record.data)
    del data["class_names"]  # a hundred of them, and earlier records have none of the same data
    return {"data": data, "versions": experiment.record.versions}


def _differing_leaves(names: tuple[str, str], a: dict[str, Any], b: dict[str, Any]) -> pd.DataFrame:
    """The leaves that are not the same in both, sorted by their path."""
    ours, theirs = dict(list_leaves(a)), dict(list_leaves(b))
    missing = object()
    paths = [path for path in sorted({*ours, *theirs}) if ours.get(path, missing) != theirs.get(path, missing)]
    values = [(ours.get(path), theirs.get(path)) for path in paths]
    return pd.DataFrame(values, index=pd.Index(paths, dtype="str"), columns=list(names), dtype=object)


def _format_differences(frame: pd.DataFrame) -> str:
    texts = frame.map(lambda value: UNKNOWN if value is None else json.dumps(value, ensure_ascii=False))
    return "none" if frame.empty else _format_frame(texts, index=True)


def _format_outcomes(frame: pd.DataFrame) -> str:
    if frame.empty:
        return "no trial is complete"
    rows = list(iterate_rows(frame))
    columns = {
        "experiment": frame["experiment"],
        "trial": [label_row(row["number"], row).text for _, row in rows],
        "LR policy": frame["lr.policy"].map(spell, na_action="ignore"),
        "acc. %": [_format_accuracy(row) for _, row in rows],
        "MACs cut %": frame["mac_sparsity"].map(lambda value: COLUMNS["mac_sparsity"].format_value(value, 1)),
        "seeds": frame["seeds"].map(lambda seeds: str(seeds) if seeds else "one"),
    }
    return _format_frame(pd.DataFrame(columns).fillna(UNKNOWN))


def _format_pairs(pairs: pd.DataFrame) -> str:
    if pairs.empty:
        return "none"
    trial, *_, ours, theirs, difference = pairs.columns
    shown = pairs.head(_SHOWN_PAIRS)
    columns = {trial: shown[trial]}
    columns |= {
        f"acc. % {name.removeprefix('accuracy in ')}": shown[name].map(COLUMNS["pruned_val_accuracy"].format_value)
        for name in (ours, theirs)
    }
    columns["difference, points"] = (100 * shown[difference]).map("{:+.2f}".format)
    text = _format_frame(pd.DataFrame(columns))
    more = f"\nand {len(pairs) - len(shown)} more" if len(pairs) > len(shown) else ""
    differences = 100 * pairs[difference]
    mean = f"\nmean difference: {differences.mean():+.2f} points over {format_count(len(pairs), 'pair')}"
    if not math.isnan(margin := mean_margin(differences.tolist())):
        mean += f", 95% interval ± {margin:.2f}"
    return text + more + mean


def _format_accuracy(row: Mapping[str, Any]) -> str:
    text, std = (COLUMNS[name].format_value(row[name]) for name in ("pruned_val_accuracy", "accuracy_std"))
    return text if std == UNKNOWN else f"{text} ± {std}"


def _format_frame(frame: pd.DataFrame, *, index: bool = False) -> str:
    """The frame of texts in columns, each cell on one line and none too long."""
    cells = frame.map(shorten_text, longest=_LONGEST)
    cells.columns = pd.Index([shorten_text(name, _LONGEST) for name in frame.columns])
    if index:
        cells.index = pd.Index([printable(name) for name in frame.index])
    text: str = cells.to_string(index=index)
    return text

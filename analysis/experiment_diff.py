"""Two experiments side by side: what was set differently, and what that gave."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.columns import COLUMNS, iterate_rows
from analysis.labels import label_row, spell
from analysis.objectives import DEFAULT_OBJECTIVES
from analysis.rank.hypervolume import default_reference, hypervolume
from analysis.rank.ranking import complete_trials, cost_matrix, fronts, sort_best_first
from analysis.tables.configs import list_leaves
from analysis.text import UNKNOWN, printable, shorten_text

if TYPE_CHECKING:
    from analysis.experiment import Experiment

_LONGEST = 40


@dataclass(frozen=True, repr=False)
class ExperimentDiff:
    """How two experiments differ; printed, it is a text for people.

    names: of the two, made different where they are equal. settings, versions: a row for each leaf that differs, by
    its dotted path, with a column for each experiment; None where one has no such leaf. versions includes the data.
    best: the first of each ranking. front: the Pareto front (accuracy, MACs) of both together, most accurate first.
    Both have `experiment` and `number` before the columns of rank.seeds. hypervolume: of each, by name, as a fraction
    of the box from accuracy 0 at the larger dense network's MACs to accuracy 1 at no MACs; NaN where neither has a
    complete trial.
    """

    names: tuple[str, str]
    settings: pd.DataFrame
    versions: pd.DataFrame
    best: pd.DataFrame
    front: pd.DataFrame
    hypervolume: dict[str, float]

    def __repr__(self) -> str:
        other_data = any(path.startswith("data.") for path in self.versions.index)
        sections = {
            "Settings that differ": _format_differences(self.settings),
            "Data and versions that differ": _format_differences(self.versions)
            + ("\nThe data differ, so the accuracies cannot be compared." if other_data else ""),
            "Best of each": _format_outcomes(self.best),
            "Pareto front of both": _format_outcomes(self.front),
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
    return ExperimentDiff(
        names,
        settings=_differing_leaves(names, a.settings, b.settings),
        versions=_differing_leaves(names, _recorded_versions(a), _recorded_versions(b)),
        best=pd.concat(
            [sort_best_first(both[both["experiment"] == name]).head(1) for name in names], ignore_index=True
        ),
        front=sort_best_first(front),
        hypervolume={
            name: hypervolume(each.trials, DEFAULT_OBJECTIVES, (0.0, dense_macs)) / dense_macs
            if dense_macs > 0
            else math.nan
            for name, each in zip(names, (a, b), strict=True)
        },
    )


def _recorded_versions(experiment: "Experiment") -> dict[str, Any]:
    return {"data": asdict(experiment.record.data), "versions": experiment.record.versions}


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

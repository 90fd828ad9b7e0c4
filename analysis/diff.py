"""Two experiments side by side: what was set differently, and what that gave."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.rank.hypervolume import default_reference, hypervolume
from analysis.rank.ranking import OBJECTIVES, candidates, costs_of, fronts, rank
from analysis.text import UNKNOWN, percent, printable

if TYPE_CHECKING:
    from analysis.experiment import Experiment

_SHOWN = ("control", "family", "policy", "pruned_val_accuracy", "accuracy_std", "seeds", "mac_sparsity", "macs")
_LONGEST = 40


@dataclass(frozen=True, repr=False)
class Difference:
    """How two experiments differ; printed, it is a text for people.

    names: of the two, told apart where they are equal. settings, versions: a row for each leaf that differs, by its
    dotted path, a column an experiment; None where one has none. versions tells of the data too. best: the first of
    each ranking. front: the front in accuracy and MACs of both together, most accurate first. Both have the columns
    `experiment`, `number` and some of the ranking's. hypervolume: of each, by name, as a fraction of the box from
    accuracy 0 at the larger dense network's MACs to accuracy 1 at no MACs; NaN where no trial is complete in either.
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
            "Settings that differ": _differing_text(self.settings),
            "Data and versions that differ": _differing_text(self.versions)
            + ("\nThe data differ, so accuracies of the two do not compare." if other_data else ""),
            "Best of each": _outcomes_text(self.best),
            "Front of both, by accuracy and MACs": _outcomes_text(self.front),
            "Hypervolume (1 would be accuracy 1 without any MACs)": _text(
                pd.DataFrame({name: [_number(value)] for name, value in self.hypervolume.items()})
            ),
        }
        return "\n\n".join(f"{title}\n{text}" for title, text in sections.items())


def diff(a: "Experiment", b: "Experiment") -> Difference:
    """How experiments `a` and `b` differ, in what was set and in what came out."""
    names = (a.name, b.name) if a.name != b.name else (f"{a.name} (1)", f"{b.name} (2)")
    named = list(zip(names, (a, b), strict=True))
    both = pd.concat([_outcomes(name, candidates(each.trials)) for name, each in named], ignore_index=True)
    front = both[fronts(costs_of(both, OBJECTIVES)) == 0]
    [dense_macs] = default_reference(both, ["macs"])
    return Difference(
        names,
        settings=_differing(names, a.settings, b.settings),
        versions=_differing(names, _versions(a), _versions(b)),
        best=pd.concat([_outcomes(name, rank(each.trials, top=1)) for name, each in named], ignore_index=True),
        front=front.sort_values(["pruned_val_accuracy", "macs"], ascending=[False, True], kind="stable"),
        hypervolume={name: _share(each.trials, dense_macs) for name, each in named},
    )


def _share(trials: pd.DataFrame, dense_macs: float) -> float:
    """The hypervolume as a fraction of the box that reaches to `dense_macs`, itself NaN where that is."""
    return dense_macs if math.isnan(dense_macs) else hypervolume(trials, OBJECTIVES, (0.0, dense_macs)) / dense_macs


def _outcomes(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    shown = frame.reindex(columns=list(_SHOWN))
    shown.insert(0, "number", frame.index)
    shown.insert(0, "experiment", name)
    return shown


def _versions(experiment: "Experiment") -> dict[str, Any]:
    return {"data": asdict(experiment.record.data), "versions": experiment.record.versions}


def _differing(names: tuple[str, str], a: Mapping[str, Any], b: Mapping[str, Any]) -> pd.DataFrame:
    """The leaves that are not the same in both, sorted by their path."""
    ours, theirs = _leaves(a), _leaves(b)
    rows = {
        path: (ours.get(path), theirs.get(path))
        for path in sorted({*ours, *theirs})
        if path not in ours or path not in theirs or ours[path] != theirs[path]
    }
    return pd.DataFrame(list(rows.values()), index=pd.Index(list(rows), dtype="str"), columns=list(names), dtype=object)


def _leaves(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def _differing_text(frame: pd.DataFrame) -> str:
    if frame.empty:
        return "none"
    return _text(frame.map(_leaf), index=True)


def _leaf(value: Any) -> str:
    return UNKNOWN if value is None else json.dumps(value, ensure_ascii=False)


def _outcomes_text(frame: pd.DataFrame) -> str:
    if frame.empty:
        return "no trial is complete"
    columns = {
        "experiment": frame["experiment"],
        "trial": frame["number"].map(str),
        "alpha": frame["family"].where(frame["control"].isna(), "control: " + frame["control"].astype("str")),
        "LR policy": frame["policy"],
        "acc. %": [_accuracy(row) for _, row in frame.iterrows()],
        "MACs cut %": frame["mac_sparsity"].map(lambda value: percent(value, 1)),
        "seeds": frame["seeds"].map(lambda seeds: str(seeds) if seeds else "one"),
    }
    return _text(pd.DataFrame(columns).fillna(UNKNOWN))


def _accuracy(row: "pd.Series[Any]") -> str:
    text = percent(row["pruned_val_accuracy"], 2)
    return text if math.isnan(row["accuracy_std"]) else f"{text} ± {percent(row['accuracy_std'], 2)}"


def _text(frame: pd.DataFrame, *, index: bool = False) -> str:
    """The frame of texts in columns, each cell on one line and none too long."""
    cells = frame.map(_cell)
    cells.columns = pd.Index([_cell(name) for name in frame.columns])
    if index:
        cells.index = pd.Index([printable(name) for name in frame.index])
    text: str = cells.to_string(index=index)
    return text


def _cell(text: str) -> str:
    shown = printable(text)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"


def _number(value: float) -> str:
    return UNKNOWN if math.isnan(value) else f"{value:.4f}"

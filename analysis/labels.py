"""What people call things: the one label of a trial, and how the records' words are spelled.

Tables, figures, the report, the status, a search's progress and all messages use these.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.columns import number_of, row_of
from analysis.text import shorten_text
from records.trial import Kind, TrialRecord

# The records' words as people write them; all others are written as they are.
SPELLINGS = {
    **{"one_shot": "one-shot", "random_channels": "random channels", "from_scratch": "training from scratch"},
    **{"time_based": "time-based", "one_cycle": "one-cycle", "cosine_restarts": "cosine restarts"},
    **{"stagnation_restart": "stagnation restart", "bn_output": "batch-norm output", "conv_weight": "conv weight"},
    **{"bn_scale": "batch-norm scale", "macs": "MACs", "training_cost": "training cost"},
}


@dataclass(frozen=True)
class TrialLabel:
    """A trial and its label; family is None where the record does not say. As a text it is the label."""

    number: int
    control: str | None
    family: str | None
    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def fades(self) -> bool:
        """Whether alpha fades out what it cuts: not in a control, and not where a trial cuts in one shot."""
        return self.control is None and self.family != "one_shot"

    @property
    def group(self) -> str:
        """What the trial is one of, as people spell it: a kind of control or a family of schedules."""
        return spell(self.control or self.family or "schedule unknown")


def spell(word: str) -> str:
    """A word of the records as people write it; what comes from elsewhere is made printable."""
    return SPELLINGS.get(word) or shorten_text(word, 40)


def format_label(
    number: int,
    control: str | None = None,
    family: str | None = None,
    rate: float | None = None,
    parent: float | None = None,
    confirms: float | None = None,
    twin: str | None = None,
) -> str:
    """A trial's label: `15 polynomial 3.62`, `2 one-shot (control)`, `17 cosine (branch of 4)`.

    A repeat with another seed says what it repeats: `20 polynomial 3.62 (repeat of 15)`; a twin, whose it is:
    `21 one-shot (twin of 15, equal epochs)`.
    """
    words = [str(number), spell(control or family or "schedule unknown")]
    if control is None and rate is not None:
        words.append(f"{rate:.3g}")
    notes = ["control"] if control is not None else []
    notes += [f"branch of {parent:.0f}"] if parent is not None else []
    if confirms is not None:
        equal = "epochs and compute" if twin == "both" else twin
        notes.append(f"repeat of {confirms:.0f}" if twin is None else f"twin of {confirms:.0f}, equal {equal}")
    return " ".join(words) + (f" ({', '.join(notes)})" if notes else "")


def label_trial(trials: pd.DataFrame, number: int) -> TrialLabel:
    """The label of a row of the trials' frame, or of a ranking."""
    return label_row(number, row_of(trials, number))


def label_row(number: int, row: Mapping[str, Any]) -> TrialLabel:
    """The label of the trial `number`, whose row is `row`."""
    control, family = (value if isinstance(value := row[name], str) else None for name in ("control", "alpha.family"))
    rate, parent, confirms, twin = (
        None if pd.isna(value := row.get(key)) else value for key in ("alpha.rate", "parent", "confirms", "twin")
    )
    return TrialLabel(number, control, family, format_label(number, control, family, rate, parent, confirms, twin))


def label_record(record: TrialRecord) -> str:
    """The label of a recorded trial."""
    alpha = record.config.get("alpha")
    family = alpha.get("family") if isinstance(alpha, dict) else None
    row: dict[str, Any] = {"alpha.family": family, "alpha.rate": number_of(alpha, "rate")}
    row |= {"control": record.control, "parent": record.parent and record.parent.number, "confirms": record.confirms}
    row["twin"] = record.twin
    return label_row(record.number, row).text


def select_kinds(trials: pd.DataFrame, *kinds: Kind) -> pd.DataFrame:
    """The trials of these kinds."""
    return trials[trials["kind"].isin(kinds)]

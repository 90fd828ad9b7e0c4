"""One trial of an experiment: its configuration, its rows, its measurements, its network."""

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.columns import row_of
from analysis.labels import TrialLabel, label_trial
from analysis.tables.configs import list_leaves
from records.experiment import ExperimentFolder
from records.measurement import Measurement
from records.trial import Cut, TrialRecord

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from analysis.experiment import Experiment


@dataclass(frozen=True, eq=False, repr=False)
class ExperimentTrial:
    """What `experiment.trial(number)` returns.

    label: as in all tables. What is read of it is what the experiment has read, or is read now.
    """

    experiment: "Experiment"
    number: int

    def __repr__(self) -> str:
        return f"<Trial {self.label} of {self.experiment.name!r}: {self.state}>"

    def _repr_html_(self) -> str:
        from analysis.notebook import table_html

        shown = [
            (name, str(value))
            for name, value in row_of(self.experiment.trials, self.number).items()
            if not pd.isna(value) and name != "state"
        ]
        results = [pair for pair in shown if "." not in pair[0] and pair[0] in _SHOWN]
        settings = [(name, str(value)) for name, value in list_leaves(self.config)]
        return (
            f"<p>trial {escape(self.label.text)} of {escape(self.experiment.name)}: {escape(self.state)}</p>"
            f"{table_html(('', 'value'), results)}"
            f"<details><summary>settings</summary>{table_html(('setting', 'value'), settings)}</details>"
        )

    @property
    def label(self) -> TrialLabel:
        return label_trial(self.experiment.trials, self.number)

    @property
    def path(self) -> Path:
        """The trial's folder."""
        return ExperimentFolder(self.experiment.path).trial_folder(self.number).path

    @property
    def state(self) -> str:
        """running, complete, stopped or failed."""
        return str(self.values["state"])

    @property
    def values(self) -> "pd.Series[Any]":
        """Its row of `experiment.trials`."""
        return self.experiment.trials.loc[[self.number]].iloc[0]

    @property
    def rows(self) -> pd.DataFrame:
        """Its epochs, indexed by `epoch`; columns as in `experiment.epochs`."""
        epochs = self.experiment.epochs
        return epochs[epochs.index == self.number].set_index("epoch")

    @property
    def record(self) -> TrialRecord:
        """Its trial.json; raises ValueError, in one line, where that has been damaged or lost."""
        return self.experiment.trial_record(self.number)

    @property
    def config(self) -> dict[str, Any]:
        """Its configuration as a tree; `alphaprune.TrialConfig(**trial.config)` is the same as an object."""
        return self.record.config

    @property
    def cut(self) -> Cut | None:
        """What removing the channels left; None before the cut."""
        return self.record.cut

    @property
    def measurement(self) -> Measurement | None:
        """Its speed, memory, size and test accuracy; None if it was not measured."""
        return self.experiment.measurement(self.number)

    def network(self) -> Any:
        """The pruned network, a torch.nn.Module for images [N, 3, H, W] in [0, 1].

        Raises ValueError, in one line, unless the trial is complete and its network is intact.
        """
        from alphaprune import load_pruned  # not from trainable, which the analysis does without

        if self.state != "complete":
            raise ValueError(f"only complete trials have a network, and trial {self.number} is {self.state}")
        return load_pruned(self.path / "model")

    def figure(self) -> "go.Figure":
        """Its accuracy, alpha and learning rate over the epochs."""
        from analysis.figures import epochs_of

        return epochs_of(self.experiment, [self.number])


_SHOWN = (
    *("epochs_done", "mac_sparsity", "parameter_sparsity", "pruned_val_accuracy", "accuracy_drop", "accuracy_at_cut"),
    *("test_accuracy", "batch1_speedup", "batch256_speedup", "size_bytes", "peak_memory_bytes", "seconds", "device"),
    "error",
)

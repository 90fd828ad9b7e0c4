"""What a search can optimise; search and analysis share this table."""

from dataclasses import dataclass
from typing import Literal

from analysis.columns import COLUMNS

ObjectiveName = Literal["pruned_val_accuracy", "macs", "parameters", "training_cost"]


@dataclass(frozen=True, slots=True)
class Objective:
    """A column of the trials to be optimised.

    sparsity: of a cost, the column that says the same as a fraction of the dense network's that is cut, high being
    good; each epoch's row has it, and as all trials prune the same dense network, it orders them as the cost does.
    adds_up: whether it is the sum over a trial's epochs of their column of the same name, so that what has been reached
    by an epoch is the sum up to it.
    """

    name: ObjectiveName
    sparsity: str | None = None
    adds_up: bool = False

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """As Optuna calls it."""
        return "maximize" if COLUMNS[self.name].better == "high" else "minimize"

    @property
    def epoch_column(self) -> str:
        """The column of an epoch's row that orders trials as the objective does; what adds up, summed up to there."""
        return self.sparsity or self.name


OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (
        Objective("pruned_val_accuracy"),
        Objective("macs", "mac_sparsity"),
        Objective("parameters", "parameter_sparsity"),
        Objective("training_cost", adds_up=True),
    )
}
DEFAULT_OBJECTIVES: tuple[ObjectiveName, ...] = ("pruned_val_accuracy", "macs")

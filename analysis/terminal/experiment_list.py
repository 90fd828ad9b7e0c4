"""Several experiments in a terminal, a line each."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from analysis.status import ExperimentStatus
from analysis.text import UNKNOWN, format_duration, format_percent, printable


def experiment_list(statuses: Sequence[ExperimentStatus]) -> Table:
    """How each experiment stands."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for header in ("experiment", "state", "trials", "best acc.", "last active"):
        table.add_column(header, justify="right" if header in ("trials", "best acc.") else "left")
    for status in statuses:
        seconds = status.seconds_since_driver
        counts = (status.controls, status.trials, status.branches, status.repeats, status.twins)
        table.add_row(
            Text(printable(status.name), "bold"),
            _describe_state(status),
            f"{sum(each.ended for each in counts)} of {sum(each.total for each in counts)}",
            UNKNOWN if status.best is None else format_percent(status.best.pruned_val_accuracy),
            UNKNOWN if seconds is None else f"{format_duration(seconds)} ago",
        )
    return table


def _describe_state(status: ExperimentStatus) -> str:
    driver = status.driver
    if driver is None or driver.to_measure is None or status.state not in ("measuring", "not measured"):
        return status.state
    count = driver.measured if status.state == "measuring" else driver.to_measure - driver.measured
    return f"{status.state} ({count} of {driver.to_measure})"

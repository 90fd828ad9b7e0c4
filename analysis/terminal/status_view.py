"""A status as a person reads it in a terminal."""

from collections.abc import Sequence
from dataclasses import astuple

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from analysis.status import BestTrial, ExperimentStatus, RunningTrial
from analysis.terminal.ranking_table import shrinkable_text
from analysis.text import UNKNOWN, format_count, format_duration, format_percent, format_points, printable

LONGEST_LIST = 10


def status_view(status: ExperimentStatus) -> Group:
    """The status, with the first LONGEST_LIST entries of long lists."""
    accuracy = status.dense_val_accuracy
    dense = "not trained yet" if accuracy is None else format_percent(accuracy)
    headline = Text.assemble((printable(status.name), "bold"), f"  dense network: {dense}")
    parts: list[RenderableType] = [headline, Text(), _counts_table(status)]
    if status.running:
        parts += [Text(), _running_table(status.running)]
    if status.best is not None:
        parts += [Text(), _best_line(status.best, status.front_size)]
    failed = [f"{failed.label} failed: {failed.error}" for failed in status.failed]
    for lines, style in ((failed, "red"), ([f"problem: {problem}" for problem in status.problems], "yellow")):
        if lines:
            parts += [Text(), *(Text(line, style) for line in lines[:LONGEST_LIST])]
            if len(lines) > LONGEST_LIST:
                parts.append(Text(f"and {len(lines) - LONGEST_LIST} more", style))
    return Group(*parts)


def _counts_table(status: ExperimentStatus) -> Table:
    table = Table("", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for header in ("planned", "complete", "running", "stopped", "failed"):
        table.add_column(header, justify="right")
    for name in ("controls", "trials", "branches", "repeats"):
        planned, *states = astuple(getattr(status, name))
        if any(states) or name in ("controls", "trials"):
            table.add_row(name, *(UNKNOWN if count is None else str(count) for count in (planned, *states)))
    return table


def _running_table(running: Sequence[RunningTrial]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    for header in ("running", "epoch", "phase", "alpha", "acc. %", "last row"):
        table.add_column(header, no_wrap=True)
    table.add_column("on")
    for trial in running[:LONGEST_LIST]:
        table.add_row(
            Text(trial.label),
            f"{trial.epoch}/{UNKNOWN if trial.epochs is None else trial.epochs}",
            trial.phase or "not started",
            UNKNOWN if trial.alpha is None else f"{trial.alpha:.3g}",
            UNKNOWN if trial.pruned_val_accuracy is None else f"{100 * trial.pruned_val_accuracy:.2f}",
            UNKNOWN if trial.seconds_since_row is None else f"{format_duration(trial.seconds_since_row)} ago",
            shrinkable_text(", ".join(filter(None, (trial.host, trial.device))) or UNKNOWN),
        )
    if len(running) > LONGEST_LIST:
        table.caption = f"and {len(running) - LONGEST_LIST} more"
    return table


def _best_line(best: BestTrial, front_size: int) -> Text:
    line = f"best so far: {best.label}, {format_percent(best.pruned_val_accuracy)}"
    if best.accuracy_drop is not None:
        side = "below" if best.accuracy_drop >= 0 else "above"
        line += f", {format_points(best.accuracy_drop, 2)} points {side} dense"
    if best.mac_sparsity is not None:
        line += f", {format_percent(best.mac_sparsity, 1)} of the MACs cut"
    return Text(f"{line}; {format_count(front_size, 'trial')} on the Pareto front")

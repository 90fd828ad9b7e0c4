"""A status as a person reads it in a terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from analysis.status import BestTrial, ExperimentStatus, RunningTrial
from analysis.terminal.ranking_table import shrinkable_text
from analysis.text import UNKNOWN, format_count, format_duration, format_percent, format_points, printable
from records.driver import DriverRecord

LONGEST_LIST = 10


def status_view(status: ExperimentStatus) -> Group:
    """The status, with the first LONGEST_LIST entries of long lists."""
    accuracy = status.dense_val_accuracy
    dense = "not trained yet" if accuracy is None else format_percent(accuracy)
    headline = Text.assemble((printable(status.name), "bold"), f"  dense network: {dense}")
    parts: list[RenderableType] = [headline, Text(describe_state(status))]
    if status.command is not None:
        # On one line, however long it is, so that it can be copied.
        parts.append(Text(f"to continue: {printable(status.command)}", no_wrap=True, overflow="ignore"))
    parts += [Text(), _counts_table(status)]
    if unended := status.running or status.interrupted:
        parts += [Text(), _unended_table("running" if status.running else "interrupted", unended)]
    if status.best is not None:
        parts += [Text(), _best_line(status.best, status.front_size)]
    failed = [f"{failed.label} failed: {failed.error}" for failed in status.failed]
    for lines, style in ((failed, "red"), ([f"problem: {problem}" for problem in status.problems], "yellow")):
        if lines:
            parts += [Text(), *(Text(line, style) for line in lines[:LONGEST_LIST])]
            if len(lines) > LONGEST_LIST:
                parts.append(Text(f"and {len(lines) - LONGEST_LIST} more", style))
    return Group(*parts)


def describe_state(status: ExperimentStatus) -> str:
    """Who runs the experiment, or how that ended, in one line."""
    driver, seconds = status.driver, status.seconds_since_driver
    if status.state in ("running", "measuring"):
        return printable(f"{status.state}{_describe_measured(driver)}: {driver or 'another process'}")
    if driver is None:
        return status.state
    ago = "" if seconds is None else f" {format_duration(seconds)} ago"
    if status.state == "finished":
        return f"finished{ago}{_describe_measured(driver)}"
    missing = (driver.to_measure or 0) - driver.measured
    measured = f"not measured yet: {missing} of {format_count(driver.to_measure or 0, 'trial')} missing; "
    died = f"process {driver.pid} on {driver.host} has died"
    reason = died if driver.reason is None else driver.reason.removeprefix("interrupted ")
    return printable(f"{measured if status.state == 'not measured' else ''}interrupted{ago} ({reason})")


def _describe_measured(driver: DriverRecord | None) -> str:
    if driver is None or driver.to_measure is None:
        return ""
    return f" ({driver.measured} of {format_count(driver.to_measure, 'trial')} measured)"


def _counts_table(status: ExperimentStatus) -> Table:
    table = Table("", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    unended = "interrupted" if status.state in ("interrupted", "not measured") else "running"
    states = ("planned", "complete", unended, "stopped", "failed")
    for header in states:
        table.add_column(header, justify="right")
    for name in ("controls", "trials", "branches", "repeats", "twins"):
        counts = [getattr(getattr(status, name), state) for state in states]
        if any(counts[1:]) or name in ("controls", "trials"):
            table.add_row(name, *(UNKNOWN if count is None else str(count) for count in counts))
    return table


def _unended_table(state: str, trials: Sequence[RunningTrial]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    for header in (state, "epoch", "phase", "alpha", "acc. %", "last row"):
        table.add_column(header, no_wrap=True)
    table.add_column("on")
    for trial in trials[:LONGEST_LIST]:
        table.add_row(
            Text(trial.label),
            f"{trial.epoch}/{UNKNOWN if trial.epochs is None else trial.epochs}",
            trial.phase or "not started",
            UNKNOWN if trial.alpha is None else f"{trial.alpha:.3g}",
            UNKNOWN if trial.pruned_val_accuracy is None else f"{100 * trial.pruned_val_accuracy:.2f}",
            UNKNOWN if trial.seconds_since_row is None else f"{format_duration(trial.seconds_since_row)} ago",
            shrinkable_text(", ".join(filter(None, (trial.host, trial.device))) or UNKNOWN),
        )
    if len(trials) > LONGEST_LIST:
        table.caption = f"and {len(trials) - LONGEST_LIST} more"
    return table


def _best_line(best: BestTrial, front_size: int) -> Text:
    line = f"best so far: {best.label}, {format_percent(best.pruned_val_accuracy)}"
    if best.accuracy_drop is not None:
        side = "below" if best.accuracy_drop >= 0 else "above"
        line += f", {format_points(best.accuracy_drop, 2)} points {side} dense"
    if best.mac_sparsity is not None:
        line += f", {format_percent(best.mac_sparsity, 1)} of the MACs cut"
    return Text(f"{line}; {format_count(front_size, 'trial')} on the Pareto front")

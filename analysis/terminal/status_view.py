"""A status as a person reads it in a terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from analysis.status import Best, Counts, Running, Status
from analysis.terminal.ranking_table import shrinkable
from analysis.text import UNKNOWN, percent, printable

LONGEST_LIST = 10


def status_view(status: Status) -> Group:
    """The status in at most 100 columns; of long lists the first LONGEST_LIST."""
    parts: list[RenderableType] = [_headline(status), Text(), _counts_table(status)]
    if status.running:
        parts += [Text(), _running_table(status.running)]
    if status.best is not None:
        parts += [Text(), _best_line(status.best, status.front_size)]
    failed = [f"{_who('trial', failed.number, failed.control)} failed: {failed.error}" for failed in status.failed]
    for lines, style in ((failed, "red"), ([f"problem: {problem}" for problem in status.problems], "yellow")):
        if lines:
            parts += [Text(), *(Text(line, style) for line in lines[:LONGEST_LIST])]
            if len(lines) > LONGEST_LIST:
                parts.append(Text(f"and {len(lines) - LONGEST_LIST} more", style))
    return Group(*parts)


def _headline(status: Status) -> Text:
    accuracy = status.dense_val_accuracy
    dense = "not trained yet" if accuracy is None else f"{percent(accuracy, 2)} %"
    return Text.assemble((printable(status.name), "bold"), f"  dense network: {dense}")


def _counts_table(status: Status) -> Table:
    table = Table("", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for header in ("planned", "complete", "running", "stopped", "failed"):
        table.add_column(header, justify="right")
    _add_counts(table, "controls", status.controls)
    _add_counts(table, "trials", status.trials)
    for name, counts in (("branches", status.branches), ("repeats", status.repeats)):
        if any((counts.complete, counts.running, counts.stopped, counts.failed)):
            _add_counts(table, name, counts)
    return table


def _add_counts(table: Table, name: str, counts: Counts) -> None:
    planned = UNKNOWN if counts.planned is None else str(counts.planned)
    states = (counts.complete, counts.running, counts.stopped, counts.failed)
    table.add_row(name, planned, *(str(count) for count in states))


def _running_table(running: Sequence[Running]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for header in ("running", "epoch", "phase", "alpha", "acc. %", "last row"):
        table.add_column(header, no_wrap=True)
    table.add_column("host")
    table.add_column("device")
    for trial in running[:LONGEST_LIST]:
        table.add_row(
            _who("trial", trial.number, trial.control)
            + ("" if trial.confirms is None else f", repeats {trial.confirms}"),
            f"{trial.epoch}/{UNKNOWN if trial.epochs is None else trial.epochs}",
            trial.phase or "not begun",
            UNKNOWN if trial.alpha is None else f"{trial.alpha:.3g}",
            UNKNOWN if trial.pruned_val_accuracy is None else percent(trial.pruned_val_accuracy, 2),
            _age(trial.seconds_since_row),
            shrinkable(trial.host or UNKNOWN),
            shrinkable(trial.device or UNKNOWN),
        )
    if len(running) > LONGEST_LIST:
        table.caption = f"and {len(running) - LONGEST_LIST} more"
    return table


def _best_line(best: Best, front_size: int) -> Text:
    line = f"best so far: {_who('trial', best.number, best.control)}, {percent(best.pruned_val_accuracy, 2)} %"
    if best.accuracy_drop is not None:
        side = "below" if best.accuracy_drop >= 0 else "above"
        line += f", {percent(abs(best.accuracy_drop), 2)} points {side} dense"
    if best.mac_sparsity is not None:
        line += f", {percent(best.mac_sparsity, 1)} % of the MACs cut"
    return Text(f"{line}; {front_size} on the front")


def _who(kind: str, number: int, control: str | None) -> str:
    return printable(f"{kind} {number}" + (f" (control: {control})" if control else ""))


def _age(seconds: float | None) -> str:
    if seconds is None:
        return UNKNOWN
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"

"""The commands that show settings and results: settings, status, rank, measure, report, export."""

import json
import sys
import time
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from records.driver import DEFAULT_STORAGE, format_options, read_driver_state
from records.experiment import ExperimentFolder, experiment_names
from search.cli.app import (
    MovedData,
    Name,
    Storage,
    app,
    complete_presets,
    end_gracefully,
    load_experiment,
    locate_data,
    log,
    output_console,
    print_data,
    print_ranking,
    refuse_invalid_requests,
    refuse_unwritable,
)
from search.preset_files import read_preset, summarize_presets

if TYPE_CHECKING:
    from analysis.status import ExperimentStatus

# Longer lines are hard to read.
MOST_COLUMNS = 100


class RankFormat(StrEnum):
    table = "table"
    json = "json"
    csv = "csv"


class StatusFormat(StrEnum):
    table = "table"
    json = "json"


class ExportFormat(StrEnum):
    torch = "torch"
    onnx = "onnx"


@app.command()
def settings(
    preset: Annotated[
        str | None, typer.Argument(metavar="PRESET", autocompletion=complete_presets, help="Show this preset's values.")
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print a JSON schema of presets, for editors.")] = False,
    form: Annotated[StatusFormat, typer.Option("--format", help="Output format.")] = StatusFormat.table,
) -> None:
    """List every setting with its value, type and meaning.

    With a preset (the name of a shipped one, or a TOML file), its values are shown, and those that differ from the
    defaults are marked. Any setting can be overridden: `alphaprune run PRESET --set trial.pruning.amount=0.9`.
    """
    from search.setting_help import create_schema, list_sections, to_json, to_text
    from search.settings import resolve_settings

    with refuse_invalid_requests():
        if schema and preset is not None:
            raise ValueError(f"--schema is the same for all presets; leave {preset!r} out")
        sections = list_sections(None if preset is None else resolve_settings(read_preset(preset)))
    if schema:
        print_data(f"{json.dumps(create_schema(), indent=1)}\n")
        log.info("an editor with Taplo (Even Better TOML in VS Code) checks and completes a preset by this schema:")
        log.info("  alphaprune settings --schema > settings.schema.json")
        log.info("and then, as the first line of the preset:")
        log.info("  #:schema settings.schema.json")
    elif form is StatusFormat.json:
        typer.echo(to_json(sections))
    else:
        width = min(get_terminal_size().columns, MOST_COLUMNS)
        print_data(to_text(sections, width))


@app.command()
def status(
    name: Name,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep the display up to date while the experiment runs.")
    ] = False,
    every: Annotated[float, typer.Option(metavar="SECONDS", help="Time between updates, with --watch.", min=0.2)] = 5.0,
    form: Annotated[StatusFormat, typer.Option("--format", help="Output format.")] = StatusFormat.table,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Show what is done, what is running, and how to continue it."""
    from analysis.status import to_json
    from analysis.terminal.status_view import status_view

    if watch:
        with refuse_invalid_requests():
            if form is StatusFormat.json or not sys.stdout.isatty():
                raise ValueError("--watch needs a terminal and the format `table`; leave it out, or run it in a loop")
        _watch_status(storage, name, every)
        return
    found = _read_status(storage, name)
    if form is StatusFormat.json:
        typer.echo(to_json(found))
    else:
        output_console().print(status_view(found))


def _watch_status(storage: Path, name: str, seconds: float) -> None:
    """Shows the status until nothing runs any more; the last one stays on the screen."""
    from rich.live import Live

    from analysis.terminal.status_view import status_view

    found = _read_status(storage, name)
    with Live(status_view(found), console=output_console(), auto_refresh=False) as live:
        live.console.show_cursor()  # which a signal that ends the process would leave hidden
        while found.state in ("running", "measuring"):
            time.sleep(seconds)
            found = _read_status(storage, name)
            live.update(status_view(found), refresh=True)


@app.command("list")
def list_experiments(
    presets: Annotated[bool, typer.Option("--presets", help="List the shipped presets instead.")] = False,
    form: Annotated[StatusFormat, typer.Option("--format", help="Output format.")] = StatusFormat.table,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """List the experiments in the storage, and how each stands."""
    if presets:
        _print_presets(form)
        return
    from analysis.status import to_json
    from analysis.terminal.experiment_list import experiment_list

    names = experiment_names(storage)
    found = []
    for name in names:
        with suppress(typer.Exit):  # it cannot be read, which has been logged
            found.append(_read_status(storage, name))
    if form is StatusFormat.json:
        typer.echo(f"[{', '.join(map(to_json, found))}]")
    elif found:
        output_console().print(experiment_list(found))
    elif not names:
        log.info("%r holds no experiment yet; `alphaprune run` makes one", str(storage))


def _print_presets(form: StatusFormat) -> None:
    """The shipped presets, each with the first line of its file."""
    summaries = summarize_presets()
    if form is StatusFormat.json:
        typer.echo(json.dumps([{"name": name, "summary": summary} for name, summary in summaries.items()], indent=1))
        return
    grid = Table.grid(padding=(0, 2))
    for name, summary in summaries.items():
        grid.add_row(Text(name, "bold"), Text(summary))
    output_console().print(grid)


def _read_status(storage: Path, name: str) -> "ExperimentStatus":
    from analysis.status import status as read_status

    # The driver first: the records are then at least as new, and show what it did before it ended.
    driver = read_driver_state(ExperimentFolder(storage / name))
    return read_status(load_experiment(storage, name), driver=driver)


@app.command()
def rank(
    name: Name,
    by: Annotated[
        list[str],
        typer.Option(metavar="COLUMN", help="Column to rank by; a leading - or + sets the direction; repeatable."),
    ] = [],  # noqa: B006
    weight: Annotated[
        list[str], typer.Option(metavar="COLUMN=W", help="Rank by a weighted sum of scaled columns; repeatable.")
    ] = [],  # noqa: B006
    where: Annotated[
        str | None, typer.Option(metavar="CONDITION", help="Only trials that match, e.g. 'mac_sparsity >= 0.75'.")
    ] = None,
    top: Annotated[int | None, typer.Option(metavar="NUMBER", help="Show only the top N.", min=1)] = None,
    form: Annotated[RankFormat, typer.Option("--format", help="Output format.")] = RankFormat.table,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Print the ranking and the Pareto front."""
    from analysis.terminal.ranking_table import ranking_table, to_csv, to_json

    experiment = load_experiment(storage, name)
    with refuse_invalid_requests():
        ranked = experiment.rank(by or None, where, top, weights=_parse_weights(weight) or None)
    if form is RankFormat.table:
        output_console().print(ranking_table(ranked, experiment.dense, experiment.dense_measure))
    else:
        print_data((to_json if form is RankFormat.json else to_csv)(ranked))


def _parse_weights(texts: list[str]) -> dict[str, float]:
    weights = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        try:
            weights[name] = float(value)
        except ValueError:
            raise ValueError(f"--weight takes COLUMN=W, such as pruned_val_accuracy=0.7, but got {text!r}") from None
    return weights


@app.command()
def measure(
    name: Name,
    top: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="Measure the top N trials and the controls.", min=1)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Measure all complete trials.")] = False,
    data: MovedData = None,
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Measure on the best node of this Ray cluster.")
    ] = None,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Measure speed, memory, size and test accuracy.

    By default, measures the Pareto front, the controls and the trials that the report compares with them, even if they
    have been measured before. Of repeats and twins, only the test accuracy is measured.
    """
    with refuse_invalid_requests():
        if top is not None and everything:
            raise ValueError("--top and --all exclude each other; give one of them")
        folder = ExperimentFolder.find(storage, name)
    options = format_options(address=address, data=locate_data(data), top=top, all=everything)
    with end_gracefully(folder, "measure", options), refuse_invalid_requests():
        from search.backends.ray.backend import RayBackend
        from search.experiment import measure as measure_experiment
        from search.followups.measure import TrialSelection

        selection = TrialSelection(top, everything, again=True)
        measure_experiment(folder, RayBackend(address), selection, data=data, options=options)
    print_ranking(folder)


@app.command()
def report(
    name: Name,
    to: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File to write (default: report.html in the experiment's folder)."),
    ] = None,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Write the results as one HTML file.

    It has the answer, the ranking, the figures and how everything was measured, and works offline.
    """
    experiment = load_experiment(storage, name)
    with refuse_invalid_requests():
        if to is not None and not to.absolute().parent.is_dir():
            raise ValueError(f"--to must be in a folder that exists, but got {str(to)!r}")
        from analysis.report import write_report

        with refuse_unwritable(to or experiment.path):
            print_data(f"{write_report(experiment, to)}\n")


@app.command()
def export(
    name: Name,
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="Number of the trial.", show_default=False)],
    to: Annotated[
        Path, typer.Option(metavar="PATH", help="A new folder for torch, a new file for onnx.", show_default=False)
    ],
    form: Annotated[ExportFormat, typer.Option("--format", help="Format to write.")] = ExportFormat.torch,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Export a trial's pruned network for use elsewhere.

    Its output is checked against that of the original.
    """
    with refuse_invalid_requests():
        from search.followups.branch import find_complete_trial
        from trainable.network.export import export_network as export_network

        trial = find_complete_trial(ExperimentFolder.find(storage, name), number)
        try:
            with refuse_unwritable(to):
                difference = export_network(trial.model_path, to, form.value)
        except ArithmeticError as error:
            log.error("%s", error)
            raise typer.Exit(1) from error
    log.info("checked: its logits agree with the original's to within %.1g of the largest", difference)
    print_data(f"{to}\n")

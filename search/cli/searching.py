"""The command line. Data goes to stdout, messages to stderr; a request that cannot be met is one line, exit 2."""

import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console

import analysis
from analysis.status import status as status_of
from analysis.status import to_json as status_json
from analysis.status_view import status_view
from analysis.table import ranking_table, to_csv, to_json
from search.interruption import Interruption, interruptible, seconds
from search.settings import Controls, Settings, Space, explain, read_preset, resolve
from search.storage import new_folder
from trainable.errors import TrialError
from trainable.records import ExperimentFolder

app = typer.Typer(
    name="alphaprune",
    help="Searches for the best way to prune a VGG16 by fading channels out with a scalar alpha.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


class Format(StrEnum):
    table = "table"
    json = "json"
    csv = "csv"


class StatusFormat(StrEnum):
    table = "table"
    json = "json"


Storage = Annotated[Path, typer.Option(help="Folder that experiments are in.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the experiment in --storage.", show_default=False)]
Set = Annotated[list[str], typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override a setting; repeatable.")]
Address = Annotated[str | None, typer.Option(help="Address of a running Ray cluster; else one is started.")]
Local = Annotated[bool, typer.Option("--local", help="In this process, one trial after another.")]
TimeBudget = Annotated[
    str | None, typer.Option(metavar="DURATION", help="Stop after e.g. 90s, 30m, 12h; `resume` goes on.")
]
DEFAULT_STORAGE = Path("ray_results")


def main() -> None:
    """The entry point."""
    try:
        with interruptible():
            app()
    except Interruption as error:
        say(f"alphaprune: {error}")
        sys.exit(error.code)


def say(text: str) -> None:
    """A line for people."""
    typer.echo(text, err=True)


@contextmanager
def refusing() -> Iterator[None]:
    """Turns the ValueError of a request that cannot be met into one line and exit code 2."""
    try:
        yield
    except ValueError as error:
        text = explain(error) if isinstance(error, ValidationError) else str(error)
        say(f"alphaprune: {' '.join(text.split())}")
        raise typer.Exit(2) from error


@app.command()
def run(
    preset: Annotated[str, typer.Argument(metavar="PRESET", help="A shipped preset's name, or a TOML file.")],
    name: Annotated[str | None, typer.Option(help="Name of the experiment; by default the preset's.")] = None,
    trials: Annotated[int | None, typer.Option(help="Trials besides the controls.")] = None,
    data: Annotated[str | None, typer.Option(help="digits, cifar10, or a folder (Parquet or ImageFolder).")] = None,
    width: Annotated[float | None, typer.Option(help="Width of the dense network, 1 is the published one.")] = None,
    concurrency: Annotated[int | None, typer.Option(help="Most trials at once; by default all that fit.")] = None,
    gpus_per_trial: Annotated[float | None, typer.Option(help="GPUs of a trial, may be a fraction.")] = None,
    address: Address = None,
    local: Local = False,
    time_budget: TimeBudget = None,
    overrides: Set = [],  # noqa: B006  typer reads the default and makes a new list
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Search: train the dense network, run the controls and the trials, print the ranking."""
    flags = {
        "search.trials": trials,
        "data.source": data,
        "dense.width": width,
        "resources.concurrency": concurrency,
        "resources.gpus_per_trial": gpus_per_trial,
    }
    with refusing():
        values = [f"{key}={json.dumps(value)}" for key, value in flags.items() if value is not None]
        settings = resolve(read_preset(preset), [*overrides, *values])
    _run(settings, preset, name, storage, local=local, address=address, time_budget=time_budget)


@app.command()
def trial(
    target: Annotated[str, typer.Argument(metavar="NAME|CONFIG.toml", help="An experiment, or a TOML file.")],
    number: Annotated[int | None, typer.Argument(metavar="[NUMBER]", help="The trial's number.")] = None,
    data: Annotated[str | None, typer.Option(help="Where the data is, if elsewhere than recorded.")] = None,
    name: Annotated[str | None, typer.Option(help="CONFIG.toml: name of the experiment it becomes.")] = None,
    overrides: Set = [],  # noqa: B006
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """One trial in this process.

    NAME NUMBER: computes a recorded trial again and prints its rows, a line of JSON each; writes nothing.
    CONFIG.toml: runs the file's [trial] as an experiment of its own, without controls.
    """
    from search.replay import replay

    if number is not None:
        with refusing():
            if overrides or name:
                raise ValueError("--set and --name go with CONFIG.toml; a recorded trial is computed as it was")
            rows = replay(storage, target, number, data=data)
        for row in rows:
            typer.echo(json.dumps(row))
        return
    with refusing():
        if not target.endswith(".toml"):
            raise ValueError(f"give the NUMBER of a trial of {target!r}, or a TOML file")
        sources = [f"data.source={json.dumps(data)}"] if data else []
        settings = resolve(read_preset(target), [*overrides, *sources])
    alone = replace(
        settings,
        space=Space("spaces.fixed:fixed"),
        controls=Controls(kinds=()),
        search=replace(settings.search, trials=1),
    )
    _run(alone, target, name, storage, local=True)


@app.command()
def status(
    name: Name,
    form: Annotated[StatusFormat, typer.Option("--format", help="table or json.")] = StatusFormat.table,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """What is done and what is running, while it runs or after."""
    found = status_of(_load(storage, name))
    if form is StatusFormat.json:
        typer.echo(status_json(found))
    else:
        _stdout().print(status_view(found))


@app.command()
def rank(
    name: Name,
    by: Annotated[list[str], typer.Option(help="Column to rank by, a leading - or + sets the direction.")] = [],  # noqa: B006
    where: Annotated[str | None, typer.Option(help="Only these, e.g. 'mac_sparsity >= 0.75'.")] = None,
    top: Annotated[int | None, typer.Option(help="Only the first so many.", min=1)] = None,
    form: Annotated[Format, typer.Option("--format", help="table, json or csv.")] = Format.table,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """The ranking and the Pareto front."""
    experiment = _load(storage, name)
    with refusing():
        ranked = experiment.rank(by or None, where, top)
    if form is Format.table:
        _stdout().print(ranking_table(ranked, experiment.dense))
    else:
        typer.echo((to_json if form is Format.json else to_csv)(ranked), nl=False)


@app.command()
def resume(
    name: Name,
    trials: Annotated[int | None, typer.Option(help="Extend the search to so many trials.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed trials again.")] = False,
    data: Annotated[str | None, typer.Option(help="Where the data is, if elsewhere than recorded.")] = None,
    address: Address = None,
    local: Local = False,
    time_budget: TimeBudget = None,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Go on with an interrupted experiment, or with a finished one and more trials."""
    with refusing():
        folder = ExperimentFolder.find(storage, name)
        budget = seconds(time_budget) if time_budget else None
    with _ending(folder, budget), refusing():
        from search.experiment import Where
        from search.experiment import resume as resume_experiment

        where = Where(local, address)
        resume_experiment(folder, where, trials=trials, data=data, retry_failed=retry_failed, say=say)
    _print_ranking(folder)


@app.command()
def branch(
    name: Name,
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="The trial to start from.", show_default=False)],
    at_alpha: Annotated[float, typer.Option(help="At its first epoch with alpha at or below this.")],
    overrides: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE", help="Other than in that trial, e.g. alpha.rate=2.")
    ] = [],  # noqa: B006
    later: Annotated[bool, typer.Option("--later", help="Only record it; `resume` runs it.")] = False,
    data: Annotated[str | None, typer.Option(help="Where the data is, if elsewhere than recorded.")] = None,
    address: Address = None,
    local: Local = False,
    time_budget: TimeBudget = None,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """A new trial from another's checkpoint with other settings; then goes on like `resume`."""
    from search.branching import branch as record_branch
    from search.driver_lock import driving

    with refusing():
        folder = ExperimentFolder.find(storage, name)
        with driving(folder):
            new = record_branch(folder, number, at_alpha=at_alpha, overrides=overrides)
    say(f"trial {new} branches from trial {number}")
    if not later:
        resume(name, data=data, address=address, local=local, time_budget=time_budget, storage=storage)


def _run(
    settings: Settings,
    preset: str,
    name: str | None,
    storage: Path,
    *,
    local: bool,
    address: str | None = None,
    time_budget: str | None = None,
) -> None:
    with refusing():
        budget = seconds(time_budget) if time_budget else None
        folder = new_folder(storage, preset, name)
    with _ending(folder, budget), refusing():
        # Imported here: torch takes seconds that `rank` and `status` should not.
        from search.experiment import Where
        from search.experiment import run as run_experiment

        where = Where(local, address)
        run_experiment(settings, folder, where, preset=preset, say=say)
    _print_ranking(folder)


@contextmanager
def _ending(folder: ExperimentFolder, time_budget: float | None) -> Iterator[None]:
    """Stops what runs inside when it is told to, or its budget of seconds is spent; says how to go on with it."""
    try:
        with interruptible(time_budget):
            import optuna

            # Optuna announces each study, and that grouping a conditional space's parameters is experimental.
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
            yield
    except TrialError as error:
        say(f"alphaprune: {error}")
        raise typer.Exit(1) from error
    except Interruption as error:
        say(f"alphaprune: {error}")
        if not folder.record_path.exists():
            say("nothing had been started")
            raise typer.Exit(error.code) from error
        if error.code == 0:
            _print_ranking(folder, empty_is_failure=False)
        elsewhere = "" if folder.path.parent == DEFAULT_STORAGE else f" --storage {folder.path.parent}"
        say(f"alphaprune resume {folder.path.name}{elsewhere}")
        raise typer.Exit(error.code) from error


def _print_ranking(folder: ExperimentFolder, *, empty_is_failure: bool = True) -> None:
    experiment = _load(folder.path.parent, folder.path.name)
    ranked = experiment.rank()
    _stdout().print(ranking_table(ranked, experiment.dense))
    say(f"experiment: {folder.path}")
    if ranked.empty and empty_is_failure:
        say("alphaprune: no trial completed; `alphaprune status` shows why")
        raise typer.Exit(1)


def _load(storage: Path, name: str) -> analysis.Experiment:
    with refusing():
        experiment = analysis.load(ExperimentFolder.find(storage, name).path)
    for problem in experiment.problems:
        say(f"alphaprune: {problem}")
    return experiment


def _stdout() -> Console:
    # A pipe has no width of its own, and 80 columns would fold the table.
    return Console(width=None if sys.stdout.isatty() else 120, highlight=False)

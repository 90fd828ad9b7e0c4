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
from rich.console import Console

import analysis
from analysis.status import status as status_of
from analysis.status import to_json as status_json
from analysis.status_view import status_view
from analysis.table import ranking_table, to_csv, to_json
from search.settings import Controls, Settings, Space, read_preset, resolve

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
DEFAULT_STORAGE = Path("ray_results")


def main() -> None:
    """The entry point."""
    app()


def say(text: str) -> None:
    """A line for people."""
    typer.echo(text, err=True)


@contextmanager
def refusing() -> Iterator[None]:
    """Turns the ValueError of a request that cannot be met into one line and exit code 2."""
    try:
        yield
    except ValueError as error:
        say(f"alphaprune: {' '.join(str(error).split())}")
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
    address: Annotated[str | None, typer.Option(help="Address of a running Ray cluster; else one is started.")] = None,
    local: Annotated[bool, typer.Option("--local", help="In this process, one trial after another.")] = False,
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
    _run(settings, preset, name, storage, local=local, address=address)


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
    _run(alone, target, name, storage, local=True, address=None)


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


def _run(settings: Settings, preset: str, name: str | None, storage: Path, *, local: bool, address: str | None) -> None:
    # Imported here: torch and ray take seconds that `rank` and `status` should not.
    import optuna

    from search.experiment import Where, new_folder
    from search.experiment import run as run_experiment
    from trainable.training import DivergedError

    # Optuna announces each study, and that grouping the parameters of a conditional space is experimental.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    with refusing():
        folder = new_folder(storage, preset, name)
    try:
        run_experiment(settings, folder, Where(local, address), preset=preset, say=say)
    except DivergedError as error:
        say(f"alphaprune: {error}")
        raise typer.Exit(1) from error
    except ValueError:
        if folder.record_path.exists():
            raise  # it had started, so it is not the request that is wrong
        with refusing():
            raise
    experiment = _load(storage, folder.path.name)
    ranked = experiment.rank()
    _stdout().print(ranking_table(ranked, experiment.dense))
    say(f"experiment: {folder.path}")
    if ranked.empty:
        say("alphaprune: no trial completed; `alphaprune status` shows why")
        raise typer.Exit(1)


def _load(storage: Path, name: str) -> analysis.Experiment:
    from trainable.records import ExperimentFolder

    with refusing():
        experiment = analysis.load(ExperimentFolder.find(storage, name).path)
    for problem in experiment.problems:
        say(f"alphaprune: {problem}")
    return experiment


def _stdout() -> Console:
    # A pipe has no width of its own, and 80 columns would fold the table.
    return Console(width=None if sys.stdout.isatty() else 120, highlight=False)

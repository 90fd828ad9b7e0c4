"""What the commands share: their options, their ways to refuse and to end, and how a ranking is shown."""

import shlex
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console

import analysis
from analysis.terminal.ranking_table import ranking_table
from records.experiment import ExperimentFolder
from search.interruption import Interruption, full_disk_interrupts, interruptible
from search.settings import explain
from trainable.errors import TrialError

app = typer.Typer(
    name="alphaprune",
    help="Searches for the best way to prune a VGG16 by fading channels out with a scalar alpha.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Storage = Annotated[Path, typer.Option(help="Folder that experiments are in.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the experiment in --storage.", show_default=False)]
Set = Annotated[list[str], typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override a setting; repeatable.")]
MovedData = Annotated[str | None, typer.Option("--data", help="Where the data is, if elsewhere than recorded.")]
Concurrency = Annotated[int | None, typer.Option(help="Most trials at once; by default all that fit.")]
GpusPerTrial = Annotated[float | None, typer.Option(help="GPUs of a trial, may be a fraction.")]
Address = Annotated[str | None, typer.Option(help="Address of a running Ray cluster; else one is started.")]
Local = Annotated[bool, typer.Option("--local", help="In this process, one trial after another.")]
TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Write event files to the experiment's tensorboard/.")]
TimeBudget = Annotated[
    str | None, typer.Option(metavar="DURATION", help="Stop after e.g. 90s, 30m, 12h; `resume` goes on.")
]
DEFAULT_STORAGE = Path("ray_results")


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


@contextmanager
def writable(to: Path) -> Iterator[None]:
    """Turns the OSError of what writes to `to` into the ValueError of a request that cannot be met."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError(f"--to must be a place that can be written, but {str(to)!r}: {reason}") from error


@contextmanager
def ending(
    folder: ExperimentFolder, time_budget: float | None = None, *, address: str | None = None, data: str | None = None
) -> Iterator[None]:
    """Stops what runs inside when it is told to, or its budget of seconds is spent; says how to go on with it.

    Args:
        folder: of the experiment.
        time_budget: in seconds, None for no end.
        address: of the cluster that it runs on, if it is none of its own.
        data: where the data is, if elsewhere than recorded.
    """
    try:
        with interruptible(time_budget), full_disk_interrupts():
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
            print_ranking(folder, empty_is_failure=False)
        again = ["alphaprune", "resume", folder.path.name]
        storage = None if folder.path.parent == DEFAULT_STORAGE else str(folder.path.parent)
        for option, value in (("--storage", storage), ("--address", address), ("--data", data)):
            again += [option, value] if value is not None else []
        say(shlex.join(again))
        raise typer.Exit(error.code) from error


def load(storage: Path, name: str) -> analysis.Experiment:
    """The experiment `name`, its problems said."""
    with refusing():
        experiment = analysis.load(ExperimentFolder.find(storage, name).path)
    for problem in experiment.problems:
        say(f"alphaprune: {problem}")
    return experiment


def print_ranking(folder: ExperimentFolder, *, empty_is_failure: bool = True) -> None:
    """The ranking on stdout, and where the experiment is."""
    experiment = load(folder.path.parent, folder.path.name)
    ranked = experiment.rank()
    stdout().print(ranking_table(ranked, experiment.dense, experiment.dense_measure))
    say(f"experiment: {folder.path}")
    if ranked.empty and empty_is_failure:
        say("alphaprune: no trial completed; `alphaprune status` shows why")
        raise typer.Exit(1)


def stdout() -> Console:
    """Where data is printed."""
    # A pipe has no width of its own, and 80 columns would fold the table.
    return Console(width=None if sys.stdout.isatty() else 120, highlight=False)

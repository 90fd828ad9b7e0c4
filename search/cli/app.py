"""What the commands share: their options, their ways to refuse and to end, and how a ranking is shown."""

import logging
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
from rich.text import Text

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


# Messages and progress; one console for both, so that a line does not tear the progress display.
console = Console(stderr=True, highlight=False)
log = logging.getLogger("alphaprune")


class _ConsoleHandler(logging.Handler):
    """Writes what is logged for people to `console`; what is a warning or worse begins with `alphaprune: `."""

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "alphaprune: " if record.levelno >= logging.WARNING else ""
        # As Text, since messages hold texts of others, whose brackets are no markup.
        console.print(Text(f"{prefix}{record.getMessage()}"), soft_wrap=True)


@contextmanager
def logging_to_console() -> Iterator[None]:
    """Shows what the project logs, from INFO on."""
    handler, level, propagate = _ConsoleHandler(), log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate


@app.callback()
def _show_log(context: typer.Context) -> None:
    context.with_resource(logging_to_console())


@contextmanager
def refusing() -> Iterator[None]:
    """Turns the ValueError of a request that cannot be met into one line and exit code 2."""
    try:
        yield
    except ValueError as error:
        text = explain(error) if isinstance(error, ValidationError) else str(error)
        log.error("%s", " ".join(text.split()))
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
        with interruptible(time_budget), full_disk_interrupts(), _quiet_optuna():
            yield
    except TrialError as error:
        log.error("%s", error)
        raise typer.Exit(1) from error
    except Interruption as error:
        log.error("%s", error)
        if not folder.record_path.exists():
            log.info("nothing had been started")
            raise typer.Exit(error.code) from error
        if error.code == 0:
            print_ranking(folder, empty_is_failure=False)
        again = ["alphaprune", "resume", folder.path.name]
        storage = None if folder.path.parent == DEFAULT_STORAGE else str(folder.path.parent)
        for option, value in (("--storage", storage), ("--address", address), ("--data", data)):
            again += [option, value] if value is not None else []
        log.info("%s", shlex.join(again))
        raise typer.Exit(error.code) from error


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Without Optuna's word on each study, and that grouping a conditional space's parameters is experimental."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def load(storage: Path, name: str) -> analysis.Experiment:
    """The experiment `name`, its problems said."""
    with refusing():
        experiment = analysis.load(ExperimentFolder.find(storage, name).path)
    for problem in experiment.problems:
        log.warning("%s", problem)
    return experiment


def print_ranking(folder: ExperimentFolder, *, empty_is_failure: bool = True) -> analysis.Experiment:
    """The ranking on stdout, and where the experiment is; returns it as it was loaded for that."""
    experiment = load(folder.path.parent, folder.path.name)
    ranked = experiment.rank()
    stdout().print(ranking_table(ranked, experiment.dense, experiment.dense_measure))
    log.info("experiment: %s", folder.path)
    if ranked.empty and empty_is_failure:
        log.error("no trial completed; `alphaprune status` shows why")
        raise typer.Exit(1)
    return experiment


def stdout() -> Console:
    """Where data is printed."""
    # A pipe has no width of its own, and 80 columns would fold the table.
    return Console(width=None if sys.stdout.isatty() else 120, highlight=False)

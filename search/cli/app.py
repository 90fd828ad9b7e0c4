"""What the commands share: options, refusals, graceful ends, and the display of a ranking."""

import logging
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from analysis.text import format_count, replace_controls
from records.driver import DEFAULT_STORAGE, Command, format_command
from records.experiment import ExperimentFolder
from search.console_log import logging_to_console
from search.interruption import Interruption, allow_interruption, interrupt_on_full_disk, last_words
from search.preset_files import list_presets
from trainable.errors import LostError, TrialError

# The commands import what they need when they are called: none of it may delay help, completion or each other.
if TYPE_CHECKING:
    from analysis import Experiment

app = typer.Typer(
    name="alphaprune",
    help="Searches for the best way to prune a convolutional network by fading channels out with a scalar alpha.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def complete_names(context: typer.Context, incomplete: str) -> list[str]:
    """The experiments in the storage whose names begin with `incomplete`, for a shell's completion."""
    paths = Path(context.params.get("storage") or DEFAULT_STORAGE).glob("*/experiment.json")
    return sorted(path.parent.name for path in paths if path.parent.name.startswith(incomplete))


def complete_presets(incomplete: str) -> list[str]:
    """The shipped presets and the TOML files of the current folder whose names begin with `incomplete`."""
    names = (*list_presets(), *(path.name for path in Path().glob("*.toml")))
    return [name for name in names if name.startswith(incomplete)]


Storage = Annotated[Path, typer.Option(metavar="FOLDER", help="Folder that holds the experiments.")]
Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="Name of an experiment in --storage.", show_default=False, autocompletion=complete_names
    ),
]
Set = Annotated[
    list[str],
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override a setting (see `settings`); repeatable."),
]
MovedData = Annotated[
    str | None, typer.Option("--data", metavar="DATA", help="New location of the data, if it has moved.")
]
Concurrency = Annotated[
    int | None, typer.Option(metavar="NUMBER", help="Maximum number of concurrent trials (default: as many as fit).")
]
GpusPerTrial = Annotated[float | None, typer.Option(metavar="NUMBER", help="GPUs per trial; may be a fraction.")]
Address = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Address of a running Ray cluster (default: start one here).")
]
Local = Annotated[bool, typer.Option("--local", help="Run in this process, one trial after another, without Ray.")]
TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Write event files to the experiment's tensorboard/.")]
MLflow = Annotated[bool, typer.Option("--mlflow", help="Log to MLflow, one run per trial (alphaprune[mlflow]).")]
Wandb = Annotated[bool, typer.Option("--wandb", help="Log to Weights & Biases, one run per trial (alphaprune[wandb]).")]
OnEnd = Annotated[
    str | None, typer.Option(metavar="CMD", help="Shell command to run when the search has ended, however it ended.")
]
TimeBudget = Annotated[
    str | None, typer.Option(metavar="DURATION", help="Stop after 90s, 30m, 12h etc.; `resume` continues.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan and how long it takes; start nothing.")]
# How much of a ranking is shown where nobody asked for it.
SHOWN_TRIALS = 20


# Messages and progress; one console for both, so that a line does not tear the progress display.
console = Console(stderr=True, highlight=False)
log = logging.getLogger("alphaprune")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"alphaprune {version('alphaprune')}")
        raise typer.Exit


@app.callback()
def _show_log(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    context.with_resource(logging_to_console(console))


@contextmanager
def refuse_invalid_requests() -> Iterator[None]:
    """Turns the ValueError of an invalid request into one line and exit code 2."""
    try:
        yield
    except ValueError as error:
        from pydantic import ValidationError

        from search.settings import explain_invalid

        text = explain_invalid(error) if isinstance(error, ValidationError) else str(error)
        log.error("%s", " ".join(text.split()))
        raise typer.Exit(2) from error


@contextmanager
def refuse_unwritable(to: Path) -> Iterator[None]:
    """Turns an OSError from writing to `to` into the ValueError of an invalid request."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError(f"--to must be writable, but got {str(to)!r}: {reason}") from error


@contextmanager
def end_gracefully(
    folder: ExperimentFolder, command: Command, options: Sequence[str], time_budget: float | None = None
) -> Iterator[None]:
    """Stops what runs inside on a signal or when the time budget runs out, and says how to resume it.

    Args:
        folder: of the experiment.
        command, options: what resumes it.
        time_budget: in seconds; None for no limit.
    """

    def say_how_to_resume(error: Interruption) -> None:
        log.error("%s", error)
        if not folder.record_path.exists():
            log.info("nothing has been started")
            return
        if error.code == 0:
            with suppress(typer.Exit):  # the ranking cannot be shown, as has been logged
                print_ranking(folder, empty_is_failure=False)
        if error.can_resume:
            log.info("%s", format_command(folder, command, options))

    def say_last_words(error: Interruption) -> None:
        own = threading.get_ident()
        log.addFilter(lambda record: record.thread == own)  # nobody should read what the main thread still does
        say_how_to_resume(error)
        console.show_cursor()  # which the progress display hides

    from analysis.optuna_study import quiet_optuna

    try:
        with (
            last_words(say_last_words),
            allow_interruption(time_budget),
            interrupt_on_full_disk(),
            quiet_optuna(),
        ):
            yield
    except TrialError as error:
        log.error("%s", error)
        if isinstance(error, LostError) and folder.record_path.exists():
            log.info("%s", format_command(folder, command, options))
        raise typer.Exit(1) from error
    except OSError as error:
        log.error("%s cannot be used: %s", error.filename or folder.path, error.strerror or error)
        log.debug("where it was used", exc_info=error)
        if folder.record_path.exists():
            log.info("%s", format_command(folder, command, options))
        raise typer.Exit(1) from error
    except Interruption as error:
        say_how_to_resume(error)
        raise typer.Exit(error.code) from error


def locate_data(data: str | None) -> str | None:
    """The option --data for a command that may be run in another folder."""
    return str(Path(data).resolve()) if data is not None and Path(data).is_dir() else data


def load_experiment(storage: Path, name: str) -> "Experiment":
    """The experiment `name`; logs its problems as warnings."""
    from analysis import load

    with refuse_invalid_requests():
        experiment = load(ExperimentFolder.find(storage, name).path)
    for problem in experiment.problems:
        log.warning("%s", problem)
    return experiment


def print_ranking(folder: ExperimentFolder, *, empty_is_failure: bool = True) -> "Experiment":
    """Prints the first of the ranking to stdout and logs the experiment's folder; returns the experiment."""
    from analysis.terminal.ranking_table import ranking_table

    experiment = load_experiment(folder.path.parent, folder.path.name)
    ranked = experiment.rank()
    output_console().print(ranking_table(ranked.head(SHOWN_TRIALS), experiment.dense, experiment.dense_measure))
    if len(ranked) > SHOWN_TRIALS:
        command = format_command(folder, "rank")
        log.info("the first %d of %s; all of them: %s", SHOWN_TRIALS, format_count(len(ranked), "trial"), command)
    log.info("experiment: %s", folder.path)
    if ranked.empty and empty_is_failure:
        log.error("no trial completed; `alphaprune status` shows why")
        raise typer.Exit(1)
    return experiment


def print_data(text: str) -> None:
    """Prints `text` to stdout: as it is for a program, with control characters made visible on a terminal."""
    # typer.echo would take escapes out of what a program reads.
    sys.stdout.write(replace_controls(text) if sys.stdout.isatty() else text)


def output_console() -> Console:
    """The console for data: stdout."""
    # A pipe has no width of its own, and 80 columns would wrap the table.
    return Console(width=None if sys.stdout.isatty() else 120, highlight=False)

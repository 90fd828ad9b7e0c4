"""The commands on experiments as wholes: compare, remove."""

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from analysis.text import format_count
from records.driver import DEFAULT_STORAGE
from records.experiment import ExperimentFolder
from records.files import name_aside
from search.cli.app import (
    Name,
    Storage,
    app,
    complete_names,
    load_experiment,
    log,
    print_data,
    refuse_invalid_requests,
)


@app.command()
def compare(
    name: Name,
    other: Annotated[
        str,
        typer.Argument(
            metavar="OTHER", help="Name of the other experiment.", show_default=False, autocompletion=complete_names
        ),
    ],
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Show how two experiments differ.

    Shows the settings, data and versions that differ, the best trial of each, the Pareto front of both together, and
    the differences between trials that are the same in both.
    """
    with refuse_invalid_requests():
        for each in (name, other):  # before either is read, which takes time
            ExperimentFolder.find(storage, each)
        if name == other:
            raise ValueError(f"OTHER must be another experiment, but got {name!r} twice")
    experiments = [load_experiment(storage, each) for each in (name, other)]
    from analysis import diff

    print_data(f"{diff(*experiments)}\n")


@app.command()
def remove(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Remove an experiment, after asking.

    This cannot be undone. An experiment that is running is not removed.
    """
    from search.setup.driver_lock import hold_driver_lock

    with refuse_invalid_requests():
        folder = _find_own_folder(storage, name)
        if not yes and not sys.stdin.isatty():
            raise ValueError(f"--yes is needed to remove {name!r} where nobody can be asked")
        if not yes:
            trials = format_count(len(folder.trial_names()), "trial")
            if not typer.confirm(f"Remove {folder.path}, with {trials} ({_count_megabytes(folder.path)})?", err=True):
                log.info("nothing has been removed")
                raise typer.Exit(1)
        with hold_driver_lock(folder):
            aside = name_aside(folder.path)
            folder.path.rename(aside)  # so that nobody finds half an experiment
            (aside / folder.record_path.name).unlink()  # nor when this is interrupted
            shutil.rmtree(aside)
    log.info("removed: %s", folder.path)


def _find_own_folder(storage: Path, name: str) -> ExperimentFolder:
    """The experiment `name`; raises ValueError if it is anything but a folder in `storage`, and not a link."""
    folder = ExperimentFolder.find(storage, name)
    if Path(name).name != name or folder.path.is_symlink():
        raise ValueError(f"NAME must be the name of a folder in --storage to be removed, but got {name!r}")
    return folder


def _count_megabytes(path: Path) -> str:
    size_bytes = sum(file.lstat().st_size for file in path.rglob("*") if file.is_file())
    return f"{size_bytes / 1e6:,.1f} MB"

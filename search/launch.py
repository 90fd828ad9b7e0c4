"""How a search starts and continues: the one path of the command line and of `import alphaprune`."""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from analysis.text import format_count, format_percent, format_share, printable
from records.driver import format_command, format_options
from records.experiment import ExperimentFolder
from search.interruption import Interruption, last_words

if TYPE_CHECKING:
    from search.backends.base import Backend
    from search.observers.observer import EndState, SearchObserver
    from search.settings import Settings

log = logging.getLogger("alphaprune")


@dataclass(frozen=True)
class SearchPlace:
    """Where a search runs and what observes it, according to the options.

    on_end: a shell command (search.observers.end_command).
    """

    local: bool = False
    address: str | None = None
    tensorboard: bool = False
    concurrency: int | None = None
    gpus_per_trial: float | None = None
    mlflow: bool = False
    wandb: bool = False
    on_end: str | None = None

    def list_options(self, **others: object) -> tuple[str, ...]:
        """The options that continue a search here."""
        return format_options(
            address=self.address,
            **others,
            concurrency=self.concurrency,
            gpus_per_trial=self.gpus_per_trial,
            local=self.local,
            tensorboard=self.tensorboard,
            mlflow=self.mlflow,
            wandb=self.wandb,
            on_end=self.on_end,
        )

    def create_backend(self, *, dry_run: bool = False) -> "Backend":
        """Where the search runs; for a dry run, no cluster is started."""
        # Imported here, as below: importing torch takes seconds, and `rank` and `status` should not.
        from search.backends.local import LocalBackend
        from search.backends.ray.backend import RayBackend, UnstartedCluster

        if dry_run and self.address is None and not self.local:
            return UnstartedCluster()
        return LocalBackend() if self.local else RayBackend(self.address)

    def create_observers(
        self, folder: ExperimentFolder, settings: "Settings", console: Console | None
    ) -> "list[SearchObserver]":
        """What the options ask for.

        Args:
            console: where progress is shown; None for nowhere.

        Raises:
            ValueError: if a package that one of them needs is not installed.
        """
        from search.observers.end_command import EndCommand
        from search.observers.mlflow import MLflowCallback
        from search.observers.observer import GuardedCallback
        from search.observers.progress import ProgressDisplay
        from search.observers.tensorboard import FOLDER_NAME as TENSORBOARD_FOLDER
        from search.observers.tensorboard import TensorBoardFiles
        from search.observers.wandb import WandbCallback

        observers: list[SearchObserver] = [] if console is None else [ProgressDisplay(settings, console)]
        if self.tensorboard or (folder.path / TENSORBOARD_FOLDER).is_dir():  # from before it was interrupted
            observers.append(TensorBoardFiles(folder))
        observers += [GuardedCallback(MLflowCallback())] if self.mlflow else []
        observers += [GuardedCallback(WandbCallback())] if self.wandb else []
        return observers + ([EndCommand(self.on_end)] if self.on_end else [])


def name_settings(
    trials: int | None, data: str | None, width: float | None, concurrency: int | None, gpus_per_trial: float | None
) -> dict[str, Any]:
    """The settings that have an option of their own, by section.key; those that were not given are left out."""
    named = {
        "search.trials": trials,
        "data.source": data,
        "dense.width": width,
        "resources.concurrency": concurrency,
        "resources.gpus_per_trial": gpus_per_trial,
    }
    return {key: value for key, value in named.items() if value is not None}


def start_search(
    settings: "Settings",
    folder: ExperimentFolder,
    place: SearchPlace,
    *,
    preset: str,
    console: Console | None,
    callbacks: "Sequence[SearchObserver]" = (),
) -> Path | None:
    """Runs a new experiment, its measurements included, and writes its report if the settings say so.

    Args:
        settings: resolved.
        folder: from find_free_folder.
        place: where it runs.
        preset: the name that the user gave, for the record.
        console: where progress is shown; None for nowhere.
        callbacks: are told what happens.

    Returns:
        The report; None without one.

    Raises: as search.experiment.run.
    """
    from analysis.optuna_study import quiet_optuna
    from search.experiment import run

    with quiet_optuna(), _tell_end(folder, place.create_observers(folder, settings, console), callbacks) as observers:
        run(settings, folder, place.create_backend(), preset=preset, options=place.list_options(), observers=observers)
        return _write_report(folder)


def continue_search(
    folder: ExperimentFolder,
    place: SearchPlace,
    *,
    options: Sequence[str],
    console: Console | None,
    callbacks: "Sequence[SearchObserver]" = (),
    **how: Any,
) -> Path | None:
    """Continues an experiment and writes its report again.

    Args:
        folder: of the experiment.
        options: that `resume` needs to continue it in the same place, for the record.
        how: arguments of search.experiment.resume.

    All else, and what is returned, as in start_search. Raises: as search.experiment.resume.
    """
    from analysis.optuna_study import quiet_optuna
    from search.experiment import resume
    from search.setup.validation import recorded_settings

    settings = recorded_settings(folder, folder.read_record())
    with quiet_optuna(), _tell_end(folder, place.create_observers(folder, settings, console), callbacks) as observers:
        resume(folder, place.create_backend(), options=options, observers=observers, **how)
        return _write_report(folder)


def announce_folder(folder: ExperimentFolder, wanted: str) -> None:
    """Logs where the experiment is, and how an older one of the name that was wanted is continued instead."""
    log.info("experiment: %s", folder.path)
    if folder.path.name != wanted:
        resume = format_command(ExperimentFolder(folder.path.with_name(wanted)), "resume")
        log.info("%r already exists, so this is a new experiment; to continue the existing one: %s", wanted, resume)


def _write_report(folder: ExperimentFolder) -> Path | None:
    import analysis

    experiment = analysis.load(folder.path)
    if not experiment.settings.get("results", {}).get("report", True):
        return None
    from analysis.report import write_report

    try:
        return write_report(experiment)
    except OSError as error:  # everything else has succeeded
        log.error("the report could not be written: %s", error.strerror or error)
        return None


@contextmanager
def _tell_end(
    folder: ExperimentFolder, own: "Sequence[SearchObserver]", callbacks: "Sequence[SearchObserver]"
) -> "Iterator[list[SearchObserver]]":
    """Tells the observers how the search ended once it has started: whether it finishes, fails or is interrupted."""
    from search.observers.observer import ExperimentEnd, GuardedCallback, Observers, SearchObserver, SearchStart

    class StartWatch(SearchObserver):
        has_started = False

        def search_started(self, start: SearchStart) -> None:
            self.has_started = True

    watch = StartWatch()
    observers = [watch, *own, *map(GuardedCallback, callbacks)]
    ending = threading.Lock()  # the main thread continues while a signal's last words are said

    def end(state: "EndState", reason: str = "") -> None:
        if watch.has_started and ending.acquire(blocking=False):
            summary = _summarize_end(folder, state, reason)
            Observers(observers).experiment_ended(ExperimentEnd(folder, state, summary))

    def end_interrupted(interruption: Interruption) -> None:
        end("failed" if interruption.code == 1 else "interrupted", str(interruption))

    try:
        with last_words(end_interrupted):
            yield observers
    except Interruption as interruption:
        end_interrupted(interruption)
        raise
    except KeyboardInterrupt:
        end("interrupted", "interrupted from the keyboard")
        raise
    except BaseException as error:
        end("failed", f"{error}" or type(error).__name__)
        raise
    end("finished")


def _summarize_end(folder: ExperimentFolder, state: "EndState", reason: str) -> str:
    """How a search ended, in one line."""
    words = f"{folder.path.name} {'was interrupted' if state == 'interrupted' else state}"
    if state != "finished":
        return printable(f"{words}: {reason.removeprefix('interrupted by ')}")
    import analysis

    experiment = analysis.load(folder.path)
    words += f": {format_count(len(experiment.trials), 'trial')}"
    if experiment.ranked.empty:
        return f"{words}, none of which is complete"
    best = experiment.ranked.iloc[0]
    accuracy, cut = format_percent(best["pruned_val_accuracy"]), format_share(best["mac_sparsity"])
    return f"{words}, the best is trial {best.name} with a validation accuracy of {accuracy} and {cut} fewer MACs"

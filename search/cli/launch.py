"""How the commands start and continue a search: its place, its end, and what is shown afterwards."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from records.driver import format_command, format_options
from records.experiment import ExperimentFolder
from search.cli.app import console, end_gracefully, locate_data, log, print_ranking, refuse_invalid_requests
from search.interruption import parse_duration

if TYPE_CHECKING:
    from search.backends.base import Backend
    from search.observers.observer import SearchObserver
    from search.settings import Settings


@dataclass(frozen=True)
class SearchPlace:
    """Where a search runs and what observes it, according to the options."""

    local: bool = False
    address: str | None = None
    tensorboard: bool = False
    concurrency: int | None = None
    gpus_per_trial: float | None = None

    def list_options(self, **others: object) -> tuple[str, ...]:
        """The options that continue a search here."""
        return format_options(
            address=self.address,
            **others,
            concurrency=self.concurrency,
            gpus_per_trial=self.gpus_per_trial,
            local=self.local,
            tensorboard=self.tensorboard,
        )

    def create_backend(self, *, dry_run: bool = False) -> "Backend":
        """Where the search runs; for a dry run, no cluster is started."""
        # Imported here, as below: importing torch takes seconds, and `rank` and `status` should not.
        from search.backends.local import LocalBackend
        from search.backends.ray.backend import RayBackend, UnstartedCluster

        if dry_run and self.address is None and not self.local:
            return UnstartedCluster()
        return LocalBackend() if self.local else RayBackend(self.address)

    def create_observers(self, folder: ExperimentFolder, settings: "Settings") -> "list[SearchObserver]":
        from search.observers.progress import ProgressDisplay
        from search.observers.tensorboard import FOLDER_NAME as TENSORBOARD_FOLDER
        from search.observers.tensorboard import TensorBoardFiles

        wanted = self.tensorboard or (folder.path / TENSORBOARD_FOLDER).is_dir()  # from before it was interrupted
        files = [TensorBoardFiles(folder)] if wanted else []
        return [ProgressDisplay(settings, console), *files]


def run_search(
    settings: "Settings",
    preset: str,
    name: str | None,
    storage: Path,
    place: SearchPlace,
    time_budget: str | None = None,
    *,
    dry_run: bool = False,
) -> None:
    with refuse_invalid_requests():
        from search.setup.creation import find_free_folder

        budget = parse_duration(time_budget) if time_budget else None
        folder = find_free_folder(storage, preset, name)
    _announce_folder(folder, name or Path(preset).stem)
    if dry_run:
        with refuse_invalid_requests():
            from search.dry_run import show_run

            show_run(settings, folder, place.create_backend(dry_run=True))
        return
    options = place.list_options()
    with end_gracefully(folder, "resume", options, budget), refuse_invalid_requests():
        from search.experiment import run as run_experiment

        observers = place.create_observers(folder, settings)
        backend = place.create_backend()
        run_experiment(settings, folder, backend, preset=preset, options=options, observers=observers)
    _show_results(folder)


def _announce_folder(folder: ExperimentFolder, wanted: str) -> None:
    log.info("experiment: %s", folder.path)
    if folder.path.name != wanted:
        resume = format_command(ExperimentFolder(folder.path.with_name(wanted)), "resume")
        log.info("it is a new one, since %r exists; to continue that: %s", wanted, resume)


def resume_search(
    folder: ExperimentFolder,
    place: SearchPlace,
    time_budget: str | None,
    *,
    data: str | None,
    dry_run: bool = False,
    **how: Any,
) -> None:
    with refuse_invalid_requests():
        budget = parse_duration(time_budget) if time_budget else None
    _announce_folder(folder, folder.path.name)
    if dry_run:
        with refuse_invalid_requests():
            from search.dry_run import show_resume

            show_resume(folder, place.create_backend(dry_run=True), data=data, **how)
        return
    options = place.list_options(data=locate_data(data), trials=how.get("trials"))
    with end_gracefully(folder, "resume", options, budget), refuse_invalid_requests():
        from search.experiment import resume as resume_experiment
        from search.setup.validation import recorded_settings

        observers = place.create_observers(folder, recorded_settings(folder, folder.read_record()))
        backend = place.create_backend()
        resume_experiment(folder, backend, data=data, options=options, observers=observers, **how)
    _show_results(folder)


def _show_results(folder: ExperimentFolder) -> None:
    """Prints the ranking, and writes the report if the settings say so."""
    experiment = print_ranking(folder)
    if experiment.settings.get("results", {}).get("report", True):
        from analysis.report import write_report

        try:
            log.info("report: %s", write_report(experiment))
        except OSError as error:  # everything else has succeeded
            log.error("the report could not be written: %s", error.strerror or error)

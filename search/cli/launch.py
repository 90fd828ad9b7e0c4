"""How the commands start and continue a search: what ends it, and what is shown afterwards."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from records.experiment import ExperimentFolder
from search.cli.app import console, end_gracefully, locate_data, log, print_ranking, refuse_invalid_requests
from search.interruption import parse_duration
from search.launch import SearchPlace, announce_folder, continue_search, start_search

if TYPE_CHECKING:
    from search.settings import Settings


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
    announce_folder(folder, name or Path(preset).stem)
    if dry_run:
        with refuse_invalid_requests():
            from search.dry_run import show_run

            show_run(settings, folder, place.create_backend(dry_run=True))
        return
    with end_gracefully(folder, "resume", place.list_options(), budget), refuse_invalid_requests():
        report = start_search(settings, folder, place, preset=preset, console=console)
    _show_results(folder, report)


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
    announce_folder(folder, folder.path.name)
    if dry_run:
        with refuse_invalid_requests():
            from search.dry_run import show_resume

            show_resume(folder, place.create_backend(dry_run=True), data=data, **how)
        return
    options = place.list_options(data=locate_data(data), trials=how.get("trials"))
    with end_gracefully(folder, "resume", options, budget), refuse_invalid_requests():
        report = continue_search(folder, place, options=options, console=console, data=data, **how)
    _show_results(folder, report)


def _show_results(folder: ExperimentFolder, report: Path | None) -> None:
    """Prints the ranking, and names the report."""
    print_ranking(folder)
    if report is not None:
        log.info("report: %s", report)

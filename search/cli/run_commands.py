"""The commands that compute trials or try their space out: run, trial, resume, branch, confirm, check."""

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from records.driver import DEFAULT_STORAGE
from records.experiment import ExperimentFolder
from search.cli.app import (
    Address,
    Concurrency,
    DryRun,
    GpusPerTrial,
    Local,
    MLflow,
    MovedData,
    Name,
    OnEnd,
    Set,
    Storage,
    TensorBoard,
    TimeBudget,
    Wandb,
    app,
    complete_names,
    complete_presets,
    console,
    log,
    print_data,
    refuse_invalid_requests,
)
from search.cli.launch import resume_search, run_search
from search.launch import SearchPlace, name_settings
from search.preset_files import read_preset, summarize_presets

if TYPE_CHECKING:
    from search.followups.recompute import Recomputation

# As paragraphs, which are wrapped to the terminal's width.
PRESETS = "\n\n".join(["Shipped presets:", *(f"{name} - {summary}" for name, summary in summarize_presets().items())])


@app.command(epilog=PRESETS)
def run(
    preset: Annotated[
        str,
        typer.Argument(
            metavar="PRESET", help="Name of a shipped preset, or a TOML file.", autocompletion=complete_presets
        ),
    ],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the experiment (default: the preset's name).")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="Number of trials, besides the controls.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="digits, cifar10, cifar100, or a folder (Parquet or ImageFolder)."),
    ] = None,
    width: Annotated[
        float | None, typer.Option(metavar="FACTOR", help="Width of the dense network; 1 is as published.")
    ] = None,
    concurrency: Concurrency = None,
    gpus_per_trial: GpusPerTrial = None,
    address: Address = None,
    local: Local = False,
    tensorboard: TensorBoard = False,
    mlflow: MLflow = False,
    wandb: Wandb = False,
    on_end: OnEnd = None,
    time_budget: TimeBudget = None,
    dry_run: DryRun = False,
    overrides: Set = [],  # noqa: B006  typer reads the default and makes a new list
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Run a search and print the ranking.

    Trains the dense network, runs the controls and the trials, measures the best, and writes the report.
    """
    from search.settings import resolve_settings

    with refuse_invalid_requests():
        named = name_settings(trials, data, width, concurrency, gpus_per_trial)
        settings = resolve_settings(read_preset(preset), overrides, named)
    place = SearchPlace(local, address, tensorboard, concurrency, gpus_per_trial, mlflow, wandb, on_end)
    run_search(settings, preset, name, storage, place, time_budget, dry_run=dry_run)


@app.command()
def trial(
    target: Annotated[
        str,
        typer.Argument(
            metavar="NAME|CONFIG.toml", help="Name of an experiment, or a TOML file.", autocompletion=complete_names
        ),
    ],
    number: Annotated[int | None, typer.Argument(metavar="NUMBER", help="Number of the trial to recompute.")] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA", help="New location of the data, if it has moved; for CONFIG.toml, the data to use."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="CONFIG.toml only: name of the new experiment.")
    ] = None,
    overrides: Set = [],  # noqa: B006
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Run or recompute one trial in this process.

    NAME NUMBER: recomputes a recorded trial, prints its rows as lines of JSON and says whether they are the same as
    recorded, down to the last bit; writes nothing.

    CONFIG.toml: runs the file's [trial] as an experiment of its own, without controls.
    """
    if number is not None:
        from search.followups.recompute import recompute_trial

        with refuse_invalid_requests():
            if overrides or name:
                raise ValueError("--set and --name are for CONFIG.toml only; a recorded trial is recomputed as it was")
            again = recompute_trial(ExperimentFolder.find(storage, target), number, data=data)
        _print_recomputation(again)
        return
    from search.settings import ConfirmationSettings, ControlSettings, SpaceSettings, resolve_settings

    with refuse_invalid_requests():
        if not target.endswith(".toml"):
            raise ValueError(f"give the NUMBER of a trial in {target!r}, or a TOML file")
        settings = resolve_settings(read_preset(target), overrides, {} if data is None else {"data.source": data})
    alone = replace(
        settings,
        space=SpaceSettings("spaces.fixed:fixed"),
        controls=ControlSettings(kinds=()),
        confirm=ConfirmationSettings(),
        search=replace(settings.search, trials=1),
    )
    run_search(alone, target, name, storage, SearchPlace(local=True))


def _print_recomputation(again: "Recomputation") -> None:
    """Prints the rows as they come, and whether they are as recorded; exit code 1 if they differ without a reason."""
    from rich.progress import track

    from search.followups.recompute import find_difference

    rows, is_shown = [], sys.stdout.isatty()  # a terminal shows the progress first
    for row in track(
        again.rows, "recomputing", again.epochs, console=console, transient=True, disable=not console.is_terminal
    ):
        rows.append(row)
        if not is_shown:
            print_data(f"{json.dumps(row.as_values())}\n")
    if is_shown:
        print_data("".join(f"{json.dumps(row.as_values())}\n" for row in rows))
    if not again.recorded:
        log.info("same as recorded: not known, since no epoch is recorded")
        return
    difference = find_difference(again.recorded, rows)
    if difference is None:
        log.info("same as recorded: yes, %d of %d epochs", len(again.recorded), again.epochs)
    elif again.elsewhere:
        log.info("same as recorded: no, %s; it was recorded elsewhere (%s)", difference, again.elsewhere)
    else:
        log.error("same as recorded: no, %s", difference)
        raise typer.Exit(1)


@app.command()
def resume(
    name: Name,
    trials: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="New total number of trials, besides the controls.")
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed trials again.")] = False,
    data: MovedData = None,
    concurrency: Concurrency = None,
    gpus_per_trial: GpusPerTrial = None,
    address: Address = None,
    local: Local = False,
    tensorboard: TensorBoard = False,
    mlflow: MLflow = False,
    wandb: Wandb = False,
    on_end: OnEnd = None,
    time_budget: TimeBudget = None,
    dry_run: DryRun = False,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Continue an interrupted experiment, or extend a finished one."""
    with refuse_invalid_requests():
        folder = ExperimentFolder.find(storage, name)
    resources = {"concurrency": concurrency, "gpus_per_trial": gpus_per_trial}
    resume_search(
        folder,
        SearchPlace(local, address, tensorboard, concurrency, gpus_per_trial, mlflow, wandb, on_end),
        time_budget,
        trials=trials,
        resources={key: value for key, value in resources.items() if value is not None},
        data=data,
        retry_failed=retry_failed,
        dry_run=dry_run,
    )


@app.command()
def branch(
    name: Name,
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="Number of the parent trial.", show_default=False)],
    at_alpha: Annotated[
        float, typer.Option(metavar="ALPHA", help="Start at the parent's first epoch with alpha at or below this.")
    ],
    overrides: Annotated[
        list[str],
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting of the parent, e.g. alpha.rate=2."),
    ] = [],  # noqa: B006
    later: Annotated[bool, typer.Option("--later", help="Only record the branch; `resume` runs it.")] = False,
    data: MovedData = None,
    address: Address = None,
    local: Local = False,
    time_budget: TimeBudget = None,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Start a new trial from another trial's checkpoint.

    Its settings differ from there on. The experiment then continues as with `resume`.
    """
    from search.followups.branch import plan_branch
    from search.setup.creation import add_trials
    from search.setup.driver_lock import hold_driver_lock

    with refuse_invalid_requests():
        folder = ExperimentFolder.find(storage, name)
        new = plan_branch(folder, number, at_alpha=at_alpha, overrides=overrides)
        if later:
            with hold_driver_lock(folder):
                add_trials(folder, [new])
    log.info("trial %d branches from trial %d", new.record.number, number)
    if not later:
        resume_search(folder, SearchPlace(local, address), time_budget, data=data, new=[new])


@app.command()
def confirm(
    name: Name,
    top: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER",
            help="Number of trials to repeat, the best at each amount cut in turn (default: 3, or one per amount if "
            "there are more amounts). All controls are repeated, too.",
            min=1,
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(metavar="NUMBER", help="Number of additional seeds for each.")] = 3,
    data: MovedData = None,
    address: Address = None,
    local: Local = False,
    time_budget: TimeBudget = None,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Repeat the best trials with other seeds, and without a fade.

    The controls are repeated, too. The ranking then uses the means over the seeds. A trial with an alpha phase is also
    run without it, with as many epochs and with as much training compute: these twins say what the fade itself does.
    The experiment continues as with `resume`.
    """
    from search.followups.confirm import plan_confirmation
    from search.setup.creation import NewTrial

    with refuse_invalid_requests():
        folder = ExperimentFolder.find(storage, name)
        planned = plan_confirmation(folder, top=top, seeds=seeds)
    log.info("%s", planned)
    new = [NewTrial(record) for record in planned.records]
    resume_search(folder, SearchPlace(local, address), time_budget, data=data, new=new)


@app.command()
def check(
    preset: Annotated[str, typer.Argument(metavar="PRESET", help="Name of a shipped preset, or a TOML file.")],
    samples: Annotated[int, typer.Option(metavar="NUMBER", help="Number of trials to draw at random.", min=1)] = 100,
    overrides: Set = [],  # noqa: B006
) -> None:
    """Try out the space of a preset.

    Draws trials at random, checks each, and says how many are distinct and which choices were never drawn. Trains
    nothing; the first trial that is not valid is shown, with exit code 2.
    """
    from search.settings import resolve_settings

    with refuse_invalid_requests():
        settings = resolve_settings(read_preset(preset), overrides)
        from search.space_check import sample_space

        print_data(f"{sample_space(settings, samples)}\n")

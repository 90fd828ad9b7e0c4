"""What `import alphaprune` offers: the commands as functions that return experiments and raise exceptions.

A ValueError is a bad request, and nothing has been started then. Everything else that ends a search early is a
RuntimeError or an OSError, and Ctrl-C a KeyboardInterrupt; `resume` then continues it.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

import analysis
from analysis.experiment import Experiment
from analysis.tables.loader import AnyPath, expand_home, find_path
from records.driver import DEFAULT_STORAGE, format_options
from records.experiment import ExperimentFolder
from search.console_log import logging_to_console
from search.interruption import Interruption
from search.launch import SearchPlace, announce_folder, continue_search, name_settings, start_search
from search.preset_files import read_preset
from search.settings import Settings, as_settings_json, resolve_settings
from trainable.config import DataConfig, DenseConfig, OptimizerConfig, TrialConfig

if TYPE_CHECKING:
    import pandas as pd

    from search.observers.observer import SearchObserver
    from search.space_check import SpaceSamples
    from trainable.data.dataset import Data

# The dense network of run_trial unless another is given: half a minute on two CPU cores, and good enough to be pruned.
QUICK_DENSE = DenseConfig(width=0.25, epochs=3, peak=0.05, optimizer=OptimizerConfig(batch_size=64))


class SearchInterruptedError(RuntimeError):
    """A search had to stop early, such as for a full disk; `resume` continues it."""


def run(
    preset: AnyPath | Settings,
    *,
    name: str | None = None,
    storage: AnyPath = DEFAULT_STORAGE,
    trials: int | None = None,
    data: AnyPath | None = None,
    width: float | None = None,
    concurrency: int | None = None,
    gpus_per_trial: float | None = None,
    address: str | None = None,
    local: bool = False,
    tensorboard: bool = False,
    on_end: str | None = None,
    callbacks: "Sequence[SearchObserver]" = (),
    progress: bool = True,
    **settings: Any,
) -> Experiment:
    """Runs a search, as `alphaprune run` does, and returns its experiment.

        alphaprune.run("quickstart", trials=4, local=True, **{"trial.epochs": 3})

    Args:
        preset: the name of a shipped preset, the path of a TOML file, or Settings.
        name: of the experiment; None for that of the preset (`search` for Settings), with a number if it is taken.
        storage: the folder that holds the experiments.
        trials: number of trials, besides the controls.
        data: digits, cifar10, cifar100, or a folder in the Parquet or the ImageFolder layout.
        width: of the dense network, as a multiple of the published one's.
        concurrency: maximum number of concurrent trials; None for as many as fit.
        gpus_per_trial: may be a fraction.
        address: of a running Ray cluster; None to start one on this machine.
        local: runs in this process, one trial after another, without Ray.
        tensorboard: also writes event files.
        on_end: a shell command that is run when the search has ended (search.observers.end_command).
        callbacks: are told what happens; one that raises is left out from then on.
        progress: whether progress is shown, in a terminal or a notebook. If not, messages go to the logger
            `alphaprune`.
        settings: any others, by section.key; applied in this order, after those above.

    Raises:
        ValueError: in one line, for a bad request; nothing has been started then.
        TrialError: if all trials fail, or the dense network diverges.
        SearchInterruptedError: if it had to stop early.
        OSError: if a file cannot be written.

    If the Ray cluster itself dies, so does this process, with exit code 1, since Ray would end it without a word.
    """
    from search.setup.creation import find_free_folder

    values, label = _read_values(preset)
    named = name_settings(trials, _text(data), width, concurrency, gpus_per_trial)
    resolved = resolve_settings(values, (), {**named, **_plain_values(settings)})
    place = SearchPlace(local, address, tensorboard, concurrency, gpus_per_trial, on_end=on_end)
    folder = find_free_folder(expand_home(storage), label, name)
    with _showing_progress(progress) as console:
        announce_folder(folder, name or Path(label).stem)
        start_search(resolved, folder, place, preset=label, console=console, callbacks=callbacks)
    return analysis.load(folder.path)


def resume(
    experiment: AnyPath | Experiment,
    *,
    storage: AnyPath = DEFAULT_STORAGE,
    trials: int | None = None,
    retry_failed: bool = False,
    data: AnyPath | None = None,
    concurrency: int | None = None,
    gpus_per_trial: float | None = None,
    address: str | None = None,
    local: bool = False,
    tensorboard: bool = False,
    on_end: str | None = None,
    callbacks: "Sequence[SearchObserver]" = (),
    progress: bool = True,
) -> Experiment:
    """Continues an interrupted experiment, or extends a finished one, as `alphaprune resume` does.

    Args:
        experiment: its name in `storage`, its path, or itself.
        trials: new total number of trials, besides the controls; None to keep it.
        retry_failed: whether failed trials are run again.
        data: new location of the data; None if it has not moved.

    All others, what is returned and what is raised are as in `run`.
    """
    resources = {"concurrency": concurrency, "gpus_per_trial": gpus_per_trial}
    return _continue(
        find_experiment(experiment, storage),
        SearchPlace(local, address, tensorboard, concurrency, gpus_per_trial, on_end=on_end),
        data,
        callbacks,
        progress,
        trials=trials,
        retry_failed=retry_failed,
        resources={key: value for key, value in resources.items() if value is not None},
    )


def branch(
    experiment: AnyPath | Experiment,
    number: int,
    *,
    at_alpha: float,
    storage: AnyPath = DEFAULT_STORAGE,
    data: AnyPath | None = None,
    address: str | None = None,
    local: bool = False,
    callbacks: "Sequence[SearchObserver]" = (),
    progress: bool = True,
    **settings: Any,
) -> Experiment:
    """Runs a new trial that starts from another trial's checkpoint, as `alphaprune branch` does.

        alphaprune.branch("cifar10", 12, at_alpha=0.4, **{"alpha.rate": 2})

    Args:
        experiment: its name in `storage`, its path, or itself.
        number: of the parent trial.
        at_alpha: the branch starts at the parent's first epoch with alpha at or below this.
        settings: those of the trial that differ from the parent's, such as `alpha.rate`.

    All others, what is returned and what is raised are as in `run`.
    """
    from search.followups.branch import plan_branch

    folder = find_experiment(experiment, storage)
    new = plan_branch(folder, number, at_alpha=at_alpha, overrides=[], values=_plain_values(settings))
    return _continue(folder, SearchPlace(local, address), data, callbacks, progress, new=[new])


def confirm(
    experiment: AnyPath | Experiment,
    *,
    top: int | None = None,
    seeds: int = 3,
    storage: AnyPath = DEFAULT_STORAGE,
    data: AnyPath | None = None,
    address: str | None = None,
    local: bool = False,
    callbacks: "Sequence[SearchObserver]" = (),
    progress: bool = True,
) -> Experiment:
    """Repeats the best trials and all controls with other seeds, and adds twins, as `alphaprune confirm` does.

    Args:
        experiment: its name in `storage`, its path, or itself.
        top: number of trials to repeat, the best at each amount cut in turn; None for 3, or one per amount.
        seeds: number of additional seeds for each.

    All others, what is returned and what is raised are as in `run`.
    """
    from search.followups.confirm import plan_confirmation
    from search.setup.creation import NewTrial

    folder = find_experiment(experiment, storage)
    new = [NewTrial(record) for record in plan_confirmation(folder, top=top, seeds=seeds).records]
    return _continue(folder, SearchPlace(local, address), data, callbacks, progress, new=new)


def measure(
    experiment: AnyPath | Experiment,
    *,
    top: int | None = None,
    everything: bool = False,
    storage: AnyPath = DEFAULT_STORAGE,
    data: AnyPath | None = None,
    address: str | None = None,
    progress: bool = True,
) -> Experiment:
    """Measures speed, memory, size and test accuracy of trials, as `alphaprune measure` does, and loads the experiment.

    Args:
        experiment: its name in `storage`, its path, or itself.
        top: measures the top N trials and the controls; None for the Pareto front and the controls.
        everything: measures all complete trials.
        address: of a Ray cluster, on whose best node is measured; None for this machine.

    All others are as in `run`.

    Raises:
        ValueError: in one line, for a bad request, or if no trial is complete.
        TrialError: if none could be measured.
    """
    from search.backends.ray.backend import RayBackend
    from search.experiment import measure as measure_experiment
    from search.followups.measure import TrialSelection

    if top is not None and (everything or top < 1):
        raise ValueError(f"`top` must be at least 1, and excludes `everything`, but got top={top}")
    folder = find_experiment(experiment, storage)
    selection = TrialSelection(top, everything, again=True)
    with _showing_progress(progress):
        options = format_options(address=address, data=_text(data), top=top, all=everything)
        measure_experiment(folder, RayBackend(address), selection, data=_text(data), options=options)
    return analysis.load(folder.path)


def export(
    experiment: AnyPath | Experiment,
    number: int,
    to: AnyPath,
    *,
    format: Literal["torch", "onnx"] = "torch",  # noqa: A002  as the command's option
    storage: AnyPath = DEFAULT_STORAGE,
) -> Path:
    """Writes a trial's pruned network for use elsewhere, as `alphaprune export` does, and returns where it is.

    Args:
        experiment: its name in `storage`, its path, or itself.
        number: of a complete trial.
        to: a new folder for torch, a new file for onnx.

    Raises:
        ValueError: if there is no such complete trial, or `to` exists.
        ArithmeticError: if the exported network does not agree with the original.
    """
    from search.followups.branch import find_complete_trial
    from trainable.network.export import export_network

    trial = find_complete_trial(find_experiment(experiment, storage), number)
    path = expand_home(to)
    export_network(trial.model_path, path, format)
    return path


def check(preset: AnyPath | Settings, *, samples: int = 100, seed: int = 0, **settings: Any) -> "SpaceSamples":
    """Tries the space of a preset out, as `alphaprune check` does: for a unit test of a space of your own.

        assert alphaprune.check("my.toml").distinct > 50

    Args:
        preset: the name of a shipped preset, the path of a TOML file, or Settings.
        samples: how many trials are drawn at random.
        seed: of the samples.
        settings: overrides, by section.key.

    Raises:
        ValueError: in one line, for the first sample that makes no valid trial, and whatever else is wrong.
    """
    from search.space_check import sample_space

    return sample_space(resolve_settings(_read_values(preset)[0], (), _plain_values(settings)), samples, seed)


def run_trial(
    config: TrialConfig,
    data: "AnyPath | DataConfig | Data" = "digits",
    *,
    dense: AnyPath | DenseConfig = QUICK_DENSE,
    threads: int = 1,
) -> "pd.DataFrame":
    """Runs one trial in this process and returns its rows; nothing is recorded.

        rows = alphaprune.run_trial(alphaprune.TrialConfig(epochs=6, alpha=alphaprune.Cosine()))

    Args:
        config: of the trial, such as what a space returns.
        data: digits, cifar10, cifar100, a folder, a DataConfig, or what load_data returned.
        dense: the folder of a dense network (`dense/` of an experiment) of the same data, or how one is trained first.
            The default, of quarter width and a few epochs, is meant for tests and looks, not for results.
        threads: CPU threads of the trial.

    Returns:
        One row per epoch, indexed by `epoch`, with the columns of an experiment's `epochs`.

    Raises:
        ValueError: if the data, the network or the configuration do not go together.
        TrialError: if the trial diverges.
    """
    import pandas as pd

    from trainable.cpus import count_cpus
    from trainable.data.dataset import Data, load_data
    from trainable.dense import load_dense, train_dense
    from trainable.trial import Trial

    if not isinstance(data, Data):
        data = load_data(data if isinstance(data, DataConfig) else DataConfig(source=os.fspath(data)))
    with ExitStack() as stack:
        if isinstance(dense, DenseConfig):
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="alphaprune-dense-")))
            train_dense(dense, data, folder, threads=count_cpus())
        else:
            folder = Path(dense)
        trial = Trial(config, data, load_dense(folder), threads=threads)
    while not trial.is_finished:
        trial.run_epoch()
    return pd.DataFrame([row.as_values() for row in trial.rows]).set_index("epoch")


def find_experiment(experiment: AnyPath | Experiment, storage: AnyPath = DEFAULT_STORAGE) -> ExperimentFolder:
    """The folder of an experiment: its name in `storage`, its path, or itself; raises ValueError if there is none."""
    if isinstance(experiment, Experiment):
        return ExperimentFolder(experiment.path)
    path = find_path(experiment, storage)
    return ExperimentFolder.find(path.parent, path.name)


def _read_values(preset: AnyPath | Settings) -> tuple[dict[str, Any], str]:
    """The settings of a preset, not yet resolved, and its name."""
    if isinstance(preset, Settings):
        return as_settings_json(preset), "search"
    return read_preset(os.fspath(preset)), os.fspath(preset)


def _continue(
    folder: ExperimentFolder,
    place: SearchPlace,
    data: AnyPath | None,
    callbacks: "Sequence[SearchObserver]",
    progress: bool,
    **how: Any,
) -> Experiment:
    options = place.list_options(data=_text(data), trials=how.get("trials"))
    with _showing_progress(progress) as console:
        announce_folder(folder, folder.path.name)
        continue_search(folder, place, options=options, console=console, callbacks=callbacks, data=_text(data), **how)
    return analysis.load(folder.path)


@contextmanager
def _showing_progress(progress: bool) -> Iterator[Console | None]:
    """The console for progress and messages, None if they are not wanted; an Interruption becomes an exception."""
    with ExitStack() as stack:
        console = Console(stderr=True, highlight=False) if progress else None
        if console is not None:
            stack.enter_context(logging_to_console(console))
        try:
            yield console
        except Interruption as error:
            raise SearchInterruptedError(str(error)) from error


def _plain_values(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings given in Python, with paths as text."""
    return {key: os.fspath(value) if isinstance(value, os.PathLike) else value for key, value in settings.items()}


def _text(path: AnyPath | None) -> str | None:
    return None if path is None else os.fspath(path)

"""What an experiment begins with: settings that are checked whole, its data, its folder, and trials that are added."""

import platform
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import torch

from records.experiment import ExperimentFolder
from records.files import now, write_json
from records.trial import TrialRecord
from search.sampling.trial_source import control_configs
from search.settings import Settings, as_settings_json, resolve
from spaces.space import load_space
from trainable.config import DataConfig, TrialConfig
from trainable.data.dataset import Data, load_data
from trainable.network.vgg16 import dense_widths
from trainable.pruning.masks import choose

VERSIONS = ("alphaprune", "torch", "torchvision", "ray", "optuna", "numpy")


class NewTrial(NamedTuple):
    """A trial that is not yet recorded, and the checkpoint that it starts from."""

    record: TrialRecord
    checkpoint: Path | None = None


def check_settings(settings: Settings) -> Callable[[optuna.Trial, TrialConfig], TrialConfig]:
    """The space of `settings`, once it and the controls have been tried out; nothing is trained.

    Raises:
        ValueError: if the space cannot be loaded or fails, or a control cannot be cut as far as it has to be.
    """
    space = load_space(settings.space.function, settings.space.options)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    samples = [space(study.ask(), settings.trial) for _ in range(16 if settings.search.trials else 0)]
    ones = [torch.ones(width) for width in dense_widths(settings.dense.width)]
    for config in (*(config for _, config in control_configs(settings)), *samples):
        choose(ones, config.pruning, classes=10)
        if config.epochs != settings.trial.epochs:
            raise ValueError(
                f"the space must leave trial.epochs as it is, or trials do not compare, but it made "
                f"{settings.trial.epochs} {config.epochs}; use `dataclasses.replace(base, ...)` without epochs"
            )
    return space


def create(folder: ExperimentFolder, settings: Settings, data: Data, preset: str) -> None:
    """Makes the folder with its experiment.json, all at once or not at all; raises ValueError if it is there by now."""
    aside = folder.path.with_name(f".{folder.path.name}.{secrets.token_hex(4)}")
    aside.mkdir(parents=True)
    write_json(
        aside / folder.record_path.name,
        {
            "name": folder.path.name,
            "preset": preset,
            "created": now(),
            "settings": as_settings_json(settings),
            "data": {
                "name": data.name,
                "fingerprint": data.fingerprint,
                "classes": data.classes,
                "train_images": len(data.train.labels),
                "validation_images": len(data.validation.labels),
                "test_images": len(data.test.labels),
            },
            "versions": {"python": platform.python_version(), **{name: version(name) for name in VERSIONS}},
        },
    )
    try:
        aside.rename(folder.path)
    except OSError as error:
        shutil.rmtree(aside)
        if not folder.path.exists():
            raise
        raise ValueError(f"--name must be new, but {str(folder.path)!r} was made meanwhile; choose another") from error


def recorded_data(
    folder: ExperimentFolder,
    record: dict[str, Any],
    settings: Settings,
    elsewhere: str | None,
    say: Callable[[str], None],
) -> Data:
    """The data that the experiment was begun on, `elsewhere` if given; raises ValueError if it is other data."""
    of_data = record.get("data")
    fingerprint = of_data.get("fingerprint") if isinstance(of_data, dict) else None
    if not isinstance(fingerprint, str):
        raise ValueError(f"{folder.record_path} is none of alphaprune's, or damaged: it has no data.fingerprint")
    source = replace(settings.data, source=elsewhere) if elsewhere else settings.data
    loaded = read_data(source, say)
    if loaded.fingerprint != fingerprint:
        raise ValueError(
            f"--data must be what {folder.path.name!r} was begun on, but {source.source!r} has other images "
            f"(fingerprint {loaded.fingerprint}) than {folder.record_path} has recorded ({fingerprint})"
        )
    return loaded


def recorded_settings(folder: ExperimentFolder, record: dict[str, Any]) -> Settings:
    """The settings in an experiment.json; raises ValueError naming the file if they are not what they should be."""
    try:
        return resolve(record["settings"])
    except KeyError as error:
        raise ValueError(f"{folder.record_path} is none of alphaprune's, or damaged: it has no {error}") from error
    except (ValueError, TypeError) as error:
        raise ValueError(f"{folder.record_path} is damaged: {error}") from error


def read_data(config: DataConfig, say: Callable[[str], None]) -> Data:
    """The data, said to be read first, as that takes its time; raises ValueError where it cannot be."""
    say(f"reading {config.source}")
    return load_data(config)


def add(folder: ExperimentFolder, new: Sequence[NewTrial]) -> None:
    """Records trials that somebody adds; the caller holds the experiment's lock.

    Raises:
        ValueError: if there is a trial of one of their numbers by now.
    """
    for trial in new:
        if folder.trial(trial.record.number).path.exists():
            raise ValueError(f"{folder.path.name!r} has got new trials meanwhile; give the command once more")
    for trial in new:
        folder.trial(trial.record.number).create(trial.record, trial.checkpoint)

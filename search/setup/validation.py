"""What is checked before an experiment starts or continues: its settings, its space, and that its data is the same."""

import logging
from dataclasses import replace
from pathlib import Path

import optuna
import torch

from records.experiment import ExperimentFolder, ExperimentRecord
from search.sampling.controls import control_configs
from search.sampling.samplers import create_sampler
from search.sampling.suggestion import SpaceError, SpaceFunction, ask_study, suggest_config
from search.settings import SAMPLERS, Settings, resolve_settings
from spaces.space import load_space
from trainable.config import DataConfig, TrialConfig
from trainable.data.dataset import Data, load_data
from trainable.data.sources import locate_source
from trainable.function_import import announce_import
from trainable.network.architecture import Architecture
from trainable.network.given_weights import load_given_weights
from trainable.network.grouping import find_layout
from trainable.network.layout import Layout
from trainable.pruning.masks import choose_masks

log = logging.getLogger("alphaprune")

# How many times the space is tried out before anything starts.
SAMPLES = 16


def check_settings(settings: Settings) -> SpaceFunction:
    """The space of `settings`, once it, the network, the sampler and the controls have been tried out; nothing is
    trained.

    Raises:
        ValueError: if the network cannot be built or pruned, the space or the sampler cannot be loaded or fails, or a
            control cannot cut as much as it has to.
    """
    sampler = settings.search.sampler
    if sampler not in SAMPLERS:
        announce_import("sampler", sampler)
    create_sampler(sampler, seed=settings.search.seed)
    space = load_space(settings.space.function, settings.space.options)
    samples = sample_configs(space, settings.trial, SAMPLES if settings.search.trials else 0)
    layout = find_dense_layout(settings, classes=10)  # the data has not been read yet
    for config in (*(config for _, config in control_configs(settings)), *samples):
        check_amount(config, layout)
    return space


def locate_files(settings: Settings) -> Settings:
    """The settings as an experiment records them: with absolute paths of the data and the weights."""
    data = replace(settings.data, source=locate_source(settings.data.source))
    weights = settings.dense.weights and str(Path(settings.dense.weights).resolve())
    return replace(settings, data=data, dense=replace(settings.dense, weights=weights))


def check_weights(settings: Settings, classes: int) -> None:
    """Raises ValueError if weights are given for the dense network that are not its own."""
    if settings.dense.weights:
        load_given_weights(_dense_architecture(settings, classes), settings.dense.weights)


def find_dense_layout(settings: Settings, classes: int) -> Layout:
    """The layout of the dense network; raises ValueError if it cannot be built or pruned."""
    return find_layout(_dense_architecture(settings, classes))


def _dense_architecture(settings: Settings, classes: int) -> Architecture:
    width, image_size = settings.dense.width, settings.data.image_size
    return Architecture.of(settings.network, width=width, classes=classes, image_size=image_size)


def check_amount(config: TrialConfig, layout: Layout) -> None:
    """Raises ValueError if a trial cannot cut as much as it has to."""
    choose_masks([torch.ones(width) for width in layout.widths], config.pruning, layout)


def sample_configs(space: SpaceFunction, base: TrialConfig, count: int) -> list[TrialConfig]:
    """The configurations of `count` random trials; raises ValueError if the space fails."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    try:
        return [suggest_config(space, ask_study(study), base).config for _ in range(count)]
    except SpaceError as error:  # nothing has started, so this is a request that cannot be met
        raise ValueError(str(error)) from error


def recorded_settings(folder: ExperimentFolder, record: ExperimentRecord) -> Settings:
    """The settings in an experiment's record; raises ValueError naming the file if they are invalid."""
    try:
        settings = resolve_settings(record.settings)
        folder.check_digest()
        return settings
    except (ValueError, TypeError) as error:
        raise ValueError(f"{folder.record_path} is damaged: {error}") from error


def read_recorded_data(
    folder: ExperimentFolder, record: ExperimentRecord, settings: Settings, moved_to: str | None, *, copies: int = 1
) -> Data:
    """The data that the experiment was started on, from `moved_to` if given.

    copies: how many copies of the images this machine is going to hold.
    Raises ValueError if the data differs, cannot be read, or does not fit into memory.
    """
    if not record.data.fingerprint:
        raise ValueError(f"{folder.record_path} is damaged: data.fingerprint is missing")
    source = replace(settings.data, source=moved_to) if moved_to else settings.data
    data = read_data(source, copies=copies)
    if data.fingerprint != record.data.fingerprint:
        raise ValueError(
            f"--data must be what {folder.path.name!r} was started on, but {source.source!r} has different images "
            f"(fingerprint {data.fingerprint}) from those in {folder.record_path} ({record.data.fingerprint})"
        )
    return data


def read_data(config: DataConfig, *, copies: int = 1) -> Data:
    """The data; raises ValueError if it cannot be read, or `copies` of the images do not fit into memory."""
    log.info("reading %s", config.source)  # logged first, since reading takes a while
    return load_data(config, copies=copies)

"""Branches: new trials that start from another's checkpoint with other settings, as the weekly report did by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from records.epoch import EpochRow
from records.experiment import ExperimentFolder
from records.trial import Parent, TrialFolder, TrialRecord
from search.sampling.controls import next_number
from search.settings import resolve_settings
from search.setup.creation import NewTrial
from search.setup.validation import recorded_settings
from search.snapshot import TrialSnapshot
from trainable.checkpoints import read_checkpoint
from trainable.config import TrialConfig, as_json


def plan_branch(
    folder: ExperimentFolder,
    number: int,
    *,
    at_alpha: float,
    overrides: Sequence[str] = (),
    values: Mapping[str, Any] = MappingProxyType({}),
) -> NewTrial:
    """A new trial that starts from trial `number`'s checkpoint at its first epoch with alpha <= at_alpha.

    It has the parent's rows up to there, the parent's channels, and the parent's config except for `overrides`
    ("alpha.rate=0.5") and `values` ({"alpha.rate": 0.5}). Its schedule continues from the alpha that it starts at, over
    the remaining stages; its learning-rate policy starts from the beginning. Nothing is written yet (see
    creation.add_trials).

    Raises:
        ValueError: if there is no such trial, no intact checkpoint there (the message lists those there are), or the
            settings are invalid.
    """
    parent = TrialSnapshot.read(find_trial(folder, number))
    epoch = next((row.epoch for row in parent.rows if row.alpha <= at_alpha), None)
    checkpoint = None if epoch is None else parent.folder.checkpoint_path(epoch)
    inherited = None if checkpoint is None else _read_alphas(checkpoint)
    if epoch is None or checkpoint is None or inherited is None:
        raise ValueError(
            f"--at-alpha must be where trial {number} has a checkpoint, but got {at_alpha}: "
            + ("its alpha never got that low" if epoch is None else f"epoch {epoch} has none")
            + f"; {_list_checkpoints(parent.folder, parent.rows)}"
        )
    config = replace(_override_config(parent.config, overrides, values), begun=inherited)
    if config.pruning != parent.config.pruning:
        raise ValueError("--set must leave pruning unchanged: a branch keeps the channels of its parent")
    numbers = [trial.number for trial in folder.trial_folders()]
    new = next_number(numbers, recorded_settings(folder, folder.read_record()))
    origin = Parent(number=number, epoch=epoch, alpha=inherited[-1])
    return NewTrial(TrialRecord(new, as_json(config), parent=origin), checkpoint)


def find_trial(folder: ExperimentFolder, number: int) -> TrialFolder:
    """The folder of trial `number`; raises ValueError, saying which there are, if there is no such trial."""
    trial = folder.trial_folder(number)
    if not trial.path.is_dir():
        numbers = [each.number for each in folder.trial_folders()]
        there = f"0 to {max(numbers)}" if numbers else "none yet"
        raise ValueError(f"NUMBER must be that of a trial in {folder.path.name!r} ({there}), but got {number}")
    return trial


def find_complete_trial(folder: ExperimentFolder, number: int) -> TrialFolder:
    """The folder of trial `number`; raises ValueError if there is no such trial, or if it is not complete."""
    trial = find_trial(folder, number)
    state = trial.read_record().state
    if state != "complete":
        raise ValueError(f"NUMBER must be that of a complete trial, but trial {number} is {state}")
    return trial


def _override_config(config: TrialConfig, overrides: Sequence[str], values: Mapping[str, Any]) -> TrialConfig:
    return resolve_settings(
        {"trial": as_json(config)},
        [f"trial.{override}" for override in overrides],
        {f"trial.{key}": value for key, value in values.items()},
    ).trial


def _read_alphas(checkpoint: Path) -> tuple[float, ...] | None:
    """Alpha of each epoch up to a checkpoint; None if the checkpoint is missing or damaged."""
    try:
        state = read_checkpoint(checkpoint, torch.device("cpu"))
    except (OSError, ValueError):
        return None
    return tuple(row["alpha"] for row in state["rows"])


def _list_checkpoints(parent: TrialFolder, rows: Sequence[EpochRow]) -> str:
    alphas = {row.epoch: row.alpha for row in rows}
    epochs = sorted(map(parent.checkpoint_epoch, filter(_read_alphas, parent.list_checkpoints())))
    if not epochs:
        return "it has none; search.keep_at_alpha sets which a search keeps"
    listed = ", ".join(f"{alphas.get(epoch, 0.0):.4g} (epoch {epoch})" for epoch in epochs)
    return f"it has checkpoints at alpha {listed}; search.keep_at_alpha sets which a search keeps"

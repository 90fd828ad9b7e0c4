"""Branches: new trials that continue another's checkpoint with other settings, as the weekly report did by hand."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

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


def plan_branch(folder: ExperimentFolder, number: int, *, at_alpha: float, overrides: list[str]) -> NewTrial:
    """A new trial that starts from trial `number`'s checkpoint at its first epoch with alpha <= at_alpha.

    It has the parent's rows up to there, the parent's channels, and the parent's config but for `overrides`
    ("alpha.rate=0.5"); its schedule continues from the alpha that it starts at, over the stages that are left, and its
    learning-rate policy starts from its beginning. Nothing is written yet (creation.add_trials).

    Raises:
        ValueError: if there is no such trial, no whole checkpoint there (those that there are, are listed), or the
            settings are not possible.
    """
    parent = TrialSnapshot.read(find_trial(folder, number))
    epoch = next((row.epoch for row in parent.rows if row.alpha <= at_alpha), None)
    checkpoint = None if epoch is None else parent.folder.checkpoint_path(epoch)
    inherited = None if checkpoint is None else _read_alphas(checkpoint)
    if epoch is None or checkpoint is None or inherited is None:
        raise ValueError(
            f"--at-alpha must be where trial {number} has a checkpoint: "
            + ("its alpha never came so low" if epoch is None else f"that is epoch {epoch}, which has none")
            + f", but got {at_alpha}; {_list_checkpoints(parent.folder, parent.rows)}"
        )
    config = replace(_override_config(parent.config, overrides), begun=inherited)
    if config.pruning != parent.config.pruning:
        raise ValueError("--set must leave pruning as it is: a branch has the channels of the trial it starts from")
    numbers = [trial.number for trial in folder.trial_folders()]
    new = next_number(numbers, recorded_settings(folder, folder.read_record()))
    origin = Parent(number=number, epoch=epoch, alpha=inherited[-1])
    return NewTrial(TrialRecord(new, as_json(config), parent=origin), checkpoint)


def find_trial(folder: ExperimentFolder, number: int) -> TrialFolder:
    """The folder of trial `number`; raises ValueError saying which there are where there is no such trial."""
    trial = folder.trial_folder(number)
    if not trial.path.is_dir():
        numbers = [each.number for each in folder.trial_folders()]
        there = f"0 to {max(numbers)}" if numbers else "none yet"
        raise ValueError(f"NUMBER must be that of a trial of {folder.path.name!r} ({there}), but got {number}")
    return trial


def _override_config(config: TrialConfig, overrides: list[str]) -> TrialConfig:
    return resolve_settings({"trial": as_json(config)}, [f"trial.{override}" for override in overrides]).trial


def _read_alphas(checkpoint: Path) -> tuple[float, ...] | None:
    """Alpha of each epoch that a checkpoint has behind it; None where it is missing or damaged."""
    try:
        state = read_checkpoint(checkpoint, torch.device("cpu"))
    except (OSError, ValueError):
        return None
    return tuple(row["alpha"] for row in state["rows"])


def _list_checkpoints(parent: TrialFolder, rows: Sequence[EpochRow]) -> str:
    alphas = {row.epoch: row.alpha for row in rows}
    epochs = sorted(map(parent.checkpoint_epoch, filter(_read_alphas, parent.list_checkpoints())))
    if not epochs:
        return "it has none; search.keep_at_alpha says which a search keeps"
    listed = ", ".join(f"{alphas.get(epoch, 0.0):.4g} (epoch {epoch})" for epoch in epochs)
    return f"it has checkpoints at alpha {listed}; search.keep_at_alpha says which a search keeps"

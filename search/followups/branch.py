"""Branches: new trials that go on from another's checkpoint with other settings, as the weekly report did by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from records.experiment import ExperimentFolder
from records.files import read_json
from records.trial import TrialFolder, TrialRecord
from search.sampling.trial_source import next_number
from search.settings import resolve
from search.setup.creation import NewTrial, recorded_settings
from search.snapshot import read_trial
from trainable.checkpoints import read_checkpoint
from trainable.config import TrialConfig, as_json, trial_config


def branch(folder: ExperimentFolder, number: int, *, at_alpha: float, overrides: list[str]) -> NewTrial:
    """A new trial that starts from trial `number`'s checkpoint at its first epoch with alpha <= at_alpha.

    It has the parent's rows up to there, the parent's channels, and the parent's config but for `overrides`
    ("alpha.rate=0.5"); its schedule goes on from the alpha that it starts at, over the stages that are left, and its
    learning-rate policy begins anew. Nothing is written yet (search.setup.creation.add).

    Raises:
        ValueError: if there is no such trial, no whole checkpoint there (those that there are, are listed), or the
            settings are not possible.
    """
    parent = find_trial(folder, number)
    record, rows = read_trial(parent), parent.rows()
    epoch = next((row["epoch"] for row in rows if row["alpha"] <= at_alpha), None)
    checkpoint = None if epoch is None else parent.checkpoint(epoch)
    state = None if checkpoint is None else _whole(checkpoint)
    if epoch is None or checkpoint is None or state is None:
        raise ValueError(
            f"--at-alpha must be where trial {number} has a checkpoint: "
            + ("it never came so low" if epoch is None else f"that is epoch {epoch}, of which there is none")
            + f", but got {at_alpha}; {_there_are(parent, rows)}"
        )
    begun = tuple(row["alpha"] for row in state["rows"])
    config = replace(_overridden(trial_config(record.config), overrides), begun=begun)
    if config.pruning != trial_config(record.config).pruning:
        raise ValueError("--set must leave pruning as it is: a branch has the channels of the trial it starts from")
    new = next_number(folder, recorded_settings(folder, read_json(folder.record_path)))
    origin = {"number": number, "epoch": epoch, "alpha": begun[-1]}
    return NewTrial(TrialRecord(new, as_json(config), parent=origin), checkpoint)


def find_trial(folder: ExperimentFolder, number: int) -> TrialFolder:
    """The folder of trial `number`; raises ValueError saying which there are where there is no such trial."""
    trial = folder.trial(number)
    if not trial.path.is_dir():
        numbers = [each.number for each in folder.trials()]
        there = f"0 to {max(numbers)}" if numbers else "none yet"
        raise ValueError(f"NUMBER must be that of a trial of {folder.path.name!r} ({there}), but got {number}")
    return trial


def _overridden(config: TrialConfig, overrides: list[str]) -> TrialConfig:
    return resolve({"trial": as_json(config)}, [f"trial.{override}" for override in overrides]).trial


def _whole(checkpoint: Path) -> dict[str, Any] | None:
    try:
        return read_checkpoint(checkpoint, torch.device("cpu"))
    except (OSError, ValueError):
        return None


def _there_are(parent: TrialFolder, rows: list[dict[str, Any]]) -> str:
    alphas = {row["epoch"]: row["alpha"] for row in rows}
    epochs = sorted(map(parent.epoch_of, filter(_whole, parent.checkpoints())))
    if not epochs:
        return "it has none; search.keep_at_alpha says which a search keeps"
    listed = ", ".join(f"{alphas.get(epoch, 0.0):.4g} (epoch {epoch})" for epoch in epochs)
    return f"it has checkpoints at alpha {listed}; search.keep_at_alpha says which a search keeps"

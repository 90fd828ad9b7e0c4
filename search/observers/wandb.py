"""Weights & Biases: one run per trial, grouped by experiment, and one with the report. Needs `alphaprune[wandb]`."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from records.trial import TrialRecord
from search.observers.observer import ExperimentEnd
from search.observers.tracker import Tracker

PROJECT = "alphaprune"


class WandbCallback(Tracker[Any]):
    """Logs a search to Weights & Biases: `alphaprune.run(..., callbacks=[alphaprune.WandbCallback()])`.

    A run's config is the trial's, its steps are the epochs, its group is the experiment. WANDB_MODE, WANDB_DIR,
    WANDB_ENTITY and all other variables have their usual meaning; with WANDB_MODE=offline nothing is sent.
    """

    def __init__(self, project: str | None = None) -> None:
        """
        Args:
            project: of Weights & Biases; None for WANDB_PROJECT, or `alphaprune` if that is not set.

        Raises:
            ValueError: if wandb is not installed.
        """
        super().__init__()
        try:
            import wandb
        except ImportError as error:
            raise ValueError(f"wandb must be installed: pip install 'alphaprune[wandb]' ({error})") from error
        self._wandb: Any = wandb
        self._project = project or os.environ.get("WANDB_PROJECT", PROJECT)

    def open_run(self, record: TrialRecord, label: str, params: Mapping[str, Any]) -> Any:
        return self._init(str(record.number), f"trial {label}", record.kind, record.config)

    def log_metrics(self, run: Any, metrics: Mapping[str, float], epoch: int) -> None:
        run.log(dict(metrics), step=epoch)

    def close_run(self, run: Any, state: str) -> None:
        run.summary["state"] = state
        run.finish(exit_code=0 if state in ("complete", "stopped") else 1)

    def log_end(self, end: ExperimentEnd, report: Path | None) -> None:
        run = self._init("search", end.folder.path.name, "search", {})
        run.summary.update({"state": end.state, "summary": end.summary})
        if report is not None:
            artifact = self._wandb.Artifact(f"report-{self._origin}", type="report")
            artifact.add_file(str(report))
            run.log_artifact(artifact)
        run.finish(exit_code=0 if end.state == "finished" else 1)

    @property
    def _origin(self) -> str:
        """Tells experiments of the same name apart."""
        return hashlib.sha256(os.fsencode(self.folder.path.absolute())).hexdigest()[:12]

    def _init(self, part: str, name: str, kind: str, config: Mapping[str, Any]) -> Any:
        return self._wandb.init(
            project=self._project,
            group=self.folder.path.name,
            job_type=kind,
            name=name,
            id=f"{self._origin}-{part}",  # by which a resumed trial continues its run
            config=dict(config),
            resume="allow",
            reinit="create_new",  # several trials run at once
            settings=self._wandb.Settings(silent=True),
        )

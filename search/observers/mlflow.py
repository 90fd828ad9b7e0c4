"""MLflow: one run per trial below one of the experiment, which gets the report. Needs `alphaprune[mlflow]`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from records.trial import TrialRecord
from search.observers.observer import ExperimentEnd, SearchStart
from search.observers.tracker import Tracker

# By which a run is found again when its trial is resumed: the experiment's absolute path and the trial's number.
ORIGIN_TAG = "alphaprune.origin"
PARENT_TAG = "mlflow.parentRunId"  # MLflow shows a run below the one that this names
STATUSES = {"complete": "FINISHED", "stopped": "FINISHED", "failed": "FAILED", "running": "KILLED"}
END_STATUSES = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


class MLflowCallback(Tracker[str]):
    """Logs a search to MLflow: `alphaprune.run(..., callbacks=[alphaprune.MLflowCallback()])`.

    The trials' parameters are the leaves of their configurations, such as `alpha.family` and `pruning.amount`; their
    metrics those of an epoch (records.epoch). Trials that were stopped early are finished runs.
    """

    def __init__(self, tracking_uri: str | None = None, experiment_name: str | None = None) -> None:
        """
        Args:
            tracking_uri: where MLflow keeps the runs; None for MLflow's own setting (MLFLOW_TRACKING_URI).
            experiment_name: of MLflow's experiment; None for the name of the search.

        Raises:
            ValueError: if MLflow is not installed.
        """
        super().__init__()
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise ValueError(f"MLflow must be installed: pip install 'alphaprune[mlflow]' ({error})") from error
        self._client = MlflowClient(tracking_uri=tracking_uri)
        self._name = experiment_name
        self._experiment = self._parent = ""

    def search_started(self, start: SearchStart) -> None:
        super().search_started(start)
        name = self._name or start.folder.path.name
        there = self._client.get_experiment_by_name(name)
        self._experiment = self._client.create_experiment(name) if there is None else there.experiment_id
        self._parent = self._find_or_create("search", start.folder.path.name, {})

    def open_run(self, record: TrialRecord, label: str, params: Mapping[str, Any]) -> str:
        tags = {PARENT_TAG: self._parent, "alphaprune.kind": record.kind}
        run = self._find_or_create(str(record.number), f"trial {label}", tags)
        for name, value in params.items():
            self._client.log_param(run, name, value)
        return run

    def log_metrics(self, run: str, metrics: Mapping[str, float], epoch: int) -> None:
        for name, value in metrics.items():
            self._client.log_metric(run, name, value, step=epoch)

    def close_run(self, run: str, state: str) -> None:
        self._client.set_terminated(run, STATUSES[state])

    def log_end(self, end: ExperimentEnd, report: Path | None) -> None:
        self._client.set_tag(self._parent, "alphaprune.summary", end.summary)
        if report is not None:
            self._client.log_artifact(self._parent, str(report))
        self._client.set_terminated(self._parent, END_STATUSES[end.state])

    def _find_or_create(self, part: str, name: str, tags: Mapping[str, str]) -> str:
        """The id of the run of `part` of this search, which is running from now on."""
        origin = f"{self.folder.path.absolute()}#{part}"
        quoted = origin.replace("'", "\\'")
        found = self._client.search_runs([self._experiment], f"tags.`{ORIGIN_TAG}` = '{quoted}'", max_results=1)
        if found:
            self._client.update_run(found[0].info.run_id, status="RUNNING")
            return str(found[0].info.run_id)
        created = self._client.create_run(self._experiment, run_name=name, tags={ORIGIN_TAG: origin, **tags})
        return str(created.info.run_id)

"""The search on a Ray cluster. Tune places trials, shares GPUs and restarts what died; it remembers nothing."""

import logging
import shutil
from typing import Any

from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from search.early_stopping import SuccessiveHalving
from search.progress import SearchProgress
from search.study import Search
from trainable.data import Data
from trainable.ray_trainable import AlphaPruning
from trainable.records import ExperimentFolder

# How often a trial whose process died is started again, from its newest checkpoint.
MAX_FAILURES = 2


def run_on_cluster(
    search: Search,
    stopping: SuccessiveHalving,
    folder: ExperimentFolder,
    data: Data,
    progress: SearchProgress,
    *,
    threads: int,
    gpus: float,
    concurrency: int,
) -> None:
    """Runs what `search` hands out on the connected Ray cluster until there is no more.

    Args:
        search, stopping, folder, data, progress: as in run_local.
        threads: CPUs of a trial.
        gpus: of a trial, may be a fraction.
        concurrency: most trials at once.
    """
    # Tune complains about each trial that failed and about missing loggers; both are in the records.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    scratch = folder.path / ".tune"  # on the storage that all nodes share
    trainable = tune.with_parameters(AlphaPruning, data=data, dense=str(folder.dense), threads=threads)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": threads, "gpu": gpus}),
        tune_config=tune.TuneConfig(
            search_alg=_Searcher(search, folder),
            scheduler=_Scheduler(stopping),
            num_samples=-1,
            max_concurrent_trials=concurrency,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="run",
            storage_path=str(scratch.resolve()),
            failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
            callbacks=[_Reporter(progress)],
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _number(trial: TuneTrial) -> int:
    return int(trial.config["number"])


class _Forgotten:
    """Tune pickles its parts now and then, to remember them; nothing of them is ever read back."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Searcher(_Forgotten, Searcher):
    """Hands the trials of a Search to Tune."""

    def __init__(self, search: Search, folder: ExperimentFolder) -> None:
        super().__init__(metric=None, mode=None)
        self._search, self._folder = search, folder
        self._numbers: dict[str, int] = {}

    def suggest(self, trial_id: str) -> Any:
        number = self._search.next()
        if number is None:
            return str(Searcher.FINISHED)
        self._numbers[trial_id] = number
        files = self._folder.trial(number)
        control = files.read().control is not None
        return {"number": number, "control": control, "folder": str(files.path.resolve())}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Completes the record where the trial could not do it itself, and tells the study."""
        number = self._numbers[trial_id]
        files = self._folder.trial(number)
        if files.read().state == "running":
            if error:
                files.end("failed", files.read().error or f"its process died {MAX_FAILURES + 1} times")
            else:
                files.end("stopped")
        self._search.tell(number)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the records have it."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("the search is rebuilt from the experiment's records")


class _Scheduler(_Forgotten, FIFOScheduler):
    """Stops the trials that SuccessiveHalving stops; controls run to their end."""

    def __init__(self, stopping: SuccessiveHalving) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._stopping = stopping

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:
        if trial.config["control"] or "pruned_val_accuracy" not in result:
            return str(TrialScheduler.CONTINUE)
        goes_on = self._stopping.goes_on(_number(trial), result["epoch"], result["pruned_val_accuracy"])
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)


class _Reporter(_Forgotten, tune.Callback):
    """Tells the progress display what happens."""

    def __init__(self, progress: SearchProgress) -> None:
        self._progress = progress

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict[str, Any], **info: Any
    ) -> None:
        if "pruned_val_accuracy" in result:
            self._progress.epoch()

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._progress.ended(_number(trial))

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._progress.ended(_number(trial))

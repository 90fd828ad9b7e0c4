"""The search on a Ray cluster. Tune places trials, shares GPUs and restarts what died; it remembers nothing."""

import logging
import os
import shutil
import time
from contextlib import suppress
from typing import Any

from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from records.experiment import ExperimentFolder
from search.backends.ray.cluster import Share, capacity
from search.interruption import Interruption, full_disk_interrupts, no_space
from search.observers.progress import SearchProgress
from search.sampling.early_stopping import SuccessiveHalving
from search.sampling.trial_source import Search
from search.settings import Settings
from trainable.data.dataset import Data
from trainable.ray_trainable import NO_SPACE, AlphaPruning
from trainable.recorded_trial import stop

# How often it is looked whether the cluster still holds the trials that run.
LOOK_SECONDS = 5.0


def run_on_cluster(
    search: Search,
    stopping: SuccessiveHalving,
    folder: ExperimentFolder,
    settings: Settings,
    data: Data,
    progress: SearchProgress,
    share: Share,
) -> None:
    """Runs what `search` hands out on the connected Ray cluster until there is no more.

    Args:
        search, stopping, folder, settings, data, progress: as in run_local.
        share: what each trial gets of the cluster.

    Raises:
        Interruption: if the storage is full.
    """
    # Tune complains about each trial that failed and about missing loggers; both are in the records.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # its own would end the run as if all were well
    scratch = folder.path / ".tune"  # on the storage that all nodes share
    trainable = tune.with_parameters(
        AlphaPruning,
        data=data,
        dense=str(folder.dense.resolve()),
        threads=share.cpus,
        keep_at_alpha=settings.search.keep_at_alpha,
    )
    searcher = _Searcher(search, folder, settings, share)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": share.cpus, "gpu": share.gpus}),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=_Scheduler(stopping),
            num_samples=-1,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="run",
            storage_path=str(scratch.resolve()),
            failure_config=tune.FailureConfig(max_failures=settings.search.max_failures),
            callbacks=[_Reporter(progress, searcher)],
            verbose=0,
        ),
    )
    try:
        with full_disk_interrupts():
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

    def __init__(self, search: Search, folder: ExperimentFolder, settings: Settings, share: Share) -> None:
        super().__init__(metric=None, mode=None)
        self._search, self._folder, self._settings, self._share = search, folder, settings, share
        self._running: dict[str, int] = {}  # numbers by Tune's own ids

    @property
    def room(self) -> tuple[int, int]:
        """How many trials the living nodes hold now, and how many that run, or did, there is no room for."""
        held = capacity(self._share)
        return held, max(0, len(self._running) - held)

    def suggest(self, trial_id: str) -> Any:
        # Asked for as late as possible: a study that is asked for trials that only wait learns nothing in between.
        # The cluster is counted each time, since nodes join and leave.
        if len(self._running) >= max(1, capacity(self._share)):
            return None
        with full_disk_interrupts():
            number = self._search.next()
            if number is None:  # what runs may still change that, and to be finished is final
                return None if self._running else str(Searcher.FINISHED)
            self._running[trial_id] = number
            files = self._folder.trial(number)
            return {"number": number, "asked": files.read().asked, "folder": str(files.path.resolve())}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Completes the record where the trial could not do it itself, and tells the study."""
        number = self._running.pop(trial_id)
        if result and result.get("state") == NO_SPACE:
            raise Interruption(no_space(result["error"]), 1)
        files = self._folder.trial(number)
        with full_disk_interrupts():
            with suppress(ValueError):  # of a damaged record, which the search names
                if error:
                    times = self._settings.search.max_failures + 1
                    files.end("failed", files.read().error or f"its process died {times} times; its host may say why")
                elif files.read().state == "running":
                    stop(files, self._settings.search.keep_at_alpha)
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
        if not trial.config["asked"] or "pruned_val_accuracy" not in result or result["done"]:
            return str(TrialScheduler.CONTINUE)
        goes_on = self._stopping.goes_on(_number(trial), result)
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)


class _Reporter(_Forgotten, tune.Callback):
    """Tells the progress display what happens."""

    def __init__(self, progress: SearchProgress, searcher: _Searcher) -> None:
        self._progress, self._searcher = progress, searcher
        self._looked = 0.0

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            self._progress.room(*self._searcher.room)

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict[str, Any], **info: Any
    ) -> None:
        if "pruned_val_accuracy" in result:
            self._progress.epoch(_number(trial), result)

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._progress.ended(_number(trial))

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._progress.ended(_number(trial))

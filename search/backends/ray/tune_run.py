"""The search on a Ray cluster. Tune places trials, shares GPUs and restarts what died; its state is never read back."""

import logging
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from analysis.text import format_count
from records.epoch import EpochRow
from records.trial import UnusableError
from search.backends.base import SearchRun
from search.backends.ray.cluster import set_environment
from search.backends.ray.resources import count_free, count_room
from search.backends.ray.waiting import WaitNotice
from search.interruption import Interruption, describe_full_disk, interrupt_on_full_disk
from search.observers.observer import SearchObserver
from search.sampling.early_stopping import SuccessiveHalving
from search.setup.plan import format_resources
from trainable.ray_trainable import CRASHED, NO_SPACE, RecordedAlphaPruning
from trainable.recorded_trial import stop_trial

log = logging.getLogger("alphaprune")

# How often to check whether the running trials still fit on the cluster.
LOOK_SECONDS = 5.0

# Read by ray.tune, whose own handler would end the run as if nothing were wrong.
_ENVIRONMENT = {"TUNE_DISABLE_SIGINT_HANDLER": "1"}


def run_trials(run: SearchRun, *, is_shared: bool) -> None:
    """Runs the trials that the search hands out on the connected Ray cluster until none are left.

    Args:
        run: the search.
        is_shared: whether others may use the cluster, for which trials may have to wait.

    Raises:
        Interruption: if the storage is full.
    """
    scratch = run.folder.path / ".tune"  # on the storage that all nodes share
    trainable = tune.with_parameters(
        RecordedAlphaPruning,
        data=run.data,
        dense=str(run.folder.dense_path.resolve()),
        threads=run.resources.cpus,
        keep_at_alpha=run.settings.search.keep_at_alpha,
        checkpoint_seconds=run.settings.search.checkpoint_seconds,
    )
    searcher = _TrialSearcher(run)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": run.resources.cpus, "gpu": run.resources.gpus}),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=_StoppingScheduler(run.stopping),
            num_samples=-1,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="run",
            storage_path=str(scratch.resolve()),
            # The searcher gives trials up before Tune does, which does not tell crashes from lost processes, unless
            # their processes die before they train.
            failure_config=tune.FailureConfig(max_failures=searcher.most_restarts + 1),
            callbacks=[_ObserverCallback(run.observer, searcher, is_shared=is_shared)],
            verbose=0,
        ),
    )
    try:
        with interrupt_on_full_disk(), set_environment(_ENVIRONMENT), _quiet_tune():
            tuner.fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _quiet_tune() -> Iterator[None]:
    """Silences Tune's complaints about failed trials, which the records explain, and about missing loggers."""
    logger = logging.getLogger("ray.tune")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _number_of(trial: TuneTrial) -> int:
    return int(trial.config["number"])


def _row_in(result: dict[str, Any]) -> EpochRow | None:
    """The epoch's row in a result from Tune; None if the trial reported something else (see RecordedAlphaPruning)."""
    return EpochRow.from_values(result, result["epoch"]) if "pruned_val_accuracy" in result else None


def _count_actors() -> int:
    """How many actors of this search hold their share of the cluster, whether or not they have started."""
    job = ray.JobID.from_hex(ray.get_runtime_context().get_job_id())
    return sum(actor["State"] != "DEAD" for actor in ray._private.state.actors(job_id=job).values())


class _NotPickled:
    """Pickles as nothing: Tune saves its parts now and then, but they are never read back."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _TrialSearcher(_NotPickled, Searcher):
    """Hands the trials of a search to Tune."""

    def __init__(self, run: SearchRun) -> None:
        super().__init__(metric=None, mode=None)
        self._run = run
        self._running: dict[str, int] = {}  # numbers by Tune's own ids
        self._crashes, self._restarts = Counter[int](), Counter[int]()

    @property
    def most_restarts(self) -> int:
        """How often a trial may be restarted, for whatever reason."""
        return self._run.settings.search.max_failures + self._run.settings.search.max_preemptions

    @property
    def room(self) -> tuple[int, int]:
        """How many trials fit on the living nodes now, and how many of those started no longer do."""
        room = count_room(self._run.resources)
        return room, max(0, len(self._running) - room)

    @property
    def waits_for(self) -> str:
        """What trials wait for although the nodes have room for them; empty if none do."""
        share = self._run.resources
        waiting = min(len(self._running), count_room(share)) - _count_actors() if count_free(share) == 0 else 0
        return f"{format_resources(share.cpus, share.gpus)} for {format_count(waiting, 'trial')}" if waiting > 0 else ""

    def suggest(self, trial_id: str) -> Any:
        # Trials are taken as late as possible: while they only wait, the study could still learn from others.
        # The room is counted each time, since nodes join and leave.
        if len(self._running) >= max(1, count_room(self._run.resources)):
            return None
        with interrupt_on_full_disk():
            record = self._run.source.next_trial()
        if record is None:  # FINISHED is final, and what is still running may change that
            return None if self._running else str(Searcher.FINISHED)
        self._running[trial_id] = record.number
        path = self._run.folder.trial_folder(record.number).path.resolve()
        return {"number": record.number, "can_stop": record.kind == "searched", "folder": str(path)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Completes the record if the trial could not do so itself, and tells the trial source."""
        number = self._running.pop(trial_id)
        if result and result.get("state") == NO_SPACE:
            raise Interruption(describe_full_disk(result["error"]), 1)
        files = self._run.folder.trial_folder(number)
        with interrupt_on_full_disk():
            try:
                if error:
                    files.record_end("failed", "its process cannot be started; see the logs of its host")
                elif files.read_record().state == "running":
                    stop_trial(files, self._run.settings.search.keep_at_alpha)
            except UnusableError as unusable:
                log.warning("%s; the trial is left alone", unusable)
            except ValueError:
                pass  # the record is damaged, which tell_end logs
            self._run.source.tell_end(number)

    def count_crash(self, number: int, error: str) -> None:
        """Gives up a trial that has crashed too often."""
        self._crashes[number] += 1
        if self._crashes[number] > self._run.settings.search.max_failures:
            self._give_up(number, error)

    def count_restart(self, number: int) -> None:
        """Gives up a trial that has been lost too often, which is what a restart that follows no crash comes from."""
        self._restarts[number] += 1
        losses, most = self._restarts[number] - self._crashes[number], self._run.settings.search.max_preemptions
        if losses > most:
            lost = f"its node or process was lost {losses} times; see the logs of its host"
            self._give_up(number, f"{lost} (search.max_preemptions={most})")

    def _give_up(self, number: int, error: str) -> None:
        # Tune starts it once more, in a fresh process, which finds that it has ended.
        with interrupt_on_full_disk(), suppress(ValueError):
            self._run.folder.trial_folder(number).record_end("failed", error)

    def save(self, checkpoint_path: str) -> None:
        """Does nothing: it is all in the records."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("the search is rebuilt from the experiment's records")


class _StoppingScheduler(_NotPickled, FIFOScheduler):
    """Stops the trials that SuccessiveHalving stops; controls run to their end."""

    def __init__(self, stopping: SuccessiveHalving) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._stopping = stopping

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:
        row = _row_in(result)
        if not trial.config["can_stop"] or row is None or result["done"]:
            return str(TrialScheduler.CONTINUE)
        should_continue = self._stopping.should_continue(_number_of(trial), row)
        return str(TrialScheduler.CONTINUE if should_continue else TrialScheduler.STOP)


class _ObserverCallback(_NotPickled, tune.Callback):
    """Tells the observer about epochs and the cluster's room; the trial source tells it how trials end."""

    def __init__(self, observer: SearchObserver, searcher: _TrialSearcher, *, is_shared: bool = False) -> None:
        self._observer, self._searcher, self._is_shared = observer, searcher, is_shared
        self._looked, self._notice = 0.0, WaitNotice()

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            self._observer.room_changed(*self._searcher.room)
            if self._is_shared:
                self._notice.update(self._searcher.waits_for)

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict[str, Any], **info: Any
    ) -> None:
        if (row := _row_in(result)) is not None:
            self._observer.epoch_done(_number_of(trial), row)
        elif result["state"] == CRASHED:
            self._searcher.count_crash(_number_of(trial), result["error"])

    def on_trial_recover(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._searcher.count_restart(_number_of(trial))

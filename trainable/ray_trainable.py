"""The Ray Tune trainables. The one module of this package that imports ray."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ray import tune

from records.files import is_full_disk
from records.trial import FencedError, TrialFolder, UnusableError
from trainable.checkpoints import read_checkpoint, write_checkpoint
from trainable.config import trial_config
from trainable.data.dataset import Data
from trainable.dense import DenseNetwork, load_dense
from trainable.recorded_trial import RecordedTrial
from trainable.trial import Trial

CHECKPOINT = "trial.pt"
# States that only results have, never records. The storage is full, and the driver has to stop the search.
NO_SPACE = "no_space"
# The trial has raised something, and the driver decides whether it is tried again.
CRASHED = "crashed"
# The trial's record is damaged, so it can neither continue nor be recorded as failed.
DAMAGED = "damaged"


class AlphaPruning(tune.Trainable):
    """One alpha-pruning trial for Ray Tune, one epoch per step. Tune may save, restore, clone and reuse it.

    Pass the data and the dense network with `tune.with_parameters(AlphaPruning, data=data, dense="path/to/dense")`,
    and the config as the fields of a TrialConfig, nested in the same way:
    `{"alpha": {"family": "exponential", "rate": tune.uniform(1, 8)}}`.

    For Ray's OptunaSearch a space returns that tree (`as_json(config)`) and gives what it suggests names with a dot,
    such as `alpha.rate`: OptunaSearch adds them to the tree, where names with a dot are ignored, while others that are
    no fields are refused (examples/own_tuner.py).
    """

    _data: Data
    _dense: DenseNetwork
    _trial: Trial

    def setup(
        self, config: dict[str, Any], *, data: Data | None = None, dense: str | Path | None = None, threads: int = 1
    ) -> None:
        """Starts the trial.

        Args:
            config: as above.
            data: from load_data; Ray's object store shares it between the trials of a node.
            dense: the folder of the dense network.
            threads: CPU threads of the trial.

        Raises:
            ValueError: if data or dense is missing, or the config is not that of a trial.
        """
        self._data, path = check_parameters(type(self), data, dense)
        self._dense, self._threads = load_dense(path), threads
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Starts another trial in the same actor; keeps only the data and the dense network of the earlier one."""
        # Ray's OptunaSearch puts the names of what a space suggested beside what the space returned. Those of the
        # shipped space are paths, which no field is called.
        config = trial_config({name: value for name, value in new_config.items() if "." not in name})
        self._trial = Trial(config, self._data, self._dense, threads=self._threads)
        return True

    def step(self) -> dict[str, Any]:
        """Runs one epoch; returns its row (records.epoch.EpochRow) and `done`."""
        trial = self._trial  # if restored after its last epoch, it has nothing left to run
        row = trial.rows[-1] if trial.is_finished else trial.run_epoch()
        return {**row.as_values(), "done": trial.is_finished}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Writes all of the trial except the data into the folder."""
        write_checkpoint(Path(checkpoint_dir) / CHECKPOINT, self._trial.state_dict())

    def load_checkpoint(self, checkpoint_dir: Any) -> None:
        """Continues from what save_checkpoint wrote, here or elsewhere."""
        self._trial.load_state_dict(read_checkpoint(Path(checkpoint_dir) / CHECKPOINT, self._trial.device))


class RecordedAlphaPruning(tune.Trainable):
    """A recorded trial for Ray Tune, one epoch per step: it keeps its own records and checkpoints.

    The config is `{"folder": "<experiment>/trials/00012"}`; the folder's trial.json says what the trial is. A step
    returns the epoch's row, `state` and `done`; one that fails for good returns `state="failed"` and is done.

    Whatever the trial raises is returned, too, as `state="crashed"`: what Tune sees as a failure is a lost process. The
    next step then raises it, so that the trial continues in a fresh process.
    """

    _data: Data
    _dense_path: Path
    _folder: TrialFolder
    _crash: Exception | None
    _recorded: RecordedTrial | None  # None before the first step

    def setup(
        self,
        config: dict[str, Any],
        *,
        data: Data | None = None,
        dense: str | Path | None = None,
        threads: int = 1,
        keep_at_alpha: Sequence[float] = (),
        checkpoint_seconds: float = 0.0,
    ) -> None:
        """Prepares the trial of a folder. Takes the parameters of AlphaPruning, and:

        Args:
            keep_at_alpha, checkpoint_seconds: as in RecordedTrial.
        """
        self._data, self._dense_path = check_parameters(type(self), data, dense)
        self._threads, self._keep, self._checkpoint_seconds = threads, keep_at_alpha, checkpoint_seconds
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Prepares another trial in the same actor. Its next attempt starts with the first step.

        It must not start earlier: Tune also sets up actors that it then drops, because another one has become free for
        the trial, and these would take the trial away from the actor that runs it.
        """
        self._folder, self._recorded, self._crash = TrialFolder(Path(new_config["folder"])), None, None
        return True

    def step(self) -> dict[str, Any]:
        """One epoch: its row (records.epoch.EpochRow), `state` and `done`; an error that must not be retried is done.

        Raises:
            FencedError: if another process has taken over the trial.
            Exception: what the step before has returned as a crash.
        """
        if self._crash is not None:
            raise self._crash
        epoch = 0 if self._recorded is None else self._recorded.trial.epoch
        try:
            if self._recorded is None:
                self._recorded = RecordedTrial(
                    self._folder,
                    self._data,
                    self._dense,
                    threads=self._threads,
                    keep_at_alpha=self._keep,
                    checkpoint_seconds=self._checkpoint_seconds,
                )
            row = self._recorded.run_epoch()
        except FencedError:
            state = self._folder.read_record().state
            if self._recorded is not None or state == "running":
                raise
            # It has ended, but a crash prevented that from being reported.
            return {"epoch": epoch, "state": state, "done": True}
        except Exception as error:
            outcome = self._classify_error(error)
            self._crash = error if outcome == CRASHED else None
            text = str(error) if outcome != CRASHED else f"{type(error).__name__}: {error}"
            return {"epoch": epoch, "state": outcome, "error": text, "done": outcome != CRASHED}
        done = self._recorded.is_finished
        return {**row.as_values(), "state": "complete" if done else "running", "done": done}

    @cached_property
    def _dense(self) -> DenseNetwork:
        # Not in setup: what that raises would look like a lost process to Tune.
        return load_dense(self._dense_path)

    def _classify_error(self, error: Exception) -> str:
        """The state to report for what a step has raised."""
        if isinstance(error, OSError) and is_full_disk(error):
            return NO_SPACE
        if isinstance(error, UnusableError):
            return DAMAGED
        try:
            return "failed" if self._folder.read_record().state == "failed" else CRASHED
        except ValueError:
            return DAMAGED

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Does nothing: the trial's own checkpoints are in its folder."""

    def load_checkpoint(self, checkpoint_dir: Any) -> None:
        """Does nothing: the trial continues from its own newest checkpoint."""


def check_parameters(trainable: type, data: Data | None, dense: str | Path | None) -> tuple[Data, Path]:
    """The data and the dense network's folder that a trainable was given; raises ValueError if one is missing."""
    if data is None or dense is None:
        missing = "data" if data is None else "dense"
        raise ValueError(
            f"{trainable.__name__} needs `data` and `dense`, but got no `{missing}`; use "
            f'tune.with_parameters({trainable.__name__}, data=load_data(...), dense="path/to/dense")'
        )
    return data, Path(dense)

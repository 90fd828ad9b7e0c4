"""The Ray Tune trainables. The one module of this package that imports ray."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray import tune

from records.trial import FencedError, TrialFolder
from trainable.checkpoints import read_checkpoint, write_checkpoint
from trainable.config import trial_config
from trainable.data.dataset import Data
from trainable.dense import DenseNetwork, load_dense
from trainable.errors import TrialError, is_full_disk
from trainable.recorded_trial import RecordedTrial
from trainable.trial import Trial

CHECKPOINT = "trial.pt"
# A state that only results have, never records: the storage is full, and the driver has to stop the search.
NO_SPACE = "no_space"
# Only one new actor can have been given up for one that is reused.
RESET_TRIES = 3


class AlphaPruning(tune.Trainable):
    """One alpha-pruning trial for Ray Tune, one epoch per step. Tune may save, restore, clone and reuse it.

    Pass the data and the dense network with `tune.with_parameters(AlphaPruning, data=data, dense="path/to/dense")`,
    and the config as the fields of a TrialConfig, nested in the same way:
    `{"alpha": {"family": "exponential", "rate": tune.uniform(1, 8)}}`.
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
        self._data, self._dense = check_parameters(type(self), data, dense)
        self._threads = threads
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Starts another trial in the same actor; keeps only the data and the dense network of the earlier one."""
        self._trial = Trial(trial_config(new_config), self._data, self._dense, threads=self._threads)
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
    returns the epoch's row, `state` and `done`; one that fails returns `state="failed"` and is done.
    """

    _data: Data
    _dense: DenseNetwork
    _recorded: RecordedTrial | None
    _answer: dict[str, Any] | None  # of the next step, where there is nothing to run
    _fenced: FencedError

    def setup(
        self,
        config: dict[str, Any],
        *,
        data: Data | None = None,
        dense: str | Path | None = None,
        threads: int = 1,
        keep_at_alpha: Sequence[float] = (),
    ) -> None:
        """Starts the next attempt at the trial of a folder. Takes the parameters of AlphaPruning, and:

        Args:
            keep_at_alpha: as in RecordedTrial.
        """
        self._data, self._dense = check_parameters(type(self), data, dense)
        self._threads, self._keep = threads, keep_at_alpha
        self._take_trial(TrialFolder(Path(config["folder"])), tries=1)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes the next attempt at another trial in the same actor.

        Tune may have begun to start a new actor for that trial before, which it has given up for this one. If that one
        takes the trial away while it is being set up, it is taken again.
        """
        self._take_trial(TrialFolder(Path(new_config["folder"])), tries=RESET_TRIES)
        return True

    def _take_trial(self, folder: TrialFolder, *, tries: int) -> None:
        self._recorded = self._answer = None
        with self._answering(folder, epoch=0):
            for _ in range(tries):
                try:
                    self._recorded = RecordedTrial(
                        folder, self._data, self._dense, threads=self._threads, keep_at_alpha=self._keep
                    )
                    return
                except FencedError as error:
                    self._fenced = error
                    if (state := folder.read_record().state) != "running":
                        # It ended, and a crash kept that from being reported.
                        self._answer = {"epoch": 0, "state": state, "done": True}
                        return

    def step(self) -> dict[str, Any]:
        """One epoch: its row (records.epoch.EpochRow), `state` and `done`.

        Raises:
            FencedError: if another process has taken the trial.
        """
        if self._answer is None:
            if self._recorded is None:  # it was taken away in setup
                raise self._fenced
            with self._answering(self._recorded.folder, epoch=self._recorded.trial.epoch):
                row = self._recorded.run_epoch()
                done = self._recorded.is_finished
                return {**row.as_values(), "state": "complete" if done else "running", "done": done}
        assert self._answer is not None
        return self._answer

    @contextmanager
    def _answering(self, folder: TrialFolder, *, epoch: int) -> Iterator[None]:
        """Turns an error that must not be retried into what the next step returns."""
        try:
            yield
        except (ValueError, TrialError) as error:
            if folder.read_record().state != "failed":  # a bug in the code, not a failure of the trial
                raise
            self._answer = {"epoch": epoch, "state": "failed", "error": str(error), "done": True}
        except OSError as error:
            if not is_full_disk(error):
                raise
            self._answer = {"epoch": epoch, "state": NO_SPACE, "error": str(error), "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Does nothing: the trial's own checkpoints are in its folder."""

    def load_checkpoint(self, checkpoint_dir: Any) -> None:
        """Does nothing: the trial continues from its own newest checkpoint."""


def check_parameters(trainable: type, data: Data | None, dense: str | Path | None) -> tuple[Data, DenseNetwork]:
    """The data and the dense network that a trainable was given; raises ValueError if one is missing."""
    if data is None or dense is None:
        missing = "data" if data is None else "dense"
        raise ValueError(
            f"{trainable.__name__} needs `data` and `dense`, but got no `{missing}`; use "
            f'tune.with_parameters({trainable.__name__}, data=load_data(...), dense="path/to/dense")'
        )
    return data, load_dense(Path(dense))

"""The Ray Tune trainable. The one module of this package that imports ray."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray import tune

from records.trial import FencedError, TrialFolder
from trainable.checkpoints import read_checkpoint, write_checkpoint
from trainable.config import trial_config
from trainable.data.dataset import Data
from trainable.dense import Dense, load_dense
from trainable.errors import TrialError, is_full_disk
from trainable.recorded_trial import RecordedTrial
from trainable.trial import Trial

CHECKPOINT = "trial.pt"
# The state of a result that no record has: the storage is full, and the driver has to stop the search.
NO_SPACE = "no_space"


class AlphaPruning(tune.Trainable):
    """One alpha-pruning trial for Ray Tune, one epoch a step.

    Give it the data and the dense network by `tune.with_parameters(AlphaPruning, data=data, dense="path/to/dense")`,
    and in the config either

    - the keys of a TrialConfig, nested as it is (`{"alpha": {"family": "exponential", "rate": tune.uniform(1, 8)}}`);
      Tune then has the say: it may save, restore, clone and reuse the trial; or
    - `{"folder": "<experiment>/trials/00012"}`: the config is in the folder's trial.json, and the trial keeps its
      records and checkpoints there by itself (RecordedTrial). A step that fails returns `state="failed"` and is done.
    """

    _dense: Dense
    _plain: Trial | None
    _recorded: RecordedTrial | None
    _answer: dict[str, Any] | None

    def setup(
        self,
        config: dict[str, Any],
        *,
        data: Data | None = None,
        dense: str | Path = "",
        threads: int = 1,
        keep_at_alpha: Sequence[float] = (),
    ) -> None:
        """Takes up the trial.

        Args:
            config: as above.
            data: from load_data; Ray's object store shares it between the trials of a node.
            dense: the folder of the dense network.
            threads: CPU threads of the trial.
            keep_at_alpha: as in RecordedTrial.
        """
        assert data is not None, "use tune.with_parameters(AlphaPruning, data=..., dense=...)"
        self._data, self._threads, self._keep = data, threads, keep_at_alpha
        self._dense = load_dense(Path(dense))
        self._take_up(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes up another trial in the same actor; nothing of the earlier one is left but data and dense network."""
        self._take_up(new_config)
        return True

    def _take_up(self, config: dict[str, Any]) -> None:
        self._recorded = self._plain = self._answer = None
        if "folder" not in config:
            self._plain = Trial(trial_config(config), self._data, self._dense, threads=self._threads)
            return
        folder = TrialFolder(Path(config["folder"]))
        with self._answering(folder, epoch=0):
            try:
                self._recorded = RecordedTrial(
                    folder, self._data, self._dense, threads=self._threads, keep_at_alpha=self._keep
                )
            except FencedError:  # it ended, and a crash kept that from being reported
                self._answer = {"epoch": 0, "state": folder.read().state, "done": True}

    @contextmanager
    def _answering(self, folder: TrialFolder, *, epoch: int) -> Iterator[None]:
        """What must not be tried again becomes the answer of the next step."""
        try:
            yield
        except (ValueError, TrialError) as error:
            if folder.read().state != "failed":  # a defect, and nothing that the trial was found to fail of
                raise
            self._answer = {"epoch": epoch, "state": "failed", "error": str(error), "done": True}
        except OSError as error:
            if not is_full_disk(error):
                raise
            self._answer = {"epoch": epoch, "state": NO_SPACE, "error": str(error), "done": True}

    @property
    def _trial(self) -> Trial:
        trial = self._plain if self._recorded is None else self._recorded.trial
        assert trial is not None
        return trial

    def step(self) -> dict[str, Any]:
        """One epoch: its row (records.epoch.EpochRow) and `done`."""
        if self._plain is not None:
            trial = self._plain  # one restored behind its last epoch has nothing left to run
            row = trial.rows[-1] if trial.finished else trial.run_epoch()
            return {**row.as_values(), "done": trial.finished}
        if self._recorded is not None and self._answer is None:
            with self._answering(self._recorded.folder, epoch=self._trial.epoch):
                row = self._recorded.step()
                done = self._trial.finished
                return {**row.as_values(), "state": "complete" if done else "running", "done": done}
        assert self._answer is not None
        return self._answer

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Writes all of the trial but the data into the folder."""
        write_checkpoint(Path(checkpoint_dir) / CHECKPOINT, self._trial.state_dict())

    def load_checkpoint(self, checkpoint_dir: Any) -> None:
        """Goes on from what save_checkpoint wrote, here or elsewhere."""
        self._trial.load_state_dict(read_checkpoint(Path(checkpoint_dir) / CHECKPOINT, self._trial.device))

"""The Ray Tune trainable. The one module of this package that imports ray."""

from pathlib import Path
from typing import Any

import torch
from ray import tune

from trainable.config import TrialConfig, trial_config
from trainable.data import Data
from trainable.dense import Dense, load_dense
from trainable.recorded import RecordedTrial
from trainable.records import TrialFolder, replace_file
from trainable.training import DivergedError
from trainable.trial import Trial

CHECKPOINT = "trial.pt"


class AlphaPruning(tune.Trainable):
    """One alpha-pruning trial for Ray Tune, one epoch a step.

    Give it the data and the dense network by `tune.with_parameters(AlphaPruning, data=data, dense="path/to/dense")`,
    and in the config either

    - the keys of a TrialConfig, nested as it is (`{"alpha": {"family": "exponential", "rate": tune.uniform(1, 8)}}`);
      Tune then has the say: it may save, restore, clone and reuse the trial; or
    - `{"folder": "<experiment>/trials/00012"}`: the config is in the folder's trial.json, and the trial keeps its
      records and checkpoints there by itself (RecordedTrial). A step that fails returns `state="failed"` and is done.
    """

    _trial: Trial
    _recorded: RecordedTrial | None
    _dense: Dense
    _refused: str | None

    def setup(
        self, config: dict[str, Any], *, data: Data | None = None, dense: str | Path = "", threads: int = 1
    ) -> None:
        """Takes up the trial.

        Args:
            config: as above.
            data: from load_data; Ray's object store shares it between the trials of a node.
            dense: the folder of the dense network.
            threads: CPU threads of the trial.
        """
        assert data is not None, "use tune.with_parameters(AlphaPruning, data=..., dense=...)"
        self._data, self._threads = data, threads
        self._dense = load_dense(Path(dense))
        self._take_up(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes up another trial in the same actor; nothing of the earlier one is left but data and dense network."""
        self._take_up(new_config)
        return True

    def _take_up(self, config: dict[str, Any]) -> None:
        self._recorded = self._refused = None
        if "folder" in config:
            folder = TrialFolder(Path(config["folder"]))
            try:
                self._recorded = RecordedTrial(folder, self._data, self._dense, threads=self._threads)
            except ValueError as error:  # to start it again would end the same
                self._refused = str(error)
            else:
                self._trial = self._recorded.trial
        else:
            own: TrialConfig = trial_config(config)
            self._trial = Trial(own, self._data, self._dense, threads=self._threads)

    def step(self) -> dict[str, Any]:
        """One epoch; the row of method.md, and `done`."""
        if self._refused is not None:
            return {"epoch": 0, "state": "failed", "error": self._refused, "done": True}
        if self._trial.finished:  # set up again after its last epoch, which a crash kept from being reported
            return {**self._trial.rows[-1], "state": "complete", "done": True}
        if self._recorded is None:
            return {**self._trial.run_epoch(), "done": self._trial.finished}
        try:
            row = self._recorded.step()
        except DivergedError as error:
            return {"epoch": self._trial.epoch, "state": "failed", "error": str(error), "done": True}
        done = self._trial.finished
        return {**row, "state": "complete" if done else "running", "done": done}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Writes all of the trial but the data into the folder."""
        state = self._trial.state_dict()
        replace_file(Path(checkpoint_dir) / CHECKPOINT, lambda file: torch.save(state, file))

    def load_checkpoint(self, checkpoint_dir: Any) -> None:
        """Goes on from what save_checkpoint wrote, here or elsewhere."""
        path = Path(checkpoint_dir) / CHECKPOINT
        self._trial.load_state_dict(torch.load(path, map_location=self._trial.device, weights_only=True))

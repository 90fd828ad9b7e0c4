"""One trial: from the dense network through the alpha phase, the cut and the retrain phase, one epoch at a time."""

import copy
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from torch import Tensor, nn

from records.epoch import EpochRow, Phase
from records.trial import Cut
from trainable.config import TrialConfig, as_json, trial_config
from trainable.data.batches import DeviceSplit, Draw
from trainable.data.dataset import Data
from trainable.dense import DenseNetwork
from trainable.device import default_device, prepare_device, seed_layers
from trainable.errors import DivergedError, InexactRemovalError
from trainable.graphed_step import create_step
from trainable.measurement.machine_lock import training_allowed
from trainable.network.architecture import initialise_weights
from trainable.network.placement import place_on, replace_tensors
from trainable.pruning.criteria import score_channels
from trainable.pruning.gates import GatedNetwork
from trainable.pruning.masks import choose_masks, widths_of
from trainable.pruning.removal import find_inexact_group, relative_difference, remove_channels
from trainable.schedules.lr_schedulers import LRDriver
from trainable.training import (
    EvaluationResult,
    TrainingStep,
    TrainingSums,
    create_sgd,
    evaluate,
    recalibrate_norms,
    replace_network,
    train_batches,
)

# The first-order Taylor criterion needs gradients of a sample, not of the whole split.
TAYLOR_BATCHES = 10
# Removal only changes the order of the sums: 1e-7 of the largest logit in float32, up to 1e-3 on a GPU, which rounds to
# TF32 before it convolves. A defect is 0.1 or more.
REMOVAL_TOLERANCE = 1e-2


class Trial:
    """A trial and its progress.

    The same config, data and dense network give the same rows (bit for bit on the CPU, with the same number of
    threads), even if the trial is saved after any epoch (state_dict) and continued in a new object (load_state_dict).

    Attributes:
        config: what the trial is.
        epoch: epochs done.
        rows: one row per epoch (its columns: docs/method.md).
        cut: the result of removing the channels, None before the cut.
        network: the gated network in the alpha phase, the pruned one in the retrain phase.
        layout: of the dense network.
        device: where it trains, CUDA if there is one.
    """

    def __init__(self, config: TrialConfig, data: Data, dense: DenseNetwork, *, threads: int = 1) -> None:
        """Chooses the doomed channels and adds the gates.

        Args:
            config: of the trial.
            data: its training and validation splits are used.
            dense: the trained dense network of the same data; it is not changed.
            threads: CPU threads, set for the whole process; the last bits of all numbers depend on it.

        Raises:
            ValueError: if the channels cannot be cut that far.
        """
        self.config = config
        self.device = default_device()
        prepare_device(self.device, threads)
        self.train_images, self.validation_images = (
            DeviceSplit(split, data, self.device) for split in (data.train, data.validation)
        )
        self.epoch = 0
        self.rows: list[EpochRow] = []
        self.cut: Cut | None = None
        self._dense, self.layout = place_on(copy.deepcopy(dense.network), self.device), dense.layout
        self._architecture = dense.architecture
        pruning, batch_size = config.pruning, config.optimizer.batch_size
        scores = score_channels(
            self._dense,
            self.layout,
            pruning.criterion,
            batches=self.train_images.plain_batches(batch_size, most=TAYLOR_BATCHES * batch_size),
            seed=config.seed,
        )
        self.masks = choose_masks(scores, pruning, self.layout)
        self._steps = self.train_images.count_steps(batch_size)
        self._alphas = config.list_alphas(self._steps)  # of each batch
        self._dense_macs = self.layout.count("macs", self.layout.widths)
        self.network: nn.Module = GatedNetwork(self._dense, self.layout, self.masks, pruning.gate)
        self._start_phase()

    @property
    def is_finished(self) -> bool:
        return self.epoch >= self.config.epochs

    @property
    def phase(self) -> Phase:
        """The phase that the next epoch ends in."""
        return "alpha" if (self.epoch + 1) * self._steps <= len(self._alphas) else "retrain"

    def run_epoch(self) -> EpochRow:
        """Trains one epoch and returns its row, which is also appended to `rows`.

        Raises:
            DivergedError: if a loss is no longer finite, with the epoch, the loss and the learning rate.
        """
        assert not self.is_finished, "the trial has run all its epochs"
        number = self.epoch + 1
        with training_allowed(), seed_layers(self.device, seed=self.config.seed, epoch=number):
            began = time.perf_counter()
            try:
                metrics = self._train_and_validate(number)
            except DivergedError as error:
                raise DivergedError(f"epoch {number}: {error}") from error
            row = EpochRow(epoch=number, **metrics, epoch_seconds=time.perf_counter() - began)
        self.rows.append(row)
        self.epoch = number
        return row

    def _train_and_validate(self, number: int) -> dict[str, Any]:
        config, phase = self.config, self.phase
        draws = self.train_images.draw_batches(config.optimizer.batch_size, seed=config.seed, epoch=number)
        alphas = self._alphas[self.epoch * self._steps : number * self._steps] if self.cut is None else ()
        parts: list[TrainingSums] = []
        seconds = macs = 0.0
        if alphas:
            part, took = self._train(self._set_alphas(draws, alphas))
            parts, seconds, macs = [part], took, part.images * self._dense_macs
        if len(alphas) < self._steps:
            if self.cut is None:
                self._make_cut()
            assert self.cut is not None
            part, took = self._train(draws)
            parts, seconds, macs = [*parts, part], seconds + took, macs + part.images * self.cut.macs
        trained = sum(parts[1:], parts[0]).average()
        validated = evaluate(self.network, self.validation_images, lr=trained.lr)
        spanned = parts if config.lr_span == "trial" else parts[-1:]
        self._learning_rate.after_epoch(
            val_loss=validated.loss, val_accuracy=validated.accuracy, steps=sum(part.steps for part in spanned)
        )
        projected = validated if phase == "retrain" else self._project_cut()[1]
        return {
            "phase": phase,
            "alpha": alphas[-1] if phase == "alpha" else 0.0,
            "lr": trained.lr,
            "train_loss": trained.loss,
            "train_accuracy": trained.accuracy,
            "val_loss": validated.loss,
            "val_accuracy": validated.accuracy,
            "pruned_val_accuracy": projected.accuracy,
            **self.layout.compute_sparsities(widths_of(self.masks)),
            "training_cost": macs / (len(self.train_images) * self._dense_macs),
            "images_per_second": len(self.train_images) / seconds,
        }

    def _train(self, draws: Iterator[Draw]) -> tuple[TrainingSums, float]:
        """Trains on `draws`; returns the sums and the seconds that it took."""
        began = time.perf_counter()
        sums = train_batches(self._step, self._learning_rate, draws)
        return sums, time.perf_counter() - began

    def _set_alphas(self, draws: Iterator[Draw], alphas: Sequence[float]) -> Iterator[Draw]:
        """The next of `draws`, one for each of `alphas`, which is set before it."""
        assert isinstance(self.network, GatedNetwork)
        for alpha, draw in zip(alphas, draws, strict=False):
            self.network.set_alpha(alpha)
            yield draw

    def _project_cut(self) -> tuple[nn.Module, EvaluationResult]:
        """The recalibrated network that a cut made now would give, and its evaluation; no weights are changed."""
        assert isinstance(self.network, GatedNetwork)
        self.network.set_alpha(0)  # the next epoch of training sets it again
        pruned = remove_channels(self.network)
        recalibrate_norms(pruned, self.train_images, self.config.optimizer.batch_size)
        return pruned, evaluate(pruned, self.validation_images)

    def _make_cut(self) -> None:
        """Removes the doomed channels, checks the smaller network against the gated one, and begins to retrain it."""
        gated = self.network
        assert isinstance(gated, GatedNetwork)
        widths = widths_of(self.masks)
        at_cut: EvaluationResult | None = None
        difference: float | None = None
        if self.config.initial == "random":
            self.network = place_on(
                initialise_weights(remove_channels(gated), self._architecture, self.config.seed), self.device
            )
        else:
            sample, _ = next(self.validation_images.plain_batches(32))
            difference = relative_difference(gated, remove_channels(gated), sample)
            if not math.isfinite(difference):
                raise DivergedError("the network's output is no longer finite at the cut")
            if self.config.pruning.gate == "bn_output" and not difference <= REMOVAL_TOLERANCE:
                raise InexactRemovalError(self._explain_inexact(gated, sample, difference))
            self.network, at_cut = self._project_cut()
        self.cut = Cut(
            epoch=self.epoch,
            widths=widths,
            channels=self.layout.count("channels", widths),
            parameters=self.layout.count("parameters", widths),
            macs=self.layout.count("macs", widths),
            val_loss=at_cut and at_cut.loss,
            val_accuracy=at_cut and at_cut.accuracy,
            difference=difference,
        )
        if self.config.lr_span == "trial":
            select = partial(self.layout.select, masks=self.masks)
            replace_network(self._optimizer, gated.network, self.network, select)
            self._learning_rate.after_cut()
            self._step = self._create_step()
        else:
            self._start_phase()

    def _explain_inexact(self, gated: GatedNetwork, sample: Tensor, difference: float) -> str:
        group = find_inexact_group(gated, sample, REMOVAL_TOLERANCE)
        which = f"group {group!r}" if group else "all groups together, but none alone"
        return (
            f"removing the channels of {which} changed the network's output by {difference:.2g} of its largest logit, "
            "although alpha was 0; this network cannot be pruned exactly (docs/networks.md)"
        )

    def _start_phase(self) -> None:
        """Makes a new optimizer, and starts the learning rate of what comes next."""
        config, steps = self.config, self._steps
        self._optimizer = create_sgd(self.network, config.optimizer, config.alpha_lr)
        spans_trial = config.lr_span == "trial"
        before = max(len(config.begun) * steps, 0 if spans_trial else len(self._alphas))
        self._learning_rate = LRDriver(
            self._optimizer,
            config.lr if spans_trial or self.cut is not None else None,
            total=config.epochs * steps - before,
            steps=steps,
        )
        self._step = self._create_step()

    def _create_step(self) -> TrainingStep:
        smoothing = self.config.optimizer.label_smoothing
        return create_step(self.network, self._optimizer, self.train_images, label_smoothing=smoothing)

    @property
    def _inner_network(self) -> nn.Module:
        """The network whose parameters have the names of the dense network's."""
        return self.network.network if isinstance(self.network, GatedNetwork) else self.network

    def state_dict(self) -> dict[str, Any]:
        """The whole state of the trial: only tensors, numbers, strings, lists and dicts."""
        return {
            "config": as_json(self.config),
            "epoch": self.epoch,
            "rows": [row.as_values() for row in self.rows],
            "cut": None if self.cut is None else {**asdict(self.cut), "widths": list(self.cut.widths)},
            "masks": self.masks,
            "network": self._inner_network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "learning_rate": self._learning_rate.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from where `state` was taken, with the gates, masks and weights in it.

        A state of another config is used as a scheduler that clones trials expects: the network, the epochs and the
        rows are the state's; the schedule from here on, the optimizer and its learning rate are this config's.

        Raises:
            ValueError: if the state's network or epochs do not fit this config; the trial is as before then.
        """
        own = trial_config(state["config"]) == self.config
        if not own:
            _check_clonable(trial_config(state["config"]), self.config, state, self._steps)
        rows = [EpochRow.from_values(row, epoch) for epoch, row in enumerate(state["rows"], start=1)]
        masks = [mask.cpu() for mask in state["masks"]]  # as choose_masks makes them
        # Earlier versions kept alpha among the tensors of a gated network, which each batch sets anyway.
        added = {"alpha"} - self._dense.state_dict().keys()
        tensors = {name: tensor.clone() for name, tensor in state["network"].items() if name not in added}
        if state["cut"] is None:
            gated = GatedNetwork(self._dense, self.layout, masks, self.config.pruning.gate)
            gated.network.load_state_dict(tensors)
            self.network, self.cut = gated, None
        else:
            self.network = place_on(replace_tensors(self._dense, tensors), self.device)
            self.cut = Cut(**{**state["cut"], "widths": tuple(state["cut"]["widths"])})
        self.epoch, self.rows, self.masks = state["epoch"], rows, masks
        self._start_phase()
        if own:
            self._optimizer.load_state_dict(state["optimizer"])
            self._learning_rate.load_state_dict(state["learning_rate"])


def _check_clonable(theirs: TrialConfig, ours: TrialConfig, state: dict[str, Any], steps: int) -> None:
    """Raises ValueError if a trial of config `ours` cannot continue from a `state` of config `theirs`."""
    if theirs.pruning.gate != ours.pruning.gate:
        raise ValueError(
            f"`pruning.gate` must be that of the checkpoint, {theirs.pruning.gate!r}, but got {ours.pruning.gate!r}"
        )
    after_cut, done, room = state["cut"] is not None, state["epoch"] * steps, len(ours.list_alphas(steps))
    if (done < room) if after_cut else (done > room):
        raise ValueError(
            f"a checkpoint from {'after' if after_cut else 'before'} the cut (epoch {state['epoch']}) does not fit an "
            f"alpha phase of {room / steps:.4g} epochs; keep alpha_fraction and the schedule's length as they were"
        )

"""The learning rate of a phase or a trial: PyTorch's own schedulers, made from the policies of lr_policies.py.

What has a formula is stepped per batch (warm-up, cosine, restarts, one cycle), what reacts is stepped per epoch
(plateau, stagnation). A warm-up rises linearly to the peak and takes at most a third of the phase.
"""

import math
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
)

from trainable.schedules.lr_policies import (
    CosineAnnealing,
    CosineRestarts,
    LRPolicy,
    OneCycle,
    Plateau,
    StagnationRestart,
)


class LRDriver:
    """Drives an optimizer's learning rate by a policy; without one it stays constant."""

    def __init__(self, optimizer: Optimizer, policy: LRPolicy | None, *, total: int, steps: int) -> None:
        """Sets the optimizer's first learning rate.

        Args:
            optimizer: a new one; without a policy its own learning rate stays.
            policy: of the phase, or of all that it spans.
            total: batches that it spans.
            steps: batches of one epoch.
        """
        self._optimizer = optimizer
        self._a_batch: LRScheduler | None = None
        self._an_epoch: ReduceLROnPlateau | _StagnationScheduler | None = None
        self._warmup_left = 0
        if policy is None:
            return
        for group in optimizer.param_groups:
            group["lr"] = policy.rates[0] if isinstance(policy, StagnationRestart) else policy.peak
        match policy:
            case OneCycle():
                # PyTorch divides by the batches of the rise, and of the fall, minus 1: a cycle needs at least three.
                cycle = max(total, 3)
                rise = max(policy.rise, 2 / cycle)
                self._a_batch = OneCycleLR(optimizer, policy.peak, cycle, pct_start=rise, cycle_momentum=False)
            case CosineAnnealing():
                warmup = _warmup_steps(policy, total, steps)
                self._a_batch = _after_warmup(CosineAnnealingLR(optimizer, total - warmup), warmup)
            case CosineRestarts():
                warmup = _warmup_steps(policy, total, steps)
                period = policy.period_epochs * steps
                if policy.cycles is not None:
                    # Rounded up: a last fall a few batches short ends near 0, while a batch too many is at the peak.
                    parts = sum(policy.period_factor**cycle for cycle in range(policy.cycles))
                    period = max(1, math.ceil((total - warmup) / parts))
                main = CosineAnnealingWarmRestarts(optimizer, period, policy.period_factor)
                self._a_batch = _after_warmup(main, warmup)
            case Plateau():
                self._warmup_left = _warmup_steps(policy, total, steps)
                self._an_epoch = ReduceLROnPlateau(optimizer, factor=policy.factor, patience=policy.patience)
                if self._warmup_left:
                    self._a_batch = _create_warmup(optimizer, self._warmup_left)
            case StagnationRestart():
                self._an_epoch = _StagnationScheduler(optimizer, policy)

    @property
    def current_lr(self) -> float:
        """The learning rate of the next batch."""
        return float(self._optimizer.param_groups[0]["lr"])

    def after_batch(self) -> None:
        if self._a_batch is not None:
            self._a_batch.step()

    def after_epoch(self, *, val_loss: float, val_accuracy: float, steps: int) -> None:
        """Shows an epoch to a policy that reacts; it does not react to the warm-up.

        steps: batches of the epoch that the policy spanned.
        """
        if self._warmup_left > 0:
            self._warmup_left -= steps
        elif isinstance(self._an_epoch, ReduceLROnPlateau):
            self._an_epoch.step(val_loss)
        elif self._an_epoch is not None:
            self._an_epoch.step(val_accuracy)

    def after_cut(self) -> None:
        """Tells a policy that reacts that what it compares is another network's from here on."""
        if isinstance(self._an_epoch, ReduceLROnPlateau):
            self._an_epoch.best, self._an_epoch.num_bad_epochs = math.inf, 0
        elif self._an_epoch is not None:
            self._an_epoch.forget_best()

    def state_dict(self) -> dict[str, Any]:
        return {
            "a_batch": self._a_batch.state_dict() if self._a_batch else None,
            "an_epoch": self._an_epoch.state_dict() if self._an_epoch else None,
            "warmup_left": self._warmup_left,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._warmup_left = state["warmup_left"]
        if self._a_batch is not None:
            self._a_batch.load_state_dict(state["a_batch"])
        if self._an_epoch is not None:
            self._an_epoch.load_state_dict(state["an_epoch"])


class _StagnationScheduler:
    """The next of the rates when validation accuracy has not improved for `patience` epochs; the last one stays."""

    def __init__(self, optimizer: Optimizer, policy: StagnationRestart) -> None:
        self._optimizer, self._policy = optimizer, policy
        self._state: dict[str, Any] = {"rate": 0, "best": 0.0, "waited": 0}

    def step(self, val_accuracy: float) -> None:
        state = self._state
        if val_accuracy > state["best"]:
            state.update(best=val_accuracy, waited=0)
            return
        state["waited"] += 1
        if state["waited"] >= self._policy.patience and state["rate"] + 1 < len(self._policy.rates):
            state.update(rate=state["rate"] + 1, waited=0)
            for group in self._optimizer.param_groups:
                group["lr"] = self._policy.rates[state["rate"]]

    def forget_best(self) -> None:
        self._state.update(best=0.0, waited=0)

    def state_dict(self) -> dict[str, Any]:
        return dict(self._state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._state = dict(state)


def _warmup_steps(policy: CosineAnnealing | CosineRestarts | Plateau, total: int, steps: int) -> int:
    return min(policy.warmup_epochs * steps, total // 3)


def _create_warmup(optimizer: Optimizer, steps: int) -> LinearLR:
    return LinearLR(optimizer, start_factor=1 / (steps + 1), total_iters=steps)


def _after_warmup(main: LRScheduler, warmup: int) -> LRScheduler:
    if not warmup:
        return main
    return SequentialLR(main.optimizer, [_create_warmup(main.optimizer, warmup), main], [warmup])

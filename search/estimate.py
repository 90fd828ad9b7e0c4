"""How long a search takes: arithmetic alone. The unit of cost is the time of one epoch of the dense network's training.

An alpha epoch trains the whole network, so it costs as much as a dense one and a little for the projected cut. An epoch
after the cut costs less, but not as little as its MACs suggest. From the first epochs of the trials on, what has been
measured takes over, whatever the device.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, floor
from typing import Literal

from analysis.text import format_duration
from records.epoch import PHASES, Phase
from trainable.config import PruningConfig, TrialConfig

# The part of an epoch's time that no cut shortens: augmentation, the first layers, the overhead of each layer. With it,
# networks with 25, 10 and 7% of the MACs take the time that was measured in batches of 256 (README) within a fifth.
FIXED_SHARE = 0.25
# What the projected cut adds to an alpha epoch: recalibrating and evaluating the network that a cut would give.
PROJECTION_COST = 0.08
# N threads are as fast as N ** THREAD_SCALING threads that had no need to wait for each other.
THREAD_SCALING = 0.9


def compute_epoch_cost(phase: Phase, mac_sparsity: float) -> float:
    """The cost of an epoch of a trial; mac_sparsity: the fraction of the MACs that is cut, or will be."""
    if phase == "alpha":
        return 1 + PROJECTION_COST
    return FIXED_SHARE + (1 - FIXED_SHARE) * (1 - mac_sparsity)


def estimate_mac_sparsity(pruning: PruningConfig) -> float:
    """About what fraction of the MACs a cut takes, before it is known which channels it takes."""
    # A layer has fewer inputs and fewer outputs.
    return 1 - (1 - pruning.amount) ** 2 if pruning.of == "channels" else pruning.amount


def list_epoch_costs(config: TrialConfig) -> tuple[float, ...]:
    """The costs of a trial's epochs; those that a branch took over from its parent cost it nothing."""
    cut = estimate_mac_sparsity(config.pruning)
    alpha, retrain = (compute_epoch_cost(phase, cut) for phase in PHASES)
    fading = config.alpha_epochs
    shares = [min(1.0, max(0.0, fading - epoch)) for epoch in range(len(config.begun), config.epochs)]
    return (0.0,) * len(config.begun) + tuple(share * alpha + (1 - share) * retrain for share in shares)


def count_survivors(trials: float, reduction: float) -> float:
    """How many of `trials` early stopping lets past a rung, if they come in random order.

    The i-th to come is among the best ceil(i / reduction) of the i so far with the probability ceil(i / reduction) / i.
    """
    whole = floor(trials)
    chances = [ceil(i / reduction) / i for i in range(1, whole + 2)]
    return sum(chances[:whole]) + (trials - whole) * chances[whole]


def list_chances(epochs: int, trials: int, rungs: Collection[int], reduction: float) -> tuple[float, ...]:
    """The chance of each epoch to be run by a trial that may be stopped early.

    Args:
        epochs: of a trial.
        trials: that compete at the rungs.
        rungs: epochs after which trials are stopped.
        reduction: of early stopping.
    """
    alive, chances = float(trials), []
    for epoch in range(epochs):
        if epoch in rungs:
            alive = count_survivors(alive, reduction)
        chances.append(alive / trials if trials else 1.0)
    return tuple(chances)


@dataclass(frozen=True)
class ExpectedTrial:
    """A trial before it has run: the cost of each of its epochs, and the chance of each to be run."""

    costs: tuple[float, ...]
    chances: tuple[float, ...]

    @classmethod
    def of(cls, configs: Sequence[TrialConfig], chances: Sequence[float] | None = None) -> "ExpectedTrial":
        """The mean of trials that run equally many epochs; chances: 1 for all epochs by default."""
        columns = list(zip(*map(list_epoch_costs, configs), strict=True))
        costs = tuple(sum(column) / len(column) for column in columns)
        return cls(costs, tuple(chances) if chances is not None else (1.0,) * len(costs))

    def count_cost(self, done: int = 0) -> float:
        """The cost that is left, on average, to a trial that has run `done` epochs and has not been stopped."""
        left = zip(self.costs[done:], self.chances[done:], strict=True)
        return sum(cost * chance for cost, chance in left) / self.chances[done] if done < len(self.costs) else 0.0


@dataclass(frozen=True)
class Hardware:
    """Where a search runs.

    device: what its time is counted on. dense, trial: how many of these devices the training of the dense network and a
    trial get. concurrency: trials at once.
    """

    device: Literal["CPU", "GPU"]
    dense: float
    trial: float
    concurrency: int

    @property
    def slowdown(self) -> float:
        """How many times as long as the dense network's an epoch of the same cost takes in a trial."""
        ratio = self.dense / self.trial
        # Trials that share a GPU are taken to keep it as busy as the dense network alone did.
        return ratio if self.device == "GPU" else ratio**THREAD_SCALING


@dataclass(frozen=True)
class Workload:
    """What a search has to do, as far as it is known before.

    controls: by number. searched: a trial of the study. added: branches, repeats and twins, by number. hardware:
    where it runs. epoch_seconds: of an epoch of the dense network, if an earlier experiment tells; source: the name
    of that experiment.
    """

    controls: tuple[ExpectedTrial, ...]
    searched: ExpectedTrial
    hardware: Hardware
    epoch_seconds: float | None = None
    source: str = ""
    added: Mapping[int, ExpectedTrial] = field(default_factory=dict)

    def find_trial(self, number: int) -> ExpectedTrial:
        """What is expected of trial `number`."""
        if number in self.added:
            return self.added[number]
        return self.controls[number] if number < len(self.controls) else self.searched


@dataclass(frozen=True)
class TrialsLeft:
    """The costs that are left to the trials that are running and to those that are not."""

    running: tuple[float, ...] = ()
    waiting: tuple[float, ...] = ()

    @property
    def total(self) -> float:
        return sum(self.running) + sum(self.waiting)

    def count_span(self, concurrency: int) -> float:
        """The cost along the longest chain of trials that run one after another, `concurrency` chains at once."""
        longest = max((*self.running, *self.waiting), default=0.0)
        if not self.waiting:
            return longest
        # At the end some have nothing left to run while others finish: for half of a trial, on average.
        idle = sum(self.waiting) / len(self.waiting) * (concurrency - 1) / 2
        return max(longest, (self.total + idle) / concurrency) if concurrency > 1 else self.total


class Pace:
    """Seconds that a running trial takes for a cost of 1: as expected at first, then more and more as measured."""

    def __init__(self, expected: float | None, concurrency: int) -> None:
        """
        Args:
            expected: before anything has been measured; None if nothing is known.
            concurrency: how many trials run at once.
        """
        self._expected, self._concurrency = expected, concurrency
        self._cost, self._epochs, self._seconds = 0.0, 0, 0.0

    def count_epoch(self, cost: float, seconds: float) -> None:
        """Counts an epoch of any trial that has been done; seconds: since the trials started."""
        self._cost, self._epochs, self._seconds = self._cost + cost, self._epochs + 1, seconds

    @property
    def seconds_per_cost(self) -> float | None:
        """None if nothing is known yet."""
        busy = self._seconds * self._concurrency
        # The other trials are in the middle of an epoch, on average.
        cost = self._cost + (self._concurrency - 1) / 2 * self._cost / max(1, self._epochs)
        if self._expected is not None:
            # What was expected weighs as much as an epoch of each trial.
            busy, cost = busy + self._expected * self._concurrency, cost + self._concurrency
        return busy / cost if cost else None


@dataclass(frozen=True)
class TimeEstimate:
    """How long a search still takes. device_seconds: of all devices of the kind `device` that it uses."""

    dense_seconds: float
    trial_seconds: float
    device_seconds: float
    device: str

    @property
    def seconds(self) -> float:
        return self.dense_seconds + self.trial_seconds

    def __str__(self) -> str:
        parts = [("dense network", self.dense_seconds), ("trials", self.trial_seconds)]
        both = ", ".join(f"{name} {format_duration(seconds)}" for name, seconds in parts if seconds)
        split = f" ({both})" if self.dense_seconds and self.trial_seconds else ""
        hours = self.device_seconds / 3600
        return (
            f"about {format_duration(self.seconds)}{split}, {hours:.{1 if hours >= 0.95 else 2}f} {self.device}-hours"
        )


def estimate_time(
    hardware: Hardware, left: TrialsLeft, dense_epochs: int, epoch_seconds: float, seconds_per_cost: float | None = None
) -> TimeEstimate:
    """The time of what is left.

    Args:
        hardware: where it runs.
        left: of the trials.
        dense_epochs: left to train the dense network.
        epoch_seconds: of an epoch of the dense network.
        seconds_per_cost: of a running trial (Pace); by default what follows from the dense network.
    """
    pace = epoch_seconds * hardware.slowdown if seconds_per_cost is None else seconds_per_cost
    dense_seconds = dense_epochs * epoch_seconds
    return TimeEstimate(
        dense_seconds,
        left.count_span(hardware.concurrency) * pace,
        dense_seconds * hardware.dense + left.total * pace * hardware.trial,
        hardware.device,
    )

"""Learning rates are arithmetic: written lists, per batch or per epoch, and what holds for any policy and phase.

The numbers are the formulas evaluated by hand for a peak of 1: a warm-up of n batches is 1/(n+1), 2/(n+1), ...; a
cosine (1 + cos(pi t)) / 2.
"""

import io
import math
from collections.abc import Sequence
from itertools import pairwise, repeat
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainable.schedules.lr_policies import (
    CosineAnnealing,
    CosineRestarts,
    LRPolicy,
    OneCycle,
    Plateau,
    StagnationRestart,
)
from trainable.schedules.lr_schedulers import LRDriver

# PyTorch warns where schedulers and optimizers step in the wrong order.
pytestmark = pytest.mark.filterwarnings("error")

POLICIES: tuple[LRPolicy, ...] = (
    Plateau(peak=1, patience=0),
    CosineAnnealing(peak=1),
    CosineRestarts(peak=1, period_epochs=1),
    OneCycle(peak=1),
    StagnationRestart(rates=(0.001, 0.01, 0.1), patience=1),
)
names = [policy.policy for policy in POLICIES]


class Phase:
    """An optimizer whose learning rate a policy drives, batch by batch, as train_batches does."""

    def __init__(self, policy: LRPolicy | None, epochs: int, steps: int) -> None:
        parameter = torch.nn.Parameter(torch.zeros(2))
        parameter.grad = torch.ones(2)
        groups = [{"params": [parameter]}, {"params": [torch.nn.Parameter(torch.zeros(2))]}]
        self.optimizer = torch.optim.SGD(groups, lr=0.5, momentum=0.9)
        self.learning_rate = LRDriver(self.optimizer, policy, total=epochs * steps, steps=steps)
        self.steps = steps

    def epoch(self, loss: float = 1.0, accuracy: float = 0.5) -> list[float]:
        """The learning rate of each batch."""
        rates = []
        for _ in range(self.steps):
            rates.append(self.learning_rate.current_lr)
            assert {group["lr"] for group in self.optimizer.param_groups} == {rates[-1]}
            self.optimizer.step()
            self.learning_rate.after_batch()
        self.learning_rate.after_epoch(val_loss=loss, val_accuracy=accuracy, steps=self.steps)
        return rates

    def run(self, losses: Sequence[float] = (), accuracies: Sequence[float] = (), epochs: int = 0) -> list[float]:
        told = zip(losses or repeat(1.0), accuracies or repeat(0.5), range(epochs or 10**6), strict=False)
        return [rate for loss, accuracy, _ in told for rate in self.epoch(loss, accuracy)]


def test_without_a_policy_it_stays_constant() -> None:
    assert Phase(None, 2, 3).run(epochs=2) == [0.5] * 6


def test_cosine() -> None:
    rates = Phase(CosineAnnealing(peak=1, warmup_epochs=0), 2, 4).run(epochs=2)
    assert rates == pytest.approx(
        [1, 0.961939766256, 0.853553390593, 0.691341716183, 0.5, 0.308658283817, 0.146446609407, 0.038060233744]
    )


def test_cosine_after_a_warm_up() -> None:
    rates = Phase(CosineAnnealing(peak=1, warmup_epochs=1), 4, 3).run(epochs=4)
    rest = [0.969846310393, 0.883022221559, 0.75, 0.586824088833, 0.413175911167, 0.25, 0.116977778441, 0.030153689607]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1, *rest])


def test_a_warm_up_takes_a_third_of_the_phase_at_most() -> None:
    rates = Phase(CosineAnnealing(peak=1, warmup_epochs=3), 4, 3).run(epochs=4)
    rest = [0.961939766256, 0.853553390593, 0.691341716183, 0.5, 0.308658283817, 0.146446609407, 0.038060233744]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, *rest])


def test_cosine_restarts() -> None:
    policy = CosineRestarts(peak=1, period_epochs=1, period_factor=2, warmup_epochs=0)
    rates = Phase(policy, 4, 2).run(epochs=4)
    assert rates == pytest.approx([1, 0.5, 1, 0.853553390593, 0.5, 0.146446609407, 1, 0.961939766256])


def test_cosine_restarts_after_a_warm_up() -> None:
    policy = CosineRestarts(peak=1, period_epochs=2, period_factor=1, warmup_epochs=1)
    rates = Phase(policy, 5, 2).run(epochs=5)
    period = [1, 0.853553390593, 0.5, 0.146446609407]
    assert rates == pytest.approx([1 / 3, 2 / 3, *period, *period])


@given(cycles=st.integers(1, 5), factor=st.integers(1, 3), epochs=st.integers(1, 40), steps=st.integers(1, 30))
def test_the_last_of_the_cycles_ends_with_the_phase(cycles: int, factor: int, epochs: int, steps: int) -> None:
    policy = CosineRestarts(peak=1, cycles=cycles, period_factor=factor, warmup_epochs=0)
    rates = Phase(policy, epochs, steps).run(epochs=epochs)
    parts = sum(factor**cycle for cycle in range(cycles))
    restarts = sum(after > before for before, after in pairwise(rates))
    if epochs * steps >= parts * parts:  # or rounding up leaves too little for the last
        assert restarts == cycles - 1
    assert restarts <= cycles - 1
    # The last fall is as far down as its last batch allows: at most `parts` batches short of its end.
    longest = factor ** (cycles - 1) * math.ceil(epochs * steps / parts)
    if restarts == cycles - 1:
        assert rates[-1] <= (1 + math.cos(math.pi * max(0, 1 - parts / longest))) / 2 + 1e-9


def test_one_cycle() -> None:
    """The rise ends with batch rise * total; it begins at 1/25 of the peak and ends at 1/250,000 of it."""
    rates = Phase(OneCycle(peak=1, rise=1 / 3), 3, 3).run(epochs=3)
    fall = [0.9330129695, 0.750001, 0.500002, 0.250003, 0.0669910305, 4e-6]
    assert rates == pytest.approx([0.04, 0.52, 1, *fall], rel=1e-8)


def test_one_cycle_leaves_the_momentum_alone() -> None:
    phase = Phase(OneCycle(), 3, 3)
    phase.run(epochs=3)
    assert phase.optimizer.param_groups[0]["momentum"] == 0.9


def test_plateau_does_not_react_to_the_warm_up() -> None:
    """Were the first epoch's loss the best so far, the rate would fall an epoch earlier."""
    phase = Phase(Plateau(peak=1, factor=0.5, patience=1, warmup_epochs=1), 8, 2)
    rates = phase.run(losses=[0.1, 5, 6, 6, 4, 4, 4, 3])
    assert rates == pytest.approx([1 / 3, 2 / 3, 1, 1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25])


def test_plateau_whose_warm_up_ends_within_an_epoch() -> None:
    """A third of 4 epochs of 5 batches ends in the second epoch, which is still warm-up; of 3, with the first."""
    phase = Phase(Plateau(peak=1, factor=0.5, patience=0, warmup_epochs=9), 4, 5)
    rates = phase.run(losses=[1, 9, 2, 3])
    assert rates == pytest.approx([n / 7 for n in range(1, 7)] + [1] * 14)
    assert phase.learning_rate.current_lr == pytest.approx(0.5)
    phase = Phase(Plateau(peak=1, factor=0.5, patience=0, warmup_epochs=9), 3, 5)
    rates = phase.run(losses=[1, 2, 3])
    assert rates == pytest.approx([n / 6 for n in range(1, 6)] + [1] * 10)
    assert phase.learning_rate.current_lr == pytest.approx(0.5)


def test_stagnation_restart() -> None:
    """Up after two epochs without improvement; the count starts again, the best accuracy does not; the last stays."""
    phase = Phase(StagnationRestart(rates=(0.001, 0.01, 0.1), patience=2), 11, 1)
    rates = phase.run(accuracies=[0.3, 0.4, 0.4, 0.3, 0.2, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    assert rates == [0.001] * 4 + [0.01] * 4 + [0.1] * 3


@pytest.mark.parametrize("policy", [*POLICIES, OneCycle(rise=0.01), OneCycle(rise=0.99)])
@pytest.mark.parametrize(
    ("epochs", "steps"), [(1, 1), (2, 1), (1, 2), (3, 1), (1, 3), (2, 2), (4, 1), (1, 4), (5, 1), (1, 5)]
)
def test_the_shortest_phases_have_rates(policy: LRPolicy, epochs: int, steps: int) -> None:
    rates = Phase(policy, epochs, steps).run(epochs=epochs)
    assert len(rates) == epochs * steps
    assert rates[0] > 0


@given(
    st.sampled_from(POLICIES), st.integers(1, 8), st.integers(1, 9), st.lists(st.floats(0, 1), min_size=8, max_size=8)
)
@settings(max_examples=150)
def test_rates_stay_between_0_and_the_peak(policy: LRPolicy, epochs: int, steps: int, seen: list[float]) -> None:
    rates = Phase(policy, epochs, steps).run(seen, seen, epochs)
    peak = max(policy.rates) if isinstance(policy, StagnationRestart) else policy.peak
    assert all(0 <= rate <= peak * (1 + 1e-12) for rate in rates)


@pytest.mark.parametrize("warmup", [0, 2])
@pytest.mark.parametrize("policy", POLICIES, ids=names)
def test_a_saved_state_continues_the_same_to_the_bit(policy: LRPolicy, warmup: int) -> None:
    if hasattr(policy, "warmup_epochs"):
        policy = type(policy)(**{**vars(policy), "warmup_epochs": warmup})
    epochs, steps = 9, 3
    seen = [0.5, 0.6, 0.4, 0.4, 0.4, 0.7, 0.1, 0.2, 0.2]
    whole = Phase(policy, epochs, steps).run(seen, seen)
    for saved in range(epochs):
        first = Phase(policy, epochs, steps)
        rates = first.run(seen, seen, saved) if saved else []
        state = saved_and_loaded([first.optimizer.state_dict(), first.learning_rate.state_dict()])
        second = Phase(policy, epochs, steps)
        second.optimizer.load_state_dict(state[0])
        second.learning_rate.load_state_dict(state[1])
        assert rates + second.run(seen[saved:], seen[saved:]) == whole


def saved_and_loaded(state: Any) -> Any:
    """As checkpoints are written and read: nothing in it needs an unpickler that runs code."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)

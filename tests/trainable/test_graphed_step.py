"""A step that is captured and replayed trains as the eager one does, to the bit. The graphs are real, but not CUDA's.

RecordedGraphs records the operations of a step and repeats them on the memory that they had, as a CUDA graph does:
whatever Python computed during the capture is baked in, and a replay knows nothing of what has been replaced since.
"""

import copy
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from records.epoch import EpochRow
from trainable import dense as dense_module
from trainable import graphed_step, trial
from trainable.config import DenseConfig, OptimizerConfig, PruningConfig, TrialConfig
from trainable.data.batches import DeviceSplit
from trainable.data.dataset import Data
from trainable.dense import DenseNetwork, load_dense, train_dense
from trainable.errors import DivergedError
from trainable.graphed_step import WARM_UP_BATCHES, GraphedStep
from trainable.schedules.lr_policies import (
    CosineAnnealing,
    CosineRestarts,
    LRPolicy,
    OneCycle,
    Plateau,
    StagnationRestart,
)
from trainable.training import TrainingStep, create_sgd
from trainable.trial import Trial

CPU = torch.device("cpu")
Timeless = Callable[[Sequence[EpochRow]], list[dict[str, Any]]]
# What a capture cannot contain: it makes the CPU wait for a value that there is not yet.
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique"}


class Recorder(TorchDispatchMode):
    """Notes each operation, and what the tensors that it was given held before."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self.before: list[tuple[Tensor, Tensor]] = []
        self._known: set[int] = set()  # addresses of storages; all that are met are kept alive here

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        assert func.overloadpacket.__name__ not in WAITING
        for tensor in tensors_of((args, kwargs)):
            if address(tensor) not in self._known:
                self._known.add(address(tensor))
                self.before.append((tensor, tensor.clone()))
        results = func(*args, **kwargs)
        outputs = tensors_of(results)
        self._known.update(map(address, outputs))
        self.operations.append((func, args, kwargs, outputs))
        return results


def tensors_of(tree: Any) -> list[Tensor]:
    return [each for each in tree_leaves(tree) if isinstance(each, Tensor)]


def address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


class RecordedGraphs:
    """What CUDAGraphs is on a GPU."""

    def __init__(self) -> None:
        self.warm_ups = self.captures = self.replays = 0

    def warm_up(self, work: Callable[[], None]) -> None:
        self.warm_ups += 1
        work()

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        self.captures += 1
        with Recorder() as recorder:
            work()
        with torch.no_grad():
            for tensor, content in recorder.before:
                tensor.copy_(content)  # a capture executes nothing

        @torch.no_grad()
        def replay() -> None:
            self.replays += 1
            for func, args, kwargs, outputs in recorder.operations:
                for output, result in zip(outputs, tensors_of(func(*args, **kwargs)), strict=True):
                    if address(output) != address(result):
                        output.copy_(result)

        return replay


class Refusing:
    """Graphs that can capture nothing."""

    def __init__(self, error: Exception) -> None:
        self.error, self.captures = error, 0

    def warm_up(self, work: Callable[[], None]) -> None:
        work()

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        self.captures += 1
        try:
            raise self.error
        finally:
            if not isinstance(self.error, torch.OutOfMemoryError):
                raise RuntimeError("operation failed due to a previous error during capture")


@pytest.fixture(autouse=True)
def _fused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eager steps by the fused kernel, too: others round differently, and the graphs need it."""

    def create_fused(*arguments: Any) -> torch.optim.SGD:
        optimizer = create_sgd(*arguments)
        for group in optimizer.param_groups:
            group["fused"] = True
        return optimizer

    for module in (trial, dense_module):
        monkeypatch.setattr(module, "create_sgd", create_fused)


def use_graphs(monkeypatch: pytest.MonkeyPatch, create: Callable[[], Any]) -> None:
    """Steps are graphed from here on, each with the graphs that `create` gives."""

    def create_step(
        network: nn.Module, optimizer: torch.optim.Optimizer, images: DeviceSplit, *, label_smoothing: float
    ) -> GraphedStep:
        return GraphedStep(network, optimizer, images, label_smoothing=label_smoothing, graphs=create())

    for module in (trial, dense_module):
        monkeypatch.setattr(module, "create_step", create_step)


@pytest.fixture(scope="module")
def uneven(make_data: Callable[..., Data]) -> Data:
    """Seven batches of at most 6: five of 6 images and two of 5."""
    return make_data(40, 12)


@pytest.fixture(scope="module")
def graphed(small: Callable[..., TrialConfig]) -> Callable[..., TrialConfig]:
    """Two epochs of alpha and three of retraining, of seven batches each."""
    return lambda **changed: small(optimizer=OptimizerConfig(batch_size=6, label_smoothing=0.1), **changed)


def run(trial: Trial, epochs: int = 99) -> list[EpochRow]:
    while not trial.is_finished and trial.epoch < epochs:
        trial.run_epoch()
    return trial.rows


def assert_same(one: Trial, other: Trial, timeless: Timeless) -> None:
    assert timeless(one.rows) == timeless(other.rows)
    ours, theirs = one.state_dict(), other.state_dict()
    for part in ("network", "optimizer", "learning_rate"):
        assert_same_tree(ours[part], theirs[part])


def assert_same_tree(one: Any, other: Any) -> None:
    """Of the same types, too: no tensor where there was a number."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert list(one) == list(other)
        for key, value in one.items():
            assert_same_tree(value, other[key])
    elif isinstance(one, list):
        for pair in zip(one, other, strict=True):
            assert_same_tree(*pair)
    elif isinstance(one, Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


POLICIES: list[LRPolicy] = [
    Plateau(peak=0.1, patience=0, warmup_epochs=1),
    CosineAnnealing(warmup_epochs=1),
    CosineRestarts(period_epochs=1, warmup_epochs=1),
    OneCycle(),
    StagnationRestart(rates=(0.01, 0.001, 0.1), patience=1),
]
CASES: list[dict[str, Any]] = [
    *({"lr": policy, "lr_span": span} for policy in POLICIES for span in ("retrain", "trial")),
    {"pruning": PruningConfig(0.5, round_to=1, gate="conv_weight")},
    {"pruning": PruningConfig(0.5, round_to=1, gate="conv_weight"), "epochs_per_alpha": 0.5},
    # Alpha changes with every batch, and the cut is within the second epoch.
    {"epochs_per_alpha": 0, "alpha_fraction": 0.35},
    {"epochs_per_alpha": 0, "alpha_fraction": 0.35, "lr": OneCycle(), "lr_span": "trial"},
]


@pytest.mark.parametrize("changed", CASES, ids=str)
def test_a_trial_is_the_same_to_the_bit(
    changed: dict[str, Any],
    uneven: Data,
    dense: DenseNetwork,
    graphed: Callable[..., TrialConfig],
    timeless: Timeless,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    eager = Trial(graphed(**changed), uneven, dense)
    run(eager)
    created: list[RecordedGraphs] = []
    use_graphs(monkeypatch, lambda: created.append(RecordedGraphs()) or created[-1])
    trial = Trial(graphed(**changed), uneven, dense)
    run(trial)
    assert_same(trial, eager, timeless)
    before, after = created  # the cut begins a new one
    for each in created:
        assert each.replays > 0
        # Of 5 images there may be too few batches for a graph of their own.
        assert each.captures in (1, 2)
        assert WARM_UP_BATCHES < each.warm_ups <= 2 * WARM_UP_BATCHES
    assert before.warm_ups + before.replays + after.warm_ups + after.replays == 5 * 7


@pytest.mark.parametrize("changed", CASES[-1:], ids=str)
@pytest.mark.parametrize("epochs", [1, 2, 3, 4])
def test_a_trial_continues_the_same(
    epochs: int,
    changed: dict[str, Any],
    uneven: Data,
    dense: DenseNetwork,
    graphed: Callable[..., TrialConfig],
    timeless: Timeless,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In another object, in the same one, and on a machine without graphs."""
    config = graphed(**changed)
    whole = Trial(config, uneven, dense)
    run(whole)
    with monkeypatch.context() as patch:
        use_graphs(patch, RecordedGraphs)
        first, second = Trial(config, uneven, dense), Trial(config, uneven, dense)
        run(first, epochs)
        state = copy.deepcopy(first.state_dict())
        assert all(type(group["lr"]) is float for group in state["optimizer"]["param_groups"])
        second.load_state_dict(copy.deepcopy(state))
        for trial in (first, second):
            run(trial)
            assert_same(trial, whole, timeless)
        first.load_state_dict(copy.deepcopy(state))
        run(first)
        assert_same(first, whole, timeless)
    eager = Trial(config, uneven, dense)
    eager.load_state_dict(state)
    run(eager)
    assert_same(eager, whole, timeless)


def test_the_dense_network_is_the_same(uneven: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = DenseConfig(width=1 / 16, epochs=3, peak=0.02, optimizer=OptimizerConfig(batch_size=6))
    train_dense(config, uneven, tmp_path / "eager", threads=1)
    graphs = RecordedGraphs()
    use_graphs(monkeypatch, lambda: graphs)
    train_dense(config, uneven, tmp_path / "graphed", threads=1)
    assert graphs.replays == 3 * 7 - 2 * WARM_UP_BATCHES
    one, other = (load_dense(tmp_path / name).network.state_dict() for name in ("eager", "graphed"))
    assert_same_tree(dict(one), dict(other))


def test_a_loss_that_is_not_finite_is_noticed(
    uneven: Data, dense: DenseNetwork, graphed: Callable[..., TrialConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs = RecordedGraphs()
    use_graphs(monkeypatch, lambda: graphs)
    trial = Trial(graphed(), uneven, dense)
    run(trial, 1)
    assert graphs.replays
    with torch.no_grad():
        trial._inner_network.classifier.weight.fill_(float("nan"))
    with pytest.raises(DivergedError, match=r"epoch 2: the training loss is nan at learning rate 0\.01"):
        trial.run_epoch()


def test_what_cannot_be_captured_is_trained_without_and_said_once(
    uneven: Data,
    dense: DenseNetwork,
    graphed: Callable[..., TrialConfig],
    timeless: Timeless,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    graphed_step._warn_once.cache_clear()
    eager = Trial(graphed(), uneven, dense)
    run(eager)
    created: list[Refusing] = []
    refusal = RuntimeError("operation not permitted when stream is capturing")
    use_graphs(monkeypatch, lambda: created.append(Refusing(refusal)) or created[-1])
    trial = Trial(graphed(), uneven, dense)
    with caplog.at_level(logging.WARNING, "alphaprune"):
        run(trial)
    assert_same(trial, eager, timeless)
    assert [each.captures for each in created] == [1, 1]
    assert [record.message for record in caplog.records] == [
        "training is slower, because its step could not be captured as a CUDA graph: RuntimeError: operation not "
        "permitted when stream is capturing"
    ]


def test_after_a_failed_capture_earlier_graphs_are_not_replayed(
    uneven: Data, dense: DenseNetwork, graphed: Callable[..., TrialConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second size cannot be captured; what the failure frees, the first graph might still use."""

    class RefusingTheSecond(RecordedGraphs):
        def capture(self, work: Callable[[], None]) -> Callable[[], None]:
            if self.captures:
                raise RuntimeError("operation not permitted when stream is capturing")
            return super().capture(work)

    graphs = RefusingTheSecond()
    use_graphs(monkeypatch, lambda: graphs)
    trial = Trial(graphed(), uneven, dense)
    run(trial, 1)
    assert isinstance(trial._step, GraphedStep)
    assert trial._step.captured_sizes == {6}
    run(trial, 2)
    assert graphs.captures == 1
    assert not trial._step.captured_sizes


def test_a_capture_out_of_memory_is_raised(
    uneven: Data, dense: DenseNetwork, graphed: Callable[..., TrialConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recorded trial then frees memory and tries again, and says what to change if that does not help."""
    use_graphs(monkeypatch, lambda: Refusing(torch.OutOfMemoryError("no more")))
    trial = Trial(graphed(), uneven, dense)
    with pytest.raises(torch.OutOfMemoryError):
        trial.run_epoch()
    assert all(type(group["lr"]) is float for group in trial.state_dict()["optimizer"]["param_groups"])


def test_on_the_cpu_there_are_no_graphs(uneven: Data, dense: DenseNetwork) -> None:
    network = copy.deepcopy(dense.network)
    images = DeviceSplit(uneven.train, uneven, CPU)
    optimizer = create_sgd(network, OptimizerConfig(), 0.01)
    assert type(graphed_step.create_step(network, optimizer, images, label_smoothing=0.0)) is TrainingStep

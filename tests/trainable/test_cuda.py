"""Trials on a GPU, and as much of that as can be checked on a CPU."""

import copy
import io
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from networks import build_vgg16, create_vgg16, find_vgg16_layout, list_layers, list_widths, scale_widths
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from records.trial import TrialFolder, TrialRecord
from trainable import training
from trainable.checkpoints import CheckpointWriter, copy_to_host, read_checkpoint, write_checkpoint
from trainable.config import OptimizerConfig, PruningConfig, TrialConfig, as_json
from trainable.data.batches import DeviceSplit, Draw
from trainable.data.dataset import Data
from trainable.dense import DenseNetwork
from trainable.errors import DivergedError
from trainable.graphed_step import CUDAGraphs, GraphedStep
from trainable.measurement.job import as_autocast_computes
from trainable.measurement.memory import ENVIRONMENT
from trainable.network.architecture import Architecture
from trainable.network.placement import place_on
from trainable.network.weights import save_network
from trainable.pruning.gates import GatedNetwork
from trainable.pruning.removal import relative_difference, remove_channels
from trainable.recorded_trial import RecordedTrial
from trainable.schedules.lr_policies import (
    CosineAnnealing,
    CosineRestarts,
    LRPolicy,
    OneCycle,
    Plateau,
    StagnationRestart,
)
from trainable.schedules.lr_schedulers import LRDriver
from trainable.training import (
    TrainingResult,
    TrainingStep,
    autocast_on,
    create_sgd,
    recalibrate_norms,
    train_batches,
)
from trainable.trial import REMOVAL_TOLERANCE, Trial

CPU = torch.device("cpu")
CUDA = torch.device("cuda")
is_available = torch.cuda.is_available  # the real one: conftest.py keeps all other tests on the CPU
needs_cuda = pytest.mark.skipif(not is_available(), reason="needs a CUDA GPU")
Drawn = TypeVar("Drawn")  # a batch, or the draw of one


def half_doomed(network: nn.Module) -> GatedNetwork:
    widths, classes = list_widths(network), len(network.get_parameter("classifier.bias"))
    masks = [torch.arange(width) % 2 == 0 for width in widths]
    return GatedNetwork(network, find_vgg16_layout(widths, classes), masks, "bn_output")


def train(
    network: nn.Module,
    images: DeviceSplit,
    watch: Callable[[Iterator[Draw]], Iterator[Draw]],
    *,
    policy: LRPolicy | None = None,
) -> None:
    optimizer = create_sgd(network, OptimizerConfig(), 0.01)
    learning_rate = LRDriver(optimizer, policy, total=6, steps=3)
    step = TrainingStep(network, optimizer, images, label_smoothing=0.1)
    train_batches(step, learning_rate, watch(images.draw_batches(12, seed=0, epoch=1)))


# What makes the CPU wait until the GPU has caught up: values and shapes that depend on data.
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique")


class Waits(TorchDispatchMode):
    """Notes each operation that waits for the device, before and after `over` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.over = False
        self.within: list[str] = []
        self.after: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in WAITING:
            (self.after if self.over else self.within).append(name)
        return func(*args, **(kwargs or {}))

    def watching(self, batches: Iterator[Drawn]) -> Iterator[Drawn]:
        yield from batches
        self.over = True


@pytest.mark.parametrize(
    "policy", [None, Plateau(), CosineAnnealing(), CosineRestarts(), OneCycle(), StagnationRestart()], ids=str
)
@pytest.mark.parametrize("gated", [True, False])
def test_training_asks_the_device_for_nothing_before_its_end(
    policy: LRPolicy | None, gated: bool, data: Data, dense: DenseNetwork
) -> None:
    network = half_doomed(dense.network) if gated else copy.deepcopy(dense.network)
    images = DeviceSplit(data.train, data, CPU)
    waits = Waits()
    with waits:
        if isinstance(network, GatedNetwork):
            network.set_alpha(0.3)
        train(network, images, waits.watching, policy=policy)
    assert waits.within == []
    assert set(waits.after) == {"_local_scalar_dense"}  # the loss and the accuracy


def test_evaluation_asks_the_device_for_nothing_before_its_end(
    data: Data, dense: DenseNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, waits = DeviceSplit(data.train, data, CPU), Waits()
    plain = images.plain_batches
    monkeypatch.setattr(images, "plain_batches", lambda: waits.watching(plain(10)))
    with waits:
        training.evaluate(copy.deepcopy(dense.network), images)
    assert waits.within == []
    assert waits.after == ["_local_scalar_dense"] * 2


def test_recalibration_asks_the_device_for_nothing(data: Data, dense: DenseNetwork) -> None:
    with Waits() as waits:
        recalibrate_norms(copy.deepcopy(dense.network), DeviceSplit(data.train, data, CPU), 12)
    assert waits.within == []


def test_autocast_is_bfloat16_on_cuda_and_off_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with autocast_on(CPU):
        assert not torch.is_autocast_enabled("cpu")
        assert torch.ones(2, 2).mm(torch.ones(2, 2)).dtype == torch.float32
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr("torch.autocast", lambda *args, enabled, cache_enabled: asked.append((*args, enabled)))
    autocast_on(CUDA)
    assert asked == [("cuda", torch.bfloat16, True)]


@pytest.fixture
def in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on CUDA, where all passes run in bfloat16; here on the CPU."""

    def autocast(device: torch.device, *, cache_weights: bool = True) -> AbstractContextManager[Any]:
        return torch.autocast(device.type, torch.bfloat16, cache_enabled=cache_weights)

    monkeypatch.setattr(training, "autocast_on", autocast)


@pytest.mark.usefixtures("in_bfloat16")
@pytest.mark.parametrize("gate", ["bn_output", "conv_weight"])
def test_a_trial_in_bfloat16_runs_through(
    gate: Any, data: Data, dense: DenseNetwork, small: Callable[..., TrialConfig]
) -> None:
    config = small()
    trial = Trial(small(pruning=type(config.pruning)(0.5, round_to=1, gate=gate)), data, dense)
    seen: set[torch.dtype] = set()
    trial._inner_network.classifier.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    while not trial.is_finished:
        row = trial.run_epoch()
        assert math.isfinite(row.train_loss + row.val_loss)
    assert torch.bfloat16 in seen
    # The weights, and what an optimizer adds to them, stay in single precision.
    assert all(parameter.dtype == torch.float32 for parameter in trial.network.parameters())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_smaller_network_gives_the_same_output_in_bfloat16(seed: int) -> None:
    gated, images = trained_like(seed)
    with torch.autocast("cpu", torch.bfloat16):
        assert relative_difference(gated, remove_channels(gated), images) < 0.05


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_gpus_rounding_is_not_taken_for_a_defect(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """TF32, in which a GPU convolves float32, keeps 10 bits of a number: tiny errors grow to those of its rounding."""
    gated, images = trained_like(seed)
    pruned, conv2d = remove_channels(gated), functional.conv2d
    exact = relative_difference(gated, pruned, images)
    monkeypatch.setattr(functional, "conv2d", lambda x, weight, *rest: conv2d(in_tf32(x), in_tf32(weight), *rest))
    rounded = relative_difference(gated, pruned, images)
    assert exact < 1e-6 < 1e-5 < rounded < REMOVAL_TOLERANCE


def in_tf32(x: Tensor) -> Tensor:
    return ((x.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


def trained_like(seed: int) -> tuple[GatedNetwork, Tensor]:
    """A gated network of a quarter of the width whose norms are no longer as they were initialised, and images."""
    network = create_vgg16(scale_widths(0.25), 10, seed)
    torch.manual_seed(seed)
    images = torch.randn(16, 3, 32, 32)
    with torch.no_grad():
        for _, norm in list_layers(network):
            nn.init.uniform_(norm.weight, 0.3, 1.5)
            nn.init.normal_(norm.bias, 0, 0.3)
        for _ in range(2):
            network.train()(images)
    return half_doomed(network.eval()), images


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", is_available)


@needs_cuda
@pytest.mark.usefixtures("gpu")
def test_a_trial_runs_on_cuda(data: Data, dense: DenseNetwork, small: Callable[..., TrialConfig]) -> None:
    trial = Trial(small(), data, dense)
    assert trial.device.type == "cuda"
    seen: set[torch.dtype] = set()
    trial._inner_network.classifier.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    while not trial.is_finished:
        row = trial.run_epoch()
        assert math.isfinite(row.train_loss + row.val_loss)
    assert torch.bfloat16 in seen
    assert all(parameter.device.type == "cuda" for parameter in trial.network.parameters())
    assert trial.cut is not None
    assert trial.cut.difference < REMOVAL_TOLERANCE
    assert dense.network.classifier.weight.device.type == "cpu"


@needs_cuda
@pytest.mark.usefixtures("gpu")
def test_the_smaller_network_gives_the_same_output_on_cuda() -> None:
    gated, images = trained_like(0)
    on_cuda = GatedNetwork(place_on(build_vgg16(list_widths(gated), 10), CUDA), gated.layout, gated.masks, "bn_output")
    on_cuda.load_state_dict(gated.state_dict())
    pruned, images = remove_channels(on_cuda), images.cuda()
    assert relative_difference(on_cuda, pruned, images) < REMOVAL_TOLERANCE
    with autocast_on(CUDA):
        assert relative_difference(on_cuda, pruned, images) < 0.05


@needs_cuda
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("epochs", [1, 3])
def test_a_trial_continues_on_cuda(
    epochs: int, data: Data, dense: DenseNetwork, small: Callable[..., TrialConfig]
) -> None:
    trial = Trial(small(), data, dense)
    for _ in range(epochs):
        trial.run_epoch()
    file = io.BytesIO()
    torch.save(trial.state_dict(), file)
    file.seek(0)
    again = Trial(small(), data, dense)
    again.load_state_dict(torch.load(file, map_location=again.device, weights_only=True))
    assert again.run_epoch().train_loss == pytest.approx(trial.run_epoch().train_loss, rel=0.05)
    while not again.is_finished:
        again.run_epoch()


@needs_cuda
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("gated", [True, False])
def test_the_gpus_queue_never_runs_dry(gated: bool, data: Data, dense: DenseNetwork) -> None:
    """CUDA itself reports whatever waits for it between the first batch and the last."""
    network = place_on(copy.deepcopy(dense.network), CUDA)
    images = DeviceSplit(data.train, data, CUDA)

    def strict(draws: Iterator[Draw]) -> Iterator[Draw]:
        try:
            for draw in draws:
                torch.cuda.set_sync_debug_mode("error")
                yield draw
        finally:
            torch.cuda.set_sync_debug_mode("default")

    train(half_doomed(network) if gated else network, images, strict)


@pytest.fixture
def uneven(make_data: Callable[..., Data]) -> Data:
    """Fourteen batches of at most 6 images: ten of 6 and four of 5."""
    return make_data(80, 24)


def graphed_config(small: Callable[..., TrialConfig], **changed: Any) -> TrialConfig:
    return small(optimizer=OptimizerConfig(batch_size=6, label_smoothing=0.1), **changed)


def captured_sizes(trial: Trial) -> set[int]:
    assert isinstance(trial._step, GraphedStep)
    return trial._step.captured_sizes


def train_twice(policy: LRPolicy | None, gated: bool, data: Data, dense: DenseNetwork) -> list[list[TrainingResult]]:
    """Six epochs of the same training, eager and graphed, with an evaluation after each."""
    results = []
    for kind in ("eager", "graphed"):
        network: nn.Module = place_on(copy.deepcopy(dense.network), CUDA)
        if gated:
            network = half_doomed(network)
        images = DeviceSplit(data.train, data, CUDA)
        optimizer = create_sgd(network, OptimizerConfig(batch_size=6), 0.01)
        learning_rate = LRDriver(optimizer, policy, total=6 * 14, steps=14)
        step = (
            TrainingStep(network, optimizer, images, label_smoothing=0.1)
            if kind == "eager"
            else GraphedStep(network, optimizer, images, label_smoothing=0.1, graphs=CUDAGraphs())
        )
        epochs = []
        for epoch in range(1, 7):
            if isinstance(network, GatedNetwork):
                network.set_alpha(1 / epoch)
            epochs.append(train_batches(step, learning_rate, images.draw_batches(6, seed=0, epoch=epoch)).average())
            validated = training.evaluate(network, images)
            learning_rate.after_epoch(val_loss=validated.loss, val_accuracy=validated.accuracy, steps=14)
        results.append(epochs)
        if isinstance(step, GraphedStep):
            assert step.captured_sizes == {5, 6}
        assert all(type(group["lr"]) is float for group in optimizer.param_groups)
    return results


@needs_cuda
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("policy", [None, OneCycle(), CosineAnnealing(warmup_epochs=1), Plateau(peak=0.02)], ids=str)
def test_graphed_training_is_eager_training_within_rounding(
    policy: LRPolicy | None, gated: bool, uneven: Data, dense: DenseNetwork
) -> None:
    eager, graphed = train_twice(policy, gated, uneven, dense)
    assert [each.lr for each in graphed][:2] == [each.lr for each in eager][:2]
    # Most of the first epoch is replayed. bfloat16 and cuDNN's choice of algorithms let two runs drift apart later.
    for one, other, tolerance in zip(graphed, eager, (0.05, 0.1, 0.5, 0.5, 0.5, 0.5), strict=True):
        assert one.loss == pytest.approx(other.loss, rel=tolerance, abs=tolerance / 2)


@needs_cuda
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("lr", [0.0, 0.05])
def test_a_replayed_step_reads_the_learning_rate_of_now(lr: float, uneven: Data, dense: DenseNetwork) -> None:
    """Captured at 0.01; one replay at `lr` is one eager step at `lr`, from the same weights and momentum."""
    network = place_on(copy.deepcopy(dense.network), CUDA)
    images = DeviceSplit(uneven.train, uneven, CUDA)
    optimizer = create_sgd(network, OptimizerConfig(batch_size=6), 0.01)
    step = GraphedStep(network, optimizer, images, label_smoothing=0.0, graphs=CUDAGraphs())
    draws = list(images.draw_batches(6, seed=0, epoch=1))
    train_batches(step, LRDriver(optimizer, None, total=14, steps=14), draws)
    before = copy.deepcopy((network.state_dict(), optimizer.state_dict()))
    weights = []
    for train in (step.train_batch, lambda draw: TrainingStep.train_batch(step, draw)):
        with torch.no_grad():  # in place: the graph knows this memory alone
            for name, tensor in network.state_dict().items():
                tensor.copy_(before[0][name])
            for index, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"]):
                optimizer.state[parameter]["momentum_buffer"].copy_(before[1]["state"][index]["momentum_buffer"])
        for group in optimizer.param_groups:
            group["lr"] = lr
        train(draws[0])
        weights.append(torch.cat([parameter.detach().flatten() for parameter in network.parameters()]))
    old = torch.cat([before[0][name].flatten() for name, _ in network.named_parameters()])
    moved = [(each - old).norm().item() for each in weights]
    assert moved[0] == 0 if lr == 0 else moved[0] == pytest.approx(moved[1], rel=0.02)
    torch.testing.assert_close(*weights, rtol=0.05, atol=5e-3)


@needs_cuda
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("gate", ["bn_output", "conv_weight"])
@pytest.mark.parametrize("span", ["retrain", "trial"])
@pytest.mark.parametrize("per_alpha", [0, 0.5, 1])
def test_a_graphed_trial_makes_its_cut_anywhere(
    gate: Any, span: Any, per_alpha: float, uneven: Data, dense: DenseNetwork, small: Callable[..., TrialConfig]
) -> None:
    """Also within an epoch; the pruned network is trained by graphs of its own."""
    pruning = PruningConfig(0.5, round_to=1, gate=gate)
    changed = {"alpha_fraction": 0.5, "epochs_per_alpha": per_alpha, "lr_span": span, "lr": OneCycle(peak=0.02)}
    trial = Trial(graphed_config(small, pruning=pruning, **changed), uneven, dense)
    trial.run_epoch()
    assert captured_sizes(trial) == {5, 6}
    first = trial._step
    while not trial.is_finished:
        row = trial.run_epoch()
        assert math.isfinite(row.train_loss + row.val_loss)
    assert trial.cut is not None
    assert trial._step is not first
    assert captured_sizes(trial) == {5, 6}


@needs_cuda
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("epochs", [1, 3])
def test_a_graphed_trial_goes_back_in_time(
    epochs: int, uneven: Data, dense: DenseNetwork, small: Callable[..., TrialConfig]
) -> None:
    """In the same object and in another one; its graphs end with the memory that they knew."""
    trial = Trial(graphed_config(small), uneven, dense)
    for _ in range(epochs):
        trial.run_epoch()
    state = copy.deepcopy(trial.state_dict())
    wanted = trial.run_epoch()
    while not trial.is_finished:
        trial.run_epoch()
    again = Trial(graphed_config(small), uneven, dense)
    for each in (trial, again):
        each.load_state_dict(copy.deepcopy(state))
        row = each.run_epoch()
        assert row.lr == wanted.lr
        assert row.train_loss == pytest.approx(wanted.train_loss, rel=0.05, abs=0.02)
        while not each.is_finished:
            each.run_epoch()
        assert captured_sizes(each) == {5, 6}


@needs_cuda
@pytest.mark.usefixtures("gpu")
def test_a_checkpoint_of_cuda_continues_on_the_cpu(
    uneven: Data,
    dense: DenseNetwork,
    small: Callable[..., TrialConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial = Trial(graphed_config(small), uneven, dense)
    trial.run_epoch()
    copied = copy_to_host(trial.state_dict())
    torch.cuda.synchronize()
    write_checkpoint(tmp_path / "checkpoint", copied)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    again = Trial(graphed_config(small), uneven, dense)
    again.load_state_dict(read_checkpoint(tmp_path / "checkpoint", CPU))
    assert again.device == CPU
    while not again.is_finished:
        again.run_epoch()


@needs_cuda
@pytest.mark.usefixtures("gpu")
def test_a_checkpoint_holds_the_epoch_that_it_is_of(
    uneven: Data, dense: DenseNetwork, small: Callable[..., TrialConfig], tmp_path: Path
) -> None:
    """It is copied and written while the next epochs already change what it was copied from."""
    folder = TrialFolder(tmp_path / "00003")
    folder.create(TrialRecord(3, as_json(graphed_config(small))))
    recorded = RecordedTrial(folder, uneven, dense)
    for epoch in range(1, 5):
        recorded.run_epoch()
        recorded._writer.wait()
        wanted = copy.deepcopy(recorded.trial.state_dict())
        written = read_checkpoint(folder.checkpoint_path(epoch), CUDA)
        assert str(written["optimizer"]["param_groups"]) == str(wanted["optimizer"]["param_groups"])
        for name, tensor in wanted["network"].items():
            assert torch.equal(written["network"][name], tensor)
        for index, state in wanted["optimizer"]["state"].items():
            assert torch.equal(written["optimizer"]["state"][index]["momentum_buffer"], state["momentum_buffer"])
    assert len(folder.read_rows()) == 4
    again = RecordedTrial(folder, uneven, dense)
    assert again.trial.epoch == 4
    again.run_epoch()
    assert folder.read_record().state == "complete"


@needs_cuda
@pytest.mark.usefixtures("gpu")
def test_a_copy_for_a_checkpoint_is_not_overtaken_by_training(uneven: Data, dense: DenseNetwork) -> None:
    network = place_on(copy.deepcopy(dense.network), CUDA)
    weight, written = network.classifier.weight.detach(), []
    wanted = weight.cpu()
    writer = CheckpointWriter(beside_training=True)
    torch.cuda._sleep(100_000_000)  # the copy waits behind this, and what follows is queued before it has begun
    writer.write({"weight": weight}, written.append)
    weight.fill_(7)
    writer.wait()
    assert written[0]["weight"].is_pinned()
    assert torch.equal(written[0]["weight"], wanted)


@needs_cuda
@pytest.mark.usefixtures("gpu")
def test_a_graphed_loss_that_is_not_finite_is_noticed(
    uneven: Data, dense: DenseNetwork, small: Callable[..., TrialConfig]
) -> None:
    trial = Trial(graphed_config(small), uneven, dense)
    trial.run_epoch()
    assert captured_sizes(trial) == {5, 6}
    with torch.no_grad():
        trial.network.get_submodule("network.classifier").weight.fill_(float("nan"))
    with pytest.raises(DivergedError, match="epoch 2: the training loss is nan"):
        trial.run_epoch()


@needs_cuda
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("gated", [True, False])
def test_replays_never_wait(gated: bool, uneven: Data, dense: DenseNetwork) -> None:
    network: nn.Module = place_on(copy.deepcopy(dense.network), CUDA)
    if gated:
        network = half_doomed(network)
    images = DeviceSplit(uneven.train, uneven, CUDA)
    optimizer = create_sgd(network, OptimizerConfig(batch_size=6), 0.01)
    step = GraphedStep(network, optimizer, images, label_smoothing=0.1, graphs=CUDAGraphs())
    learning_rate = LRDriver(optimizer, OneCycle(), total=28, steps=14)
    train_batches(step, learning_rate, images.draw_batches(6, seed=0, epoch=1))
    assert step.captured_sizes == {5, 6}
    draws = list(images.draw_batches(6, seed=0, epoch=2))
    torch.cuda.set_sync_debug_mode("error")
    try:
        for draw in draws:
            if isinstance(network, GatedNetwork):
                network.set_alpha(0.5)
            step.train_batch(draw)
            learning_rate.after_batch()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert math.isfinite(step.read_sums()[0])


@needs_cuda
@pytest.mark.usefixtures("gpu")
def test_the_memory_of_a_gpu_is_the_networks_own(data: Data, tmp_path: Path) -> None:
    """Weights, and a batch with the first layer's feature maps; not what libraries keep."""
    network = build_vgg16(scale_widths(0.5), data.classes)
    architecture = Architecture("vgg16", data.classes)
    save_network(network, tmp_path / "network", architecture, scale_widths(0.5), mean=data.mean, std=data.std)
    images, labels = (np.tile(each, (30, *[1] * (each.ndim - 1))) for each in (data.test.images, data.test.labels))
    assert len(labels) == 600  # two batches, and one that is smaller
    np.savez(tmp_path / "test.npz", images=images, labels=labels)
    job = {"kind": "memory", "networks": [str(tmp_path / "network")], "test": str(tmp_path / "test.npz"), "threads": 1}
    ran = subprocess.run(
        [sys.executable, "-m", "trainable.measurement.job"],
        input=json.dumps(job),
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(ran.stdout)
    memory, test = found["memory"], found["test"]
    assert memory["counter"] == "allocated"
    assert memory["weights_bytes"] == sum(t.nbytes for t in as_autocast_computes(network).state_dict().values())
    maps = 256 * 32 * 32 * 32 * 2  # of the first layer: bfloat16
    # Above the maps there may be the workspace of the algorithm that cuDNN chose, but none of those that it tried.
    assert 2 * maps <= memory["activation_bytes"] < 8 * maps
    least, _, most = (batch["peak_bytes"] for batch in memory["batches"])
    assert memory["weights_bytes"] < least < most
    for each in (*memory["batches"], test):
        assert memory["weights_bytes"] < each["mean_bytes"] <= each["peak_bytes"] <= each["reserved_bytes"]
    assert test["peak_bytes"] >= 2 * maps
    assert test["host_mean_bytes"] <= test["host_peak_bytes"]


@needs_cuda
@pytest.mark.usefixtures("gpu")
def test_what_is_measured_on_cuda_is_what_autocast_computes() -> None:
    network, images = place_on(trained_like(0)[0].eval(), CUDA), trained_like(0)[1].cuda()
    with torch.inference_mode():
        with autocast_on(CUDA):
            wanted = network(images).float()
        found = as_autocast_computes(network)(images.bfloat16()).float()
    assert (found - wanted).norm() < 0.01 * wanted.norm()

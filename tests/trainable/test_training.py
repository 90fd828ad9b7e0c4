"""An epoch of training, an evaluation and a recalibration against plain loops; a loss that is not finite stops it."""

import copy
from collections.abc import Callable

import pytest
import torch
from networks import create_vgg16, list_layers, scale_widths
from torch import Tensor, nn
from torch.nn import functional

from trainable.config import OptimizerConfig
from trainable.data.batches import EVALUATION_BATCH, DeviceSplit
from trainable.data.dataset import Data, Split
from trainable.dense import DenseNetwork
from trainable.device import prepare_device
from trainable.errors import DivergedError
from trainable.network.vgg import VGG
from trainable.schedules.lr_policies import CosineAnnealing
from trainable.schedules.lr_schedulers import LRDriver
from trainable.training import (
    RECALIBRATION_BATCHES,
    TrainingResult,
    TrainingStep,
    create_sgd,
    evaluate,
    recalibrate_norms,
    train_batches,
)

CPU = torch.device("cpu")


@pytest.fixture
def network(dense: DenseNetwork) -> VGG:
    return copy.deepcopy(dense.network)


@pytest.fixture
def images(make_data: Callable[..., Data]) -> DeviceSplit:
    data = make_data(60)
    return DeviceSplit(data.train, data, CPU)


def train(
    network: VGG,
    images: DeviceSplit,
    *,
    lr: float,
    epoch: int = 1,
    smoothing: float = 0.0,
    config: OptimizerConfig | None = None,
) -> TrainingResult:
    optimizer = create_sgd(network, config or OptimizerConfig(), lr)
    steady = LRDriver(optimizer, None, total=1, steps=images.count_steps(25))
    step = TrainingStep(network, optimizer, images, label_smoothing=smoothing)
    return train_batches(step, steady, images.draw_batches(25, seed=0, epoch=epoch)).average()


def test_training_lowers_the_loss(images: DeviceSplit) -> None:
    network = create_vgg16(scale_widths(1 / 16), 4, seed=0)
    losses = [train(network, images, lr=0.02, epoch=epoch).loss for epoch in range(1, 9)]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_what_an_epoch_returns_are_means_over_its_images(network: VGG, images: DeviceSplit, smoothing: float) -> None:
    """At a learning rate of 0 the network does not change, so that a plain loop sees the same one."""
    copied = copy.deepcopy(network).train()
    losses, right = [], 0
    for inputs, labels in images.augmented_batches(25, seed=0, epoch=1):
        logits = copied(inputs)
        losses.append(functional.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing).detach())
        right += int((logits.argmax(1) == labels).sum())
    trained = train(network, images, lr=0, smoothing=smoothing)
    assert trained.loss == pytest.approx(torch.cat(losses).mean().item(), rel=1e-5)
    assert trained.accuracy == right / 60
    assert 0.25 < trained.accuracy <= 1


def test_the_learning_rate_of_an_epoch_is_the_mean_of_its_batches(network: VGG, images: DeviceSplit) -> None:
    optimizer = create_sgd(network, OptimizerConfig(), 0.5)
    learning_rate = LRDriver(optimizer, CosineAnnealing(peak=0.01, warmup_epochs=0), total=3, steps=3)
    step = TrainingStep(network, optimizer, images, label_smoothing=0)
    trained = train_batches(step, learning_rate, images.draw_batches(25, seed=0, epoch=1)).average()
    assert trained.lr == pytest.approx(0.01 * (1 + 0.75 + 0.25) / 3)
    assert learning_rate.current_lr == pytest.approx(0, abs=1e-9)


def test_weight_decay_is_on_filters_and_matrices_alone(network: VGG) -> None:
    before = {name: parameter.clone() for name, parameter in network.named_parameters()}
    optimizer = create_sgd(network, OptimizerConfig(weight_decay=0.1, momentum=0.5), lr=0.1)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    shrunk = {name for name, parameter in network.named_parameters() if not torch.equal(parameter, before[name])}
    matrices = {
        f"{name}.weight" for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)
    }
    assert shrunk == matrices
    assert len(matrices) == 14
    # Nesterov's first step is lr * (1 + momentum) times the gradient, here the decay alone.
    for name in matrices:
        torch.testing.assert_close(network.get_parameter(name), before[name] * (1 - 0.1 * 1.5 * 0.1))


def test_momentum_is_nesterovs() -> None:
    group = create_sgd(nn.Linear(2, 2), OptimizerConfig(momentum=0.8), lr=0.1).param_groups[0]
    assert (group["momentum"], group["nesterov"], group["lr"]) == (0.8, True, 0.1)


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_training_loss_that_is_not_finite_says_the_learning_rate(
    value: float, network: VGG, images: DeviceSplit
) -> None:
    nn.init.constant_(network.classifier.weight, value)
    with pytest.raises(DivergedError, match=r"^the training loss is (nan|inf) at learning rate 0\.0123$"):
        train(network, images, lr=0.0123)


def test_too_large_a_learning_rate_is_noticed(network: VGG, images: DeviceSplit) -> None:
    with pytest.raises(DivergedError, match=r"the training loss is (nan|inf) at learning rate 1e\+30"):
        train(network, images, lr=1e30)


def test_a_validation_loss_that_is_not_finite_is_noticed(network: VGG, images: DeviceSplit) -> None:
    nn.init.constant_(network.classifier.bias, float("nan"))
    with pytest.raises(DivergedError, match=r"^the validation loss is nan$"):
        evaluate(network, images)


@pytest.mark.parametrize("count", [1, EVALUATION_BATCH, EVALUATION_BATCH + 9])
def test_evaluation_is_a_plain_loop(count: int, network: VGG, make_data: Callable[..., Data]) -> None:
    """Even if the last batch is small, or the only one."""
    data = make_data(train=count, validation=1)
    images = DeviceSplit(data.train, data, CPU)
    losses, right = [], 0
    network.eval()
    with torch.no_grad():
        for inputs, labels in images.plain_batches(64):
            logits = network(inputs)
            losses.append(functional.cross_entropy(logits, labels, reduction="none"))
            right += int((logits.argmax(1) == labels).sum())
    before = copy.deepcopy(network.state_dict())
    evaluated = evaluate(network.train(), images)
    assert evaluated.loss == pytest.approx(torch.cat(losses).mean().item(), rel=1e-4)
    assert evaluated.accuracy == right / count
    assert not network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("batch_size", [2, 16, 59, 60])
def test_recalibration_is_the_average_of_the_batches_by_their_sizes(
    batch_size: int, network: VGG, images: DeviceSplit
) -> None:
    """60 images are 30, 4, 2 or 1 batches, of which the first RECALIBRATION_BATCHES are used."""
    for _, norm in list_layers(network):
        norm.momentum = 0.07
        norm.running_mean.fill_(1e3)
        norm.running_var.fill_(1e3)
    parameters = [parameter.clone() for parameter in network.parameters()]
    seen: list[list[Tensor]] = []
    for _, norm in list_layers(network):
        seen.append([])
        norm.register_forward_pre_hook(lambda module, inputs, seen=seen[-1]: seen.append(inputs[0].clone()))
    recalibrate_norms(network, images, batch_size)
    for (_, norm), batches in zip(list_layers(network), seen, strict=True):
        assert len(batches) == min(RECALIBRATION_BATCHES, -(-60 // batch_size))
        weights = torch.tensor([len(batch) for batch in batches]) / sum(map(len, batches))
        mean = weights @ torch.stack([batch.mean((0, 2, 3)) for batch in batches])
        variance = weights @ torch.stack([batch.var((0, 2, 3)) for batch in batches])
        torch.testing.assert_close(norm.running_mean, mean, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(norm.running_var, variance, rtol=1e-4, atol=1e-4)
        assert norm.momentum == 0.07
    assert all(torch.equal(*pair) for pair in zip(parameters, network.parameters(), strict=True))
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_last_batch_of_one_image_changes_next_to_nothing(make_data: Callable[..., Data]) -> None:
    data = make_data(train=65, validation=200)
    network = create_vgg16(scale_widths(1 / 16), 4, seed=0)
    for epoch in range(1, 9):
        train(network, DeviceSplit(data.train, data, CPU), lr=0.02, epoch=epoch)
    validation, losses = DeviceSplit(data.validation, data, CPU), []
    for count in (64, 65):
        few = Split(data.train.images[:count], data.train.labels[:count])
        recalibrate_norms(network, DeviceSplit(few, data, CPU), 64)
        losses.append(evaluate(network, validation).loss)
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_batches_of_equal_size_are_averaged_as_before(network: VGG, images: DeviceSplit) -> None:
    """To the bit: the same configuration gives the same numbers in every version."""
    plain = copy.deepcopy(network).train()
    recalibrate_norms(network, images, 12)
    with torch.no_grad():
        for number, (inputs, _) in enumerate(images.plain_batches(12), start=1):
            for _, norm in list_layers(plain):
                norm.momentum = 1 / number
            plain(inputs)
    for (_, norm), (_, expected) in zip(list_layers(network), list_layers(plain), strict=True):
        assert torch.equal(norm.running_mean, expected.running_mean)
        assert torch.equal(norm.running_var, expected.running_var)


def test_recalibration_sees_the_first_images_as_they_are(network: VGG, images: DeviceSplit) -> None:
    seen: list[Tensor] = []
    network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    recalibrate_norms(network, images, 4)
    expected = [batch for batch, _ in images.plain_batches(4)][:RECALIBRATION_BATCHES]
    assert len(seen) == len(expected) == 10
    assert all(torch.equal(*pair) for pair in zip(seen, expected, strict=True))


def test_the_process_gets_its_threads() -> None:
    before = torch.get_num_threads()
    prepare_device(CPU, before + 1)
    assert torch.get_num_threads() == before + 1
    prepare_device(CPU, before)

"""A trial of a residual network, whose groups have several layers: what is tested of VGG16 elsewhere holds for it."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from networks import count_macs, count_parameters, create_dense
from torch import Tensor, nn
from torch.nn import functional

from records.epoch import EpochRow
from trainable.config import DataConfig, DenseConfig, NetworkConfig, OptimizerConfig, PruningConfig, TrialConfig
from trainable.data.batches import DeviceSplit
from trainable.data.dataset import Data, load_data
from trainable.dense import DenseNetwork, dense_hash, load_dense, train_dense
from trainable.errors import InexactRemovalError
from trainable.network.architecture import Architecture
from trainable.network.grouping import find_layout
from trainable.network.resnet import CifarResNet
from trainable.network.weights import load_pruned, save_network
from trainable.pruning.criteria import Criterion, score_channels
from trainable.pruning.gates import GatedBatchNorm2d, GatedNetwork
from trainable.pruning.masks import widths_of
from trainable.schedules.alpha import OneShot, Polynomial
from trainable.schedules.lr_policies import CosineAnnealing
from trainable.trial import Trial

Timeless = Callable[[Sequence[EpochRow]], list[dict[str, Any]]]
Small = Callable[..., TrialConfig]
RESNET = NetworkConfig("resnet20")
CONFIG = DenseConfig(width=0.25, epochs=2, peak=0.05, optimizer=OptimizerConfig(batch_size=12))


@pytest.fixture(scope="module")
def digits() -> Data:
    return load_data(DataConfig("digits", images=40, validation_fraction=0.4))


@pytest.fixture(scope="module")
def folder(digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resnet") / "dense"
    train_dense(CONFIG, digits, folder, threads=1, network=RESNET)
    return folder


@pytest.fixture(scope="module")
def resnet(folder: Path) -> DenseNetwork:
    return load_dense(folder)


def run(trial: Trial, epochs: int = 99) -> Trial:
    while not trial.is_finished and trial.epoch < epochs:
        trial.run_epoch()
    return trial


def test_the_dense_network_is_recorded_with_its_groups(resnet: DenseNetwork, digits: Data) -> None:
    assert type(resnet.network) is CifarResNet
    assert resnet.architecture == Architecture("resnet20", 10, 0.25)
    assert resnet.layout == find_layout(resnet.architecture)
    record = resnet.record
    assert record.groups == tuple(group.name for group in resnet.layout.groups)
    assert record.widths == (4, 4, 4, 4, 8, 8, 8, 8, 16, 16, 16, 16)
    assert (record.macs, record.parameters) == (count_macs(resnet.network), count_parameters(resnet.network))
    assert record.channels == sum(each.out_channels for each in resnet.network.modules() if isinstance(each, nn.Conv2d))
    assert record.hash == dense_hash(CONFIG, digits.fingerprint, RESNET) != dense_hash(CONFIG, digits.fingerprint)


def test_the_hash_of_a_network_is_of_its_name_and_arguments() -> None:
    networks = [RESNET, NetworkConfig("resnet32"), NetworkConfig("resnet20", {"blocks": 3}), NetworkConfig()]
    assert len({dense_hash(CONFIG, "data", network) for network in networks}) == 4
    # VGG16's is that of earlier versions, which had only one network.
    assert dense_hash(DenseConfig(), "data") == dense_hash(DenseConfig(), "data", NetworkConfig("vgg16"))
    assert dense_hash(DenseConfig(), "data") == "de4a49cdb3ee7a18"


@pytest.mark.parametrize("criterion", get_args(Criterion))
@pytest.mark.parametrize("gate", ["bn_output", "conv_weight"])
def test_it_runs_with_every_criterion_and_gate(
    criterion: Any, gate: Any, digits: Data, resnet: DenseNetwork, small: Small
) -> None:
    pruning = PruningConfig(amount=0.5, round_to=1, criterion=criterion, gate=gate)
    trial = run(Trial(small(epochs=2, alpha_fraction=0.5, pruning=pruning), digits, resnet))
    cut = trial.cut
    assert cut is not None
    assert cut.difference is not None
    assert cut.difference < 1e-5 if gate == "bn_output" else cut.difference > 1e-4
    assert type(trial.network) is CifarResNet
    assert cut.widths == widths_of(trial.masks)
    assert (cut.macs, cut.parameters) == (count_macs(trial.network), count_parameters(trial.network))
    assert [row.phase for row in trial.rows] == ["alpha", "retrain"]
    assert {row.mac_sparsity for row in trial.rows} == {1 - cut.macs / resnet.record.macs}
    assert trial.rows[0].mac_sparsity >= 0.5


def test_the_cut_that_was_made_is_the_one_that_was_predicted(digits: Data, resnet: DenseNetwork, small: Small) -> None:
    trial = run(Trial(small(), digits, resnet))
    assert trial.cut is not None
    assert trial.cut.val_accuracy == trial.rows[1].pruned_val_accuracy


CASES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "every batch": {"epochs_per_alpha": 0, "alpha_fraction": 0.3, "alpha": Polynomial(1)},
    "one curve": {"lr_span": "trial", "lr": CosineAnnealing(peak=0.05, warmup_epochs=1)},
    "conv_weight": {"pruning": PruningConfig(amount=0.5, round_to=1, gate="conv_weight")},
    "from scratch": {"epochs": 3, "alpha": OneShot(), "initial": "random"},
}


@pytest.mark.parametrize("changed", CASES.values(), ids=CASES.keys())
def test_it_continues_the_same_from_every_epoch(
    changed: dict[str, Any], digits: Data, resnet: DenseNetwork, small: Small, timeless: Timeless
) -> None:
    """Bit for bit, in both phases and at the cut."""
    config = small(**changed)
    whole = Trial(config, digits, resnet)
    states = [copy.deepcopy(whole.state_dict())]
    while not whole.is_finished:
        whole.run_epoch()
        states.append(copy.deepcopy(whole.state_dict()))
    for epoch, state in enumerate(states):
        trial = Trial(config, digits, resnet)
        trial.load_state_dict(state)
        assert trial.epoch == epoch
        assert timeless(run(trial).rows) == timeless(whole.rows)
        assert trial.cut == whole.cut
        for name, tensor in trial.network.state_dict().items():
            assert torch.equal(tensor, whole.network.state_dict()[name]), name


def test_the_pruned_network_comes_back_from_its_folder(
    digits: Data, resnet: DenseNetwork, small: Small, tmp_path: Path
) -> None:
    trial = run(Trial(small(), digits, resnet))
    assert trial.cut is not None
    save_network(trial.network, tmp_path, resnet.architecture, trial.cut.widths, mean=digits.mean, std=digits.std)
    loaded = load_pruned(tmp_path)
    assert (loaded.widths, loaded.classes) == (trial.cut.widths, 10)
    images = torch.rand(8, 3, 32, 32)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (digits.mean, digits.std))
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), trial.network.eval()((images - mean) / std), rtol=1e-5, atol=1e-5)


def stream_norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    """Those that are added into the first stream: of the first layer, and the last of each of its three blocks."""
    names = ("norm", "blocks.0.norm2", "blocks.1.norm2", "blocks.2.norm2")
    return [each for each in map(network.get_submodule, names) if isinstance(each, nn.BatchNorm2d)]


def test_alpha_multiplies_all_that_is_added_into_a_stream(resnet: DenseNetwork) -> None:
    masks = [torch.ones(width, dtype=torch.bool) for width in resnet.layout.widths]
    masks[0][1] = False
    gated = GatedNetwork(resnet.network, resnet.layout, masks, "bn_output")
    gated.set_alpha(0.3)
    dense = stream_norms(resnet.network)
    assert len(dense) == 4
    for old, new in zip(dense, stream_norms(gated.network), strict=True):
        assert isinstance(new, GatedBatchNorm2d)
        weight, bias = new.affine_parameters()
        factor = torch.tensor([1, 0.3, 1, 1])
        torch.testing.assert_close(weight, old.weight * factor)
        torch.testing.assert_close(bias, old.bias * factor)


def test_scores_of_a_stream_count_all_its_layers(resnet: DenseNetwork, digits: Data) -> None:
    network, layout = resnet.network, resnet.layout
    images = DeviceSplit(digits.train, digits, torch.device("cpu"))

    def score(criterion: Criterion) -> Tensor:
        return score_channels(network, layout, criterion, batches=images.plain_batches(36), seed=0)[0]

    filters = torch.cat(
        [
            network.get_parameter(f"{name}.weight").flatten(1)
            for name in ("conv", "blocks.0.conv2", "blocks.1.conv2", "blocks.2.conv2")
        ],
        1,
    )
    torch.testing.assert_close(score("l1"), filters.abs().sum(1))
    torch.testing.assert_close(score("l2"), filters.norm(dim=1))
    norms = stream_norms(network)
    torch.testing.assert_close(score("bn_scale"), torch.stack([norm.weight.abs() for norm in norms]).sum(0))
    gate = torch.ones(4, requires_grad=True)
    hooks = [
        norm.register_forward_hook(lambda module, inputs, output: output * gate.view(1, -1, 1, 1)) for norm in norms
    ]
    ((inputs, labels),) = images.plain_batches(36)
    (gradient,) = torch.autograd.grad(functional.cross_entropy(network.eval()(inputs), labels), gate)
    for hook in hooks:
        hook.remove()
    torch.testing.assert_close(score("taylor"), gradient**2, rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("alpha_fraction", [0, 0.4])
def test_a_network_that_cannot_be_pruned_exactly_says_which_group(
    alpha_fraction: float, digits: Data, small: Small
) -> None:
    """Its layout is that of another one, in which a layer keeps 0 at 0."""

    def architecture(activation: str) -> Architecture:
        blocks = [["plain", 6, "relu"], ["plain", 6, activation], ["plain", 6, "relu"]]
        return Architecture("networks:build_mixed", 10, arguments={"blocks": blocks})

    layout = find_layout(architecture("relu"))
    assert "blocks.1.first.0: what reads it still gets" in find_layout(architecture("plus_1")).whole[0]
    dense = create_dense(architecture("plus_1").create(0), layout, architecture("plus_1"))
    trial = Trial(small(alpha_fraction=alpha_fraction), digits, dense)
    with pytest.raises(InexactRemovalError) as refused:
        run(trial)
    assert "removing the channels of group 'blocks.1.first.0' changed the network's output by" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert trial.cut is None
    # The same trial of the right layout runs through.
    run(Trial(small(alpha_fraction=alpha_fraction), digits, replace(dense, layout=find_layout(architecture("plus_1")))))

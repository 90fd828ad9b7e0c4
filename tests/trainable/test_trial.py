"""A trial does what its config says, phase by phase, and its rows say what it did."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from networks import count_macs, count_parameters, create_vgg16, list_layers, list_widths, same_weights, scale_widths
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from records.epoch import EpochRow
from trainable.config import OptimizerConfig, PruningConfig, TrialConfig
from trainable.data.batches import DeviceSplit
from trainable.data.dataset import Data
from trainable.dense import DenseNetwork
from trainable.errors import DivergedError, InexactRemovalError
from trainable.network.vgg import VGG
from trainable.pruning.criteria import score_channels
from trainable.pruning.gates import GatedNetwork
from trainable.pruning.masks import choose_masks, widths_of
from trainable.pruning.removal import remove_channels
from trainable.schedules.alpha import Cosine, Multiplicative, OneShot, Polynomial
from trainable.schedules.lr_policies import CosineAnnealing, StagnationRestart
from trainable.schedules.lr_schedulers import LRDriver
from trainable.training import EvaluationResult, evaluate, recalibrate_norms
from trainable.trial import Trial

Rows = list[dict[str, Any]]
Timeless = Callable[[Sequence[EpochRow]], Rows]
# docs/method.md, "What each epoch reports".
KEYS = [
    *("epoch", "phase", "alpha", "lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy"),
    *("pruned_val_accuracy", "channel_sparsity", "parameter_sparsity", "mac_sparsity"),
    *("training_cost", "images_per_second", "epoch_seconds"),
]


@pytest.fixture
def run(data: Data, dense: DenseNetwork, small: Callable[..., TrialConfig]) -> Callable[..., Trial]:
    """A trial of the small config with the given fields changed, run to its end."""

    def finished(**changed: Any) -> Trial:
        trial = Trial(small(**changed), data, dense)
        while not trial.is_finished:
            trial.run_epoch()
        return trial

    return finished


def column(trial: Trial, name: str) -> list[Any]:
    return [getattr(row, name) for row in trial.rows]


def steps(trial: Trial) -> Iterator[EpochRow]:
    while not trial.is_finished:
        yield trial.run_epoch()


def test_a_row_has_the_columns_of_the_method(run: Callable[..., Trial]) -> None:
    trial = run()
    rows = [row.as_values() for row in trial.rows]
    assert all(sorted(row) == sorted(KEYS) for row in rows)
    for row in rows:
        assert all(type(value) in (int, float, str) for value in row.values())
        for name in ("train_accuracy", "val_accuracy", "pruned_val_accuracy", "mac_sparsity"):
            assert 0 <= row[name] <= 1
        assert row["images_per_second"] > 0
        assert row["epoch_seconds"] > 0


def test_phases_alphas_and_rates_follow_the_config(run: Callable[..., Trial]) -> None:
    trial = run(alpha=Polynomial(1), alpha_lr=0.003, lr=CosineAnnealing(peak=0.04, warmup_epochs=0))
    assert column(trial, "epoch") == [1, 2, 3, 4, 5]
    assert column(trial, "phase") == ["alpha", "alpha", "retrain", "retrain", "retrain"]
    assert column(trial, "alpha") == pytest.approx([2 / 3, 1 / 3, 0, 0, 0])
    # Means of three batches each of 0.04 (1 + cos(pi n / 9)) / 2.
    rates = [0.003, 0.003, 0.038038247, 0.023333333, 0.0052950862]
    assert column(trial, "lr") == pytest.approx(rates, rel=1e-6)


def test_val_accuracy_is_at_the_epochs_alpha_and_pruned_val_accuracy_is_that_of_a_cut_by_hand(
    data: Data, dense: DenseNetwork, small: Callable[..., TrialConfig]
) -> None:
    trial = Trial(small(epochs=6, alpha_fraction=0.7, alpha_lr=0.003), data, dense)
    images = DeviceSplit(data.train, data, trial.device)
    seen = []
    for row in steps(trial):
        if row.phase == "retrain":
            assert row.pruned_val_accuracy == row.val_accuracy
            continue
        gated = copy.deepcopy(trial.network)
        assert isinstance(gated, GatedNetwork)
        gated.set_alpha(row.alpha)
        assert evaluate(gated, trial.validation_images) == (row.val_loss, row.val_accuracy)
        pruned = remove_channels(gated)
        recalibrate_norms(pruned, images, 12)
        assert evaluate(pruned, trial.validation_images).accuracy == row.pruned_val_accuracy
        seen.append((row.val_accuracy, row.pruned_val_accuracy))
    assert len(seen) == 4
    assert any(now != pruned for now, pruned in seen)


def test_the_projected_cut_does_not_disturb_the_training(
    run: Callable[..., Trial], timeless: Timeless, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = timeless(run().rows)
    project = Trial._project_cut

    def only_at_the_cut(trial: Trial) -> tuple[nn.Module, EvaluationResult]:
        return project(trial) if trial.phase == "retrain" else (nn.Identity(), EvaluationResult(0, -1))

    monkeypatch.setattr(Trial, "_project_cut", only_at_the_cut)
    rows = timeless(run().rows)
    assert [row.pop("pruned_val_accuracy") for row in rows][:2] == [-1, -1]
    assert rows == [{name: row[name] for name in row if name != "pruned_val_accuracy"} for row in expected]


def test_the_cut_makes_the_network_smaller(run: Callable[..., Trial], dense: DenseNetwork) -> None:
    trial = run()
    cut = trial.cut
    assert cut is not None
    assert type(trial.network) is VGG
    widths = list_widths(trial.network)
    assert widths == cut.widths == widths_of(trial.masks)
    assert sum(widths) == cut.channels < sum(scale_widths(1 / 16))
    assert count_parameters(trial.network) == cut.parameters
    assert cut.macs == count_macs(trial.network) <= count_macs(dense.network) / 2
    assert cut.epoch == 2
    assert 0 < cut.difference < 1e-5
    # The cut that was made is the one that was predicted.
    assert cut.val_accuracy == trial.rows[1].pruned_val_accuracy
    for row in trial.rows:
        assert row.mac_sparsity == 1 - cut.macs / count_macs(dense.network) >= 0.5
        assert row.parameter_sparsity == 1 - cut.parameters / count_parameters(dense.network)
        assert row.channel_sparsity == 1 - cut.channels / sum(scale_widths(1 / 16))


@pytest.mark.parametrize("criterion", ["l1", "l2", "bn_scale", "taylor", "random"])
def test_the_doomed_channels_are_those_of_the_dense_network(
    criterion: Any, data: Data, dense: DenseNetwork, small: Callable[..., TrialConfig]
) -> None:
    pruning = PruningConfig(amount=0.5, round_to=1, criterion=criterion, scope="uniform")
    trial = Trial(small(pruning=pruning, seed=3), data, dense)
    images = DeviceSplit(data.train, data, trial.device)
    scores = score_channels(dense.network, dense.layout, criterion, batches=images.plain_batches(12), seed=3)
    expected = choose_masks(scores, pruning, dense.layout)
    assert all(torch.equal(*pair) for pair in zip(trial.masks, expected, strict=True))


def test_one_shot_cuts_before_the_first_epoch(run: Callable[..., Trial], dense: DenseNetwork) -> None:
    trial = run(alpha=OneShot())
    assert column(trial, "phase") == ["retrain"] * 5
    assert trial.cut is not None
    assert trial.cut.epoch == 0
    assert trial.cut.val_loss is not None


def test_without_an_alpha_phase_it_is_one_shot(run: Callable[..., Trial], timeless: Timeless) -> None:
    assert timeless(run(alpha_fraction=0).rows) == timeless(run(alpha=OneShot()).rows)


def test_random_channels_are_different_ones_at_the_same_cost(run: Callable[..., Trial]) -> None:
    trials = [
        run(epochs=1, alpha=OneShot(), pruning=PruningConfig(0.5, round_to=1, scope="uniform", criterion=criterion))
        for criterion in ("l1", "random")
    ]
    assert trials[0].cut.macs == trials[1].cut.macs
    assert any(not torch.equal(*masks) for masks in zip(trials[0].masks, trials[1].masks, strict=True))


def test_from_scratch_takes_nothing_but_the_widths_from_the_dense_network(
    run: Callable[..., Trial],
    data: Data,
    dense: DenseNetwork,
    small: Callable[..., TrialConfig],
    timeless: Timeless,
) -> None:
    changed = {"alpha": OneShot(), "pruning": PruningConfig(0.5, round_to=1, criterion="random"), "initial": "random"}
    trial = run(**changed)
    assert trial.cut is not None
    assert (trial.cut.epoch, trial.cut.val_loss, trial.cut.val_accuracy, trial.cut.difference) == (0, None, None, None)
    other = replace(dense, network=create_vgg16(dense.layout.widths, 4, seed=9))
    again = Trial(small(**changed), data, other)
    assert timeless(list(steps(again))) == timeless(trial.rows)
    assert same_weights(again.network, trial.network)


def test_alpha_is_constant_for_epochs_per_alpha(run: Callable[..., Trial]) -> None:
    trial = run(epochs=6, alpha_fraction=0.85, epochs_per_alpha=2, alpha=Cosine())
    assert column(trial, "alpha") == pytest.approx([0.75, 0.75, 0.25, 0.25, 0, 0])


def test_an_early_end_of_the_alpha_phase_goes_to_retraining(run: Callable[..., Trial]) -> None:
    """Four of the five stages that there is room for; the learning-rate policy stretches over what follows."""
    trial = run(epochs=6, alpha_fraction=0.9, alpha=Multiplicative(0.5, 0.05), lr=CosineAnnealing(0.1, warmup_epochs=0))
    assert column(trial, "alpha") == [0.5, 0.25, 0.125, 0.0625, 0, 0]
    # Means of three batches each of 0.1 (1 + cos(pi n / 6)) / 2.
    assert column(trial, "lr")[4:] == pytest.approx([0.0894337567, 0.0272329099], rel=1e-6)


def test_stagnation_raises_the_rate_in_the_rows(run: Callable[..., Trial]) -> None:
    trial = run(alpha_fraction=0, lr=StagnationRestart((1e-6, 2e-6, 3e-6), patience=1))
    best, rates, rate = 0.0, [], 0
    for accuracy in column(trial, "val_accuracy"):
        rates.append((1e-6, 2e-6, 3e-6)[rate])
        rate = min(rate + (accuracy <= best), 2)
        best = max(best, accuracy)
    assert column(trial, "lr") == pytest.approx(rates)
    assert rates[-1] == 3e-6


def test_a_trial_with_the_gate_before_the_norm_runs_through(run: Callable[..., Trial]) -> None:
    trial = run(pruning=PruningConfig(0.5, round_to=1, gate="conv_weight"))
    assert trial.cut is not None
    assert trial.cut.difference > 1e-3
    assert type(trial.network) is VGG
    assert len(trial.rows) == 5


def test_the_same_config_gives_the_same_rows_and_another_seed_different_ones(
    run: Callable[..., Trial], timeless: Timeless, dense: DenseNetwork
) -> None:
    before = copy.deepcopy(dense.network)
    torch.manual_seed(1)
    first = run()
    torch.manual_seed(2)
    again, other = run(), run(seed=1)
    assert timeless(again.rows) == timeless(first.rows)
    assert same_weights(again.network, first.network)
    for name in ("train_loss", "val_loss"):
        assert all(a != b for a, b in zip(column(first, name), column(other, name), strict=True))
    assert same_weights(before, dense.network)
    assert not dense.network.training


def test_training_gets_better_in_the_end(run: Callable[..., Trial]) -> None:
    trial = run(epochs=8, lr=CosineAnnealing(peak=0.02))
    assert trial.rows[-1].val_loss < trial.cut.val_loss
    assert trial.rows[-1].val_accuracy > 0.5


def test_what_cannot_be_cut_is_refused(data: Data, dense: DenseNetwork, small: Callable[..., TrialConfig]) -> None:
    with pytest.raises(ValueError, match=r"pruning\.amount must be at most 0\.\d+ of the macs .* but got 0\.99"):
        Trial(small(pruning=PruningConfig(amount=0.99, round_to=8)), data, dense)


def test_a_loss_that_is_not_finite_is_reported_with_epoch_and_rate(
    data: Data, dense: DenseNetwork, small: Callable[..., TrialConfig]
) -> None:
    trial = Trial(small(alpha_lr=0.0123, lr=CosineAnnealing(0.5, warmup_epochs=0)), data, dense)
    trial.run_epoch()
    with torch.no_grad():
        trial._inner_network.classifier.weight.fill_(float("inf"))
    with pytest.raises(DivergedError, match=r"^epoch 2: the training loss is nan at learning rate 0\.0123$"):
        trial.run_epoch()
    assert (trial.epoch, len(trial.rows)) == (1, 1)


def test_a_loss_that_is_not_finite_only_on_the_validation_images(
    data: Data, dense: DenseNetwork, small: Callable[..., TrialConfig]
) -> None:
    trial = Trial(small(), data, dense)
    for _, norm in list_layers(trial.network):
        norm.running_mean.fill_(float("nan"))
    with pytest.raises(DivergedError, match=r"^epoch 1: the validation loss is nan"):
        trial.run_epoch()


def test_a_bug_in_removal_does_not_go_unnoticed(
    data: Data, dense: DenseNetwork, small: Callable[..., TrialConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = Trial(small(alpha=OneShot()), data, dense)

    def defective(network: GatedNetwork) -> nn.Module:
        pruned = remove_channels(network)
        with torch.no_grad():
            pruned.classifier.bias[0] += 0.1
        return pruned

    monkeypatch.setattr("trainable.trial.remove_channels", defective)
    message = r"removing the channels of all groups together, but none alone changed the network's output by 0\.\d+"
    with pytest.raises(InexactRemovalError, match=message):
        trial.run_epoch()


def test_the_optimizer_is_the_configs_in_both_phases(
    data: Data, dense: DenseNetwork, small: Callable[..., TrialConfig]
) -> None:
    trial = Trial(small(optimizer=OptimizerConfig(batch_size=36, momentum=0.7, weight_decay=0.01)), data, dense)
    groups = [trial.state_dict()["optimizer"]["param_groups"] for row in steps(trial) if row.epoch in (1, 5)]
    assert [[group["momentum"] for group in each] for each in groups] == [[0.7, 0.7]] * 2
    assert [[group["weight_decay"] for group in each] for each in groups] == [[0.01, 0.0]] * 2


def test_alpha_falls_with_every_batch_and_the_cut_is_within_an_epoch(run: Callable[..., Trial]) -> None:
    """Of five epochs of three batches each, half an epoch more than one fades: 4.5 batches, rounded down."""
    trial = run(epochs_per_alpha=0, alpha_fraction=0.3, alpha=Polynomial(1))
    assert column(trial, "phase") == ["alpha", "retrain", "retrain", "retrain", "retrain"]
    # 0.8, 0.6 and 0.4 in the first epoch, 0.2 in the first batch of the second.
    assert column(trial, "alpha") == pytest.approx([0.4, 0, 0, 0, 0])
    assert trial.cut is not None
    assert trial.cut.epoch == 1
    assert trial.rows[1].pruned_val_accuracy == trial.rows[1].val_accuracy
    kept = 1 - trial.rows[0].mac_sparsity
    assert column(trial, "training_cost") == pytest.approx([1, 1 / 3 + 2 / 3 * kept, kept, kept, kept])


def test_stages_of_a_whole_epoch_are_the_same_as_before_stages_could_be_shorter(
    run: Callable[..., Trial], timeless: Timeless
) -> None:
    """A stage of just less than an epoch, rounded to whole batches, is one of an epoch."""
    whole, short = (run(alpha_fraction=0.4, epochs_per_alpha=each) for each in (1, 0.99))
    assert timeless(whole.rows) == timeless(short.rows)


@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.4])
def test_the_training_cost_is_what_counting_every_pass_gives(
    fraction: float, data: Data, dense: DenseNetwork, small: Callable[..., TrialConfig]
) -> None:
    alpha = Polynomial(1) if fraction else OneShot()
    trial = Trial(small(alpha=alpha, alpha_fraction=fraction, epochs_per_alpha=0), data, dense)
    # The passes of training are those of which gradients are asked; torch counts two operations to each multiplication.
    counted = 0
    forward = VGG.forward

    def counting(network: VGG, images: torch.Tensor) -> torch.Tensor:
        nonlocal counted
        with FlopCounterMode(display=False) as counter:
            logits = forward(network, images)
        counted += counter.get_total_flops() // 2 if torch.is_grad_enabled() and network.training else 0
        return logits

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VGG, "forward", counting)
        for row in steps(trial):
            one = count_macs(dense.network) * len(data.train.labels)
            assert row.training_cost == pytest.approx(counted / one, rel=1e-12)
            counted = 0


def test_one_learning_rate_curve_goes_on_at_the_cut(run: Callable[..., Trial]) -> None:
    policy = CosineAnnealing(peak=0.04, warmup_epochs=1)
    trial = run(lr_span="trial", lr=policy)
    assert trial.cut is not None
    assert trial.cut.epoch == 2
    # What the policy alone does to an optimizer over the five epochs of three batches.
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1)
    curve, rates = LRDriver(optimizer, policy, total=15, steps=3), []
    for _ in range(15):
        rates.append(curve.current_lr)
        optimizer.step()
        curve.after_batch()
    assert column(trial, "lr") == pytest.approx([sum(rates[i : i + 3]) / 3 for i in range(0, 15, 3)], rel=1e-12)


def test_one_curve_keeps_the_momentum_of_what_is_kept(
    data: Data, dense: DenseNetwork, small: Callable[..., TrialConfig]
) -> None:
    """Straight after the cut, each kept weight has the momentum that it had in the gated network."""
    trial = Trial(small(lr_span="trial"), data, dense)
    trial.run_epoch()
    trial.run_epoch()
    before = [trial._optimizer.state[each]["momentum_buffer"] for each in trial.network.parameters()]
    trial._make_cut()
    after = [trial._optimizer.state[each]["momentum_buffer"] for each in trial.network.parameters()]
    assert [each.shape for each in after] == [each.shape for each in trial.network.parameters()]
    inputs = torch.ones(3, dtype=torch.bool)
    for layer, mask in enumerate(trial.masks):
        weight, bias = before[4 * layer], before[4 * layer + 1]
        assert torch.equal(after[4 * layer], weight[mask][:, inputs])
        assert torch.equal(after[4 * layer + 1], bias[mask])
        inputs = mask
    assert torch.equal(after[-2], before[-2][:, inputs])
    assert torch.equal(after[-1], before[-1])
    assert len(trial._optimizer.state) == len(after)


def test_without_an_alpha_phase_there_is_one_curve_anyway(run: Callable[..., Trial], timeless: Timeless) -> None:
    spans = [run(alpha=OneShot(), lr_span=span) for span in ("retrain", "trial")]
    assert timeless(spans[0].rows) == timeless(spans[1].rows)


def test_a_policy_that_reacts_starts_comparing_anew_at_the_cut(run: Callable[..., Trial]) -> None:
    """The pruned network's loss is higher than the gated one's was, which is no stagnation."""
    rates = column(run(lr_span="trial", lr=StagnationRestart((0.01, 0.02), patience=1)), "lr")
    accuracies = column(run(lr_span="trial", lr=StagnationRestart((0.01, 0.02), patience=1)), "val_accuracy")
    stagnated = [now <= max([0.0, *accuracies[start:epoch]]) for epoch, start, now in _since_cut(accuracies, cut=2)]
    assert rates == pytest.approx([0.02 if any(stagnated[:epoch]) else 0.01 for epoch in range(5)])


def _since_cut(values: list[float], *, cut: int) -> Iterator[tuple[int, int, float]]:
    for epoch, value in enumerate(values):
        yield epoch, 0 if epoch < cut else cut, value


@pytest.mark.parametrize("criterion", ["l1", "taylor", "random"])
@pytest.mark.parametrize("scope", ["uniform", "global"])
@pytest.mark.parametrize("longer", [False, True])
def test_a_twin_cuts_the_same_channels_and_sees_the_same_images(
    criterion: str, scope: str, longer: bool, data: Data, dense: DenseNetwork, small: Callable[..., TrialConfig]
) -> None:
    """The same trial without a fade, also with more epochs, as `alphaprune confirm` makes it."""
    pruning = PruningConfig(amount=0.5, round_to=1, criterion=criterion, scope=scope)  # type: ignore[arg-type]
    config = small(pruning=pruning, seed=3)
    twin = replace(config, alpha=OneShot(), epochs=config.epochs + 4 * longer)
    seen: dict[str, list[torch.Tensor]] = {"trial": [], "twin": []}
    masks = []
    forward = VGG.forward
    for name, each in (("trial", config), ("twin", twin)):
        trial = Trial(each, data, dense)

        def noting(network: VGG, images: torch.Tensor, name: str = name) -> torch.Tensor:
            if torch.is_grad_enabled() and network.training:
                seen[name].append(images)
            return forward(network, images)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(VGG, "forward", noting)
            for _ in range(config.epochs):
                trial.run_epoch()
        masks.append(trial.masks)
    assert all(torch.equal(*pair) for pair in zip(*masks, strict=True))
    assert len(seen["trial"]) == len(seen["twin"]) == 3 * config.epochs
    assert all(torch.equal(*pair) for pair in zip(seen["trial"], seen["twin"], strict=True))

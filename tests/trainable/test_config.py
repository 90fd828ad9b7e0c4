"""The configuration tree: what it refuses, what it computes, and that a record restores it."""

import dataclasses
import datetime
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from trainable.config import (
    DataConfig,
    DenseConfig,
    NetworkConfig,
    OptimizerConfig,
    PruningConfig,
    TrialConfig,
    as_json,
    trial_config,
)
from trainable.schedules.alpha import (
    AlphaSchedule,
    Cosine,
    Exponential,
    Multiplicative,
    OneShot,
    Piecewise,
    Polynomial,
    Segment,
    TimeBased,
)
from trainable.schedules.lr_policies import CosineAnnealing, CosineRestarts, OneCycle, Plateau, StagnationRestart

LR = st.floats(1e-6, 1)
FRACTION = st.floats(0.01, 0.99)
EPOCHS = st.integers(1, 400)
SEGMENTS = st.lists(st.floats(0.01, 0.99), min_size=1, max_size=3, unique=True).flatmap(
    lambda ends: st.tuples(
        *(
            st.builds(
                Segment,
                st.sampled_from(["exponential", "multiplicative", "time_based"]),
                st.floats(0.01, 0.99),
                st.just(end),
            )
            for end in sorted(ends, reverse=True)
        )
    )
)
ALPHA = st.one_of(
    st.builds(Exponential, st.floats(1, 8)),
    st.builds(Multiplicative, st.floats(0.5, 0.95), st.floats(1e-3, 5e-2)),
    st.builds(TimeBased, st.floats(1, 50)),
    st.builds(Polynomial, st.floats(1, 4)),
    st.just(Cosine()),
    st.just(OneShot()),
    st.builds(Piecewise, SEGMENTS),
)
POLICY = st.one_of(
    st.builds(Plateau, LR, FRACTION, st.integers(0, 20), st.integers(0, 20)),
    st.builds(CosineAnnealing, LR, st.integers(0, 20)),
    st.builds(CosineRestarts, LR, EPOCHS, st.integers(1, 5), st.integers(0, 20), st.none() | st.integers(1, 5)),
    st.builds(OneCycle, LR, FRACTION),
    st.builds(StagnationRestart, st.lists(LR, min_size=1, max_size=4).map(tuple), EPOCHS),
)


def possible(**values: Any) -> TrialConfig:
    try:
        return TrialConfig(**values)
    except ValueError as error:
        if "alpha has no stage" not in str(error):
            raise
        reject()


CONFIG = st.builds(
    possible,
    seed=st.integers(0, 2**63 - 1),
    epochs=EPOCHS,
    alpha_fraction=st.floats(0, 1, exclude_max=True),
    epochs_per_alpha=st.integers(1, 100),
    alpha_lr=LR,
    alpha=ALPHA,
    lr=POLICY,
    pruning=st.builds(
        PruningConfig,
        FRACTION,
        st.sampled_from(["macs", "parameters", "channels"]),
        st.sampled_from(["l1", "l2", "bn_scale", "taylor", "random"]),
        st.sampled_from(["uniform", "global"]),
        st.integers(1, 64),
        st.sampled_from(["bn_output", "conv_weight"]),
    ),
    optimizer=st.builds(OptimizerConfig, st.floats(0, 0.1), FRACTION, FRACTION, st.integers(2, 4096)),
)


@given(CONFIG)
def test_a_record_gives_the_config_back(config: TrialConfig) -> None:
    again = trial_config(json.loads(json.dumps(as_json(config), allow_nan=False)))
    assert again == config
    assert hash(again) == hash(config)
    assert type(again.alpha) is type(config.alpha)
    assert type(again.lr) is type(config.lr)


@given(CONFIG)
def test_the_phases_share_the_epochs(config: TrialConfig) -> None:
    alphas, every = config.list_alphas(1), int(config.epochs_per_alpha)
    assert len(alphas) + config.retrain_epochs == config.epochs
    assert config.retrain_epochs >= 1
    assert len(alphas) <= config.alpha_fraction * config.epochs + 0.5
    assert all(0 < alpha <= 1 for alpha in alphas)
    # Each stage's alpha is constant for all of its epochs, and for no more.
    assert len(alphas) % every == 0
    stages = alphas[::every]
    assert alphas == tuple(alpha for alpha in stages for _ in range(every))
    assert list(stages) == sorted(set(stages), reverse=True)


@pytest.mark.parametrize(
    ("values", "alphas", "retrain_epochs"),
    [
        ({"epochs": 12, "alpha_fraction": 0.25}, (0.75, 0.5, 0.25), 9),
        ({"epochs": 12, "alpha_fraction": 0.0}, (), 12),
        ({"epochs": 4, "alpha_fraction": 0.99}, (0.75, 0.5, 0.25), 1),
        ({"epochs": 1, "alpha_fraction": 0}, (), 1),
        # 9 epochs are two stages of 4; the one left over goes to the retrain phase.
        ({"epochs": 10, "alpha_fraction": 0.9, "epochs_per_alpha": 4}, (2 / 3,) * 4 + (1 / 3,) * 4, 2),
        ({"epochs": 12, "alpha_fraction": 0.25, "alpha": OneShot()}, (), 12),
        # Of the ten epochs, or five stages, that it may take, it needs four.
        ({"epochs": 20, "alpha_fraction": 0.5, "alpha": Multiplicative(0.5, 0.05)}, (0.5, 0.25, 0.125, 0.0625), 16),
        (
            {"epochs": 20, "alpha_fraction": 0.5, "epochs_per_alpha": 2, "alpha": Multiplicative(0.5, 0.05)},
            (0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.0625, 0.0625),
            12,
        ),
        (
            {"epochs": 4, "alpha_fraction": 0.5, "alpha": Multiplicative(0.5, 0.05)},
            (0.5, 0.25),
            2,
        ),
    ],
)
def test_the_alphas_of_these_values(values: dict[str, Any], alphas: tuple[float, ...], retrain_epochs: int) -> None:
    config = TrialConfig(**{"alpha": Polynomial(1), **values})
    assert config.list_alphas(1) == pytest.approx(alphas)
    assert config.retrain_epochs == retrain_epochs


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"epochs": 0}, "epochs"),
        ({"epochs": 1.5}, "epochs"),
        ({"epochs": None}, "epochs"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"alpha_fraction": 1.0}, "alpha_fraction"),
        ({"alpha_fraction": -0.1}, "alpha_fraction"),
        ({"alpha_fraction": math.nan}, "alpha_fraction"),
        ({"epochs_per_alpha": -1}, "epochs_per_alpha"),
        ({"alpha_lr": 0.0}, "alpha_lr"),
        ({"alpha_lr": math.inf}, "alpha_lr"),
        ({"alhpa_lr": 0.1}, "alhpa_lr"),
        ({"initial": "zeros"}, "initial"),
        ({"alpha": {"family": "exponentail"}}, "alpha"),
        ({"alpha": {"rate": 3.0}}, "alpha"),
        ({"alpha": {"family": "cosine", "rate": 3.0}}, "alpha.cosine.rate"),
        ({"alpha": {"family": "exponential", "rate": 9.0}}, "alpha.exponential.rate"),
        ({"alpha": {"family": "piecewise", "segments": []}}, "alpha.piecewise.segments"),
        ({"lr": {"policy": "step"}}, "lr"),
        ({"lr": {"policy": "one_cycle", "warmup_epochs": 3}}, "lr.one_cycle.warmup_epochs"),
        ({"lr": {"policy": "plateau", "factor": 1.0}}, "lr.plateau.factor"),
        ({"lr": {"policy": "cosine", "peak": 0.0}}, "lr.cosine.peak"),
        ({"lr": {"policy": "cosine_restarts", "period_epochs": 0}}, "lr.cosine_restarts.period_epochs"),
        ({"lr": {"policy": "stagnation_restart", "rates": []}}, "lr.stagnation_restart.rates"),
        ({"pruning": {"amount": 0.0}}, "pruning.amount"),
        ({"pruning": {"amount": 1.0}}, "pruning.amount"),
        ({"pruning": {"of": "flops"}}, "pruning.of"),
        ({"pruning": {"criterion": "l3"}}, "pruning.criterion"),
        ({"pruning": {"round_to": 0}}, "pruning.round_to"),
        ({"optimizer": {"weight_decay": -1e-4}}, "optimizer.weight_decay"),
        ({"optimizer": {"momentum": 1.0}}, "optimizer.momentum"),
        ({"optimizer": {"batch_size": 1}}, "optimizer.batch_size"),
        ({"optimizer": {"lr": 0.1}}, "optimizer.lr"),
    ],
)
def test_wrong_values_and_keys_are_refused_by_name(values: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=rf"(?m)^{field}$"):
        trial_config(values)


def test_every_wrong_field_is_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"(?s)3 validation errors.*epochs.*pruning.amount.*speed"):
        trial_config({"epochs": 0, "pruning": {"amount": 2.0}, "speed": 1})


def test_an_untrained_network_has_nothing_to_fade_out() -> None:
    with pytest.raises(ValueError, match=r"`alpha.family == 'one_shot'` must hold .* got alpha.family='cosine'"):
        TrialConfig(initial="random", alpha=Cosine())
    assert TrialConfig(initial="random", alpha=OneShot()).list_alphas(1) == ()


@pytest.mark.parametrize("config", [TrialConfig(), DenseConfig(), DataConfig()])
def test_configs_are_frozen_and_hashable(config: Any) -> None:
    first = dataclasses.fields(config)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, first, getattr(config, first))
    assert len({config, dataclasses.replace(config)}) == 1
    assert type(config)(**as_json(config)) == config


def test_replace_validates() -> None:
    with pytest.raises(ValueError, match="epochs"):
        dataclasses.replace(TrialConfig(), epochs=0)


@pytest.mark.parametrize("value", [math.nan, math.inf, datetime.date(1979, 5, 27), {1, 2}, [math.nan]])
def test_arguments_of_a_network_that_no_record_can_hold_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="`arguments` must be text, finite numbers, booleans and lists or tables"):
        NetworkConfig("networks:build", {"value": value})


def test_importing_it_imports_nothing_heavy() -> None:
    code = "import sys, trainable.config; print({'torch', 'ray', 'optuna', 'pandas', 'numpy'} & set(sys.modules))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("values", [{"epochs_per_alpha": 100}, {"epochs": 1, "alpha_fraction": 0.99}])
def test_an_alpha_phase_without_a_stage_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"`epochs_per_alpha <= alpha_fraction \* epochs < epochs` must hold"):
        TrialConfig(**values)
    assert TrialConfig(**values, alpha=OneShot()).list_alphas(1) == ()


@settings(max_examples=300)
@given(data=st.data())
def test_a_branch_ends_the_stage_it_begins_in_and_leaves_an_epoch_to_retrain(data: st.DataObject) -> None:
    epochs, each = data.draw(st.integers(2, 60)), data.draw(st.integers(1, 8))
    try:
        parent = TrialConfig(
            epochs=epochs, epochs_per_alpha=each, alpha_fraction=data.draw(FRACTION), alpha=data.draw(ALPHA)
        )
    except ValueError:
        reject()
    fades = parent.list_alphas(1)
    if not fades:
        reject()
    begun = fades[: data.draw(st.integers(1, len(fades)))]
    branch = dataclasses.replace(parent, begun=begun, epochs_per_alpha=data.draw(st.sampled_from([each, 1, 5])))
    alphas = branch.list_alphas(1)
    assert alphas[: len(begun)] == begun
    assert len(alphas) < epochs
    assert branch.retrain_epochs == epochs - len(alphas) >= 1
    assert list(alphas) == sorted(alphas, reverse=True)
    if branch.epochs_per_alpha == each and isinstance(parent.alpha, Multiplicative):
        assert alphas == pytest.approx(fades)  # it has no end to aim for, so it continues the parent's own curve
    if branch.epochs_per_alpha == each and len(set(fades)) == len(fades) // each:
        assert len(alphas) % each == 0


def test_a_branch_from_the_middle_of_a_stage() -> None:
    """Alpha is constant for two epochs; the checkpoint is from the first of them."""
    parent = TrialConfig(epochs=9, epochs_per_alpha=2, alpha_fraction=0.67, alpha=Polynomial(1))
    assert parent.list_alphas(1) == (0.75, 0.75, 0.5, 0.5, 0.25, 0.25)
    branch = dataclasses.replace(parent, begun=(0.75, 0.75, 0.5))
    assert branch.list_alphas(1) == (0.75, 0.75, 0.5, 0.5, 0.25, 0.25)
    assert dataclasses.replace(branch, epochs_per_alpha=5).list_alphas(1) == (0.75, 0.75, 0.5, 0.5, 0.5)


@settings(max_examples=300)
@given(
    epochs=st.integers(2, 60),
    steps=st.integers(1, 70),
    fraction=FRACTION,
    each=st.floats(0, 1, exclude_max=True),
    alpha=ALPHA,
)
def test_stages_shorter_than_an_epoch_are_whole_batches(
    epochs: int, steps: int, fraction: float, each: float, alpha: AlphaSchedule
) -> None:
    config = possible(epochs=epochs, alpha_fraction=fraction, epochs_per_alpha=each, alpha=alpha)
    alphas = config.list_alphas(steps)
    stage = max(1, round(each * steps))
    assert len(alphas) % stage == 0
    room = min(fraction * epochs, epochs - 1) * steps + 1e-6
    assert len(alphas) <= min(max(stage, room), (epochs - 1) * steps)
    assert list(alphas) == sorted(alphas, reverse=True)
    assert all(len(set(alphas[start : start + stage])) == 1 for start in range(0, len(alphas), stage))
    # A family that is stretched uses the whole phase, except for what rounds to 0 at its end.
    if alpha.family in ("polynomial", "cosine", "time_based"):
        assert len(alphas) == stage * len(alpha.stage_alphas(max(1, int(room // stage))))

"""The shipped space: whatever it draws is a sensible trial, and it suggests nothing that the trial does not use."""

import json
import math
from functools import reduce

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FixedTrial, create_trial

from spaces.alpha_pruning import CRITERIA, FAMILIES, LR_SPANS, POLICIES, SCOPES, alpha_pruning
from trainable.config import OptimizerConfig, PruningConfig, TrialConfig, as_json, trial_config
from trainable.schedules.lr_policies import CosineAnnealing, OneCycle, StagnationRestart

optuna.logging.set_verbosity(optuna.logging.WARNING)

ALWAYS = {
    *("alpha.family", "lr.policy", "lr.peak"),
    *("pruning.amount", "pruning.criterion", "pruning.scope"),
    *("optimizer.weight_decay", "optimizer.label_smoothing"),
}
OF_FAMILY = {
    "exponential": {"alpha.exponential.rate"},
    "multiplicative": {"alpha.multiplicative.rate", "alpha.multiplicative.alpha_min"},
    "time_based": {"alpha.time_based.rate"},
    "polynomial": {"alpha.polynomial.rate"},
    "cosine": set(),
    "one_shot": set(),
}
OF_POLICY = {
    "plateau": {"lr.plateau.factor", "lr.plateau.patience"},
    "cosine": set(),
    "cosine_restarts": {"lr.cosine_restarts.cycles", "lr.cosine_restarts.period_factor"},
    "one_cycle": {"lr.one_cycle.rise"},
}


def study_of(sampler: BaseSampler) -> optuna.Study:
    return optuna.create_study(sampler=sampler, direction="maximize")


def check(trial: optuna.Trial, config: TrialConfig) -> None:
    """The trial was asked for exactly what its config uses, and its config says what the trial was given."""
    branches = (config.alpha.family, config.lr.policy)
    of_phase = set() if config.alpha.family == "one_shot" else {"alpha_fraction", "lr_span"}
    of_phase |= {"alpha_lr"} if of_phase and config.lr_span == "retrain" else set()
    assert set(trial.params) == ALWAYS | of_phase | OF_FAMILY[branches[0]] | OF_POLICY[branches[1]]
    for name, value in trial.params.items():
        path = [part for part in name.split(".") if part not in branches]
        assert reduce(getattr, path, config) == value, name
    assert trial_config(as_json(config)) == config


@given(
    seed=st.integers(0, 2**32 - 1),
    epochs=st.integers(2, 300),
    epochs_per_alpha=st.one_of(st.integers(1, 20), st.sampled_from([0, 0.1, 0.5])),
)
@settings(max_examples=300)
def test_every_sample_is_a_sensible_trial(seed: int, epochs: int, epochs_per_alpha: float) -> None:
    length = max(epochs, math.ceil(2 * epochs_per_alpha))
    base = TrialConfig(epochs=length, alpha_fraction=0.6, epochs_per_alpha=epochs_per_alpha)
    trial = study_of(RandomSampler(seed=seed)).ask()
    config = alpha_pruning(trial, base)

    check(trial, config)
    if config.alpha.family == "one_shot":
        assert config.alpha_epochs == 0
    else:
        assert config.alpha_epochs >= max(epochs_per_alpha, 0.01)  # a fast fade may be over within a few batches
    warmup = getattr(config.lr, "warmup_epochs", 0)
    assert 3 * warmup <= (config.epochs if config.lr_span == "trial" else config.retrain_epochs)
    if config.lr.policy == "cosine_restarts":
        assert config.lr.cycles >= 2


def test_every_branch_and_choice_is_drawn_and_no_name_has_two_distributions() -> None:
    study = study_of(RandomSampler(seed=1))
    drawn, distributions = set(), set()
    for _ in range(200):
        trial = study.ask()
        config = alpha_pruning(trial)
        pruning = config.pruning
        drawn |= {("family", config.alpha.family), ("policy", config.lr.policy), ("amount", pruning.amount)}
        drawn |= {("criterion", pruning.criterion), ("scope", pruning.scope), ("lr_span", config.lr_span)}
        distributions |= {(name, distribution_to_json(one)) for name, one in trial.distributions.items()}
    assert drawn == {
        *(("family", family) for family in FAMILIES),
        *(("policy", policy) for policy in POLICIES),
        *(("amount", amount) for amount in (0.5, 0.75)),
        *(("criterion", criterion) for criterion in CRITERIA),
        *(("scope", scope) for scope in SCOPES),
        *(("lr_span", span) for span in LR_SPANS),
    }
    assert len(distributions) == len({name for name, _ in distributions})


def test_tpe_learns_from_it() -> None:
    study = study_of(TPESampler(seed=2, n_startup_trials=10))
    for _ in range(40):
        trial = study.ask()
        config = alpha_pruning(trial)
        check(trial, config)
        study.tell(trial, config.alpha_fraction + (config.alpha.family == "polynomial"))
    late = [trial.params["alpha.family"] for trial in study.trials[20:]]
    assert late.count("polynomial") > len(late) / 2


@pytest.mark.parametrize("sampler", [RandomSampler, TPESampler])
def test_a_seed_gives_the_same_trials(sampler: type[BaseSampler]) -> None:
    def configs(seed: int) -> list[TrialConfig]:
        study = study_of(sampler(seed=seed))
        return [alpha_pruning(study.ask()) for _ in range(8)]

    assert configs(3) == configs(3)
    assert configs(3) != configs(4)


def test_what_a_record_keeps_of_a_trial_gives_the_same_config() -> None:
    study = study_of(RandomSampler(seed=5))
    for number in range(30):
        trial = study.ask()
        config = alpha_pruning(trial)
        assert alpha_pruning(FixedTrial(trial.params)) == config
        params = json.loads(json.dumps(trial.params))
        distributions = {name: distribution_to_json(one) for name, one in trial.distributions.items()}
        frozen = create_trial(
            value=number,
            params=params,
            distributions={name: json_to_distribution(text) for name, text in distributions.items()},
        )
        assert alpha_pruning(frozen) == config


def test_what_is_not_searched_stays_as_in_base() -> None:
    base = TrialConfig(
        seed=7,
        epochs=40,
        epochs_per_alpha=2,
        pruning=PruningConfig(of="parameters", round_to=16, gate="conv_weight"),
        optimizer=OptimizerConfig(momentum=0.8, batch_size=64),
    )
    config = alpha_pruning(study_of(RandomSampler(seed=0)).ask(), base)
    assert (config.seed, config.epochs, config.epochs_per_alpha, config.initial) == (7, 40, 2, "dense")
    assert (config.pruning.of, config.pruning.round_to, config.pruning.gate) == ("parameters", 16, "conv_weight")
    assert (config.optimizer.momentum, config.optimizer.batch_size) == (0.8, 64)


@pytest.mark.parametrize(
    ("lr", "warmup"), [(CosineAnnealing(warmup_epochs=5), 5), (OneCycle(), 3), (StagnationRestart(), 3)]
)
def test_the_warmup_is_that_of_base_or_the_default(lr: object, warmup: int) -> None:
    trial = study_of(RandomSampler(seed=0)).ask()
    config = alpha_pruning(trial, TrialConfig(epochs=100, lr=lr), policies=["plateau"])
    assert config.lr.warmup_epochs == warmup


def test_a_single_choice_is_not_suggested() -> None:
    trial = study_of(RandomSampler(seed=0)).ask()
    config = alpha_pruning(
        trial,
        families=["cosine"],
        policies=["cosine"],
        amounts=[0.6],
        criteria=["l2"],
        scopes=["uniform"],
        lr_spans=["trial"],
    )
    assert set(trial.params) == {*("alpha_fraction", "lr.peak", "optimizer.weight_decay", "optimizer.label_smoothing")}
    assert (config.alpha.family, config.lr.policy, config.lr_span) == ("cosine", "cosine", "trial")
    assert config.pruning == PruningConfig(amount=0.6, criterion="l2", scope="uniform")


def test_only_what_the_options_list_is_drawn() -> None:
    study = study_of(RandomSampler(seed=0))
    configs = [
        alpha_pruning(study.ask(), families=["cosine", "exponential"], amounts=[0.5, 0.6, 0.9]) for _ in range(30)
    ]
    assert {config.alpha.family for config in configs} == {"cosine", "exponential"}
    assert {config.pruning.amount for config in configs} == {0.5, 0.6, 0.9}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"families": ["cosine", "exponentail"]},
            "`families` must be among .*, but got 'exponentail'; .* 'exponential'",
        ),
        ({"families": ["piecewise"]}, "`families` must be among exponential, multiplicative, .*, but got 'piecewise'"),
        ({"policies": ["cosine_restart"]}, "`policies` .* got 'cosine_restart'; the nearest is 'cosine_restarts'"),
        ({"criteria": ["bnscale"]}, "`criteria` .* got 'bnscale'; the nearest is 'bn_scale'"),
        ({"scopes": ["local"]}, "`scopes` must be among uniform, global, but got 'local'"),
        ({"scopes": "global"}, r"`scopes` must be a list, but got 'global'; write \['global'\]"),
        ({"amounts": 0.5}, r"`amounts` must be a list, but got 0.5; write \[0.5\]"),
        ({"amounts": [0.5, 1.0]}, r"`amounts` must be fractions in \(0, 1\), but got 1.0"),
        ({"amounts": ["half"]}, r"`amounts` must be fractions in \(0, 1\), but got 'half'"),
        ({"amounts": []}, r"`amounts` must have at least one entry and no duplicates, but got \[\]"),
        (
            {"criteria": ["l1", "l1"]},
            r"`criteria` must have at least one entry and no duplicates, but got \['l1', 'l1'\]",
        ),
    ],
)
def test_unknown_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        alpha_pruning(study_of(RandomSampler(seed=0)).ask(), **options)


@pytest.mark.parametrize(("epochs", "epochs_per_alpha"), [(1, 1), (18, 100)])
def test_a_base_without_room_for_an_alpha_phase_is_refused(epochs: int, epochs_per_alpha: int) -> None:
    base = TrialConfig(epochs=epochs, alpha_fraction=0, epochs_per_alpha=epochs_per_alpha)
    with pytest.raises(ValueError, match=r"`epochs_per_alpha <= 0.6 \* epochs` must hold.*epochs=\d+; raise epochs"):
        alpha_pruning(study_of(RandomSampler(seed=0)).ask(), base)

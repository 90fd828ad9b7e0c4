"""The shipped space: which alpha schedule, which learning-rate policy, which channels, and the rates of all three.

It is conditional: only the parameters of the family and the policy that a trial has drawn are suggested. A parameter
is named after the field that it sets; those of a family or policy also contain its name
(`alpha.exponential.rate`, `lr.plateau.patience`), so that no name ever has two distributions.
"""

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

import optuna

from trainable.config import TrialConfig
from trainable.schedules.alpha import AlphaSchedule, Cosine, Exponential, Multiplicative, OneShot, Polynomial, TimeBased
from trainable.schedules.lr_policies import CosineAnnealing, CosineRestarts, LRPolicy, OneCycle, Plateau

FAMILIES = ("exponential", "multiplicative", "time_based", "polynomial", "cosine", "one_shot")
LR_SPANS = ("retrain", "trial")
POLICIES = ("plateau", "cosine", "cosine_restarts", "one_cycle")
CRITERIA = ("l1", "l2", "bn_scale", "taylor")
SCOPES = ("uniform", "global")

ALPHA_FRACTION = (0.1, 0.6)
# Where alpha may fall within an epoch; longer fades leave less of an equal compute to retrain.
SHORTEST_FADE_EPOCHS = 0.25
BASE = TrialConfig()


def alpha_pruning(
    trial: optuna.Trial,
    base: TrialConfig = BASE,
    *,
    families: Sequence[str] = FAMILIES,
    policies: Sequence[str] = POLICIES,
    amounts: Sequence[float] = (0.5, 0.75),
    criteria: Sequence[str] = CRITERIA,
    scopes: Sequence[str] = SCOPES,
    lr_spans: Sequence[str] = LR_SPANS,
) -> TrialConfig:
    """`base` with another alpha schedule, learning-rate policy and choice of channels.

    Seed, epochs, epochs_per_alpha, batch size, momentum, round_to, least_kept, `of` and gate are those of `base`. Each
    option lists what may be drawn; the only entry of a list is used without being suggested. Amounts (fractions in
    (0, 1)) are a list, too, rather than a range, so that each has its control.

    The alpha phase takes 0.1 to 0.6 of the epochs; where base's epochs_per_alpha is below 1, a quarter of an epoch to
    0.6 of them, on a logarithmic scale. Every family but `one_shot`, the cut without an alpha phase, has at least one
    stage.

    The warm-up is not searched: it is that of `base` (the policy's default if base's policy has none), but at most a
    third of what the policy spans.

    Raises ValueError if an option is empty, has duplicates or an unknown entry, or `base` is too short for an alpha
    phase.
    """
    _check_names("families", families, FAMILIES)
    _check_names("policies", policies, POLICIES)
    _check_names("criteria", criteria, CRITERIA)
    _check_names("scopes", scopes, SCOPES)
    _check_names("lr_spans", lr_spans, LR_SPANS)
    if any(family != "one_shot" for family in families):
        _alpha_fractions(base)  # raises before anything is suggested
    _check_list("amounts", amounts)
    for amount in amounts:
        if not (isinstance(amount, int | float) and 0 < amount < 1):
            raise ValueError(
                f"`amounts` must be fractions in (0, 1), but got {amount!r}; "
                f"0.75 cuts three quarters of the {base.pruning.of}"
            )
    family = _suggest_choice(trial, "alpha.family", families)
    config = replace(
        base,
        alpha=_suggest_schedule(trial, family),
        **({} if family == "one_shot" else _suggest_alpha_phase(trial, base, lr_spans)),
        pruning=replace(
            base.pruning,
            amount=_suggest_choice(trial, "pruning.amount", amounts),
            criterion=_suggest_choice(trial, "pruning.criterion", criteria),
            scope=_suggest_choice(trial, "pruning.scope", scopes),
        ),
        optimizer=replace(
            base.optimizer,
            weight_decay=trial.suggest_float("optimizer.weight_decay", 1e-4, 5e-3, log=True),
            label_smoothing=trial.suggest_float("optimizer.label_smoothing", 0, 0.1),
        ),
    )
    # Last, because the warm-up depends on what the alpha phase leaves to retrain.
    return replace(config, lr=_suggest_lr_policy(trial, _suggest_choice(trial, "lr.policy", policies), config))


def _alpha_fractions(base: TrialConfig) -> tuple[float, float]:
    """The shortest and the longest alpha phase, as fractions of the epochs.

    Raises:
        ValueError: if not even the longest has a stage.
    """
    shortest, longest = ALPHA_FRACTION
    if base.epochs_per_alpha < 1:
        shortest = SHORTEST_FADE_EPOCHS / base.epochs
    shortest = max(shortest, base.epochs_per_alpha / base.epochs)
    if shortest > longest or base.epochs < 2:
        raise ValueError(
            f"`epochs_per_alpha <= {longest} * epochs` must hold, or no trial has an alpha phase, but got "
            f"epochs_per_alpha={base.epochs_per_alpha:g} and epochs={base.epochs}; raise epochs"
        )
    return shortest, longest


def _suggest_alpha_phase(trial: optuna.Trial, base: TrialConfig, lr_spans: Sequence[str]) -> dict[str, Any]:
    """The length of the alpha phase, and its learning rate."""
    fraction = trial.suggest_float("alpha_fraction", *_alpha_fractions(base), log=base.epochs_per_alpha < 1)
    span = _suggest_choice(trial, "lr_span", lr_spans)
    rate = {"alpha_lr": trial.suggest_float("alpha_lr", 1e-3, 5e-2, log=True)} if span == "retrain" else {}
    return {"alpha_fraction": fraction, "lr_span": span, **rate}


def _suggest_schedule(trial: optuna.Trial, family: str) -> AlphaSchedule:
    match family:
        case "exponential":
            return Exponential(rate=trial.suggest_float("alpha.exponential.rate", 1, 8, log=True))
        case "multiplicative":
            return Multiplicative(
                rate=trial.suggest_float("alpha.multiplicative.rate", 0.5, 0.95),
                alpha_min=trial.suggest_float("alpha.multiplicative.alpha_min", 1e-3, 5e-2, log=True),
            )
        case "time_based":
            return TimeBased(rate=trial.suggest_float("alpha.time_based.rate", 1, 50, log=True))
        case "polynomial":
            return Polynomial(rate=trial.suggest_float("alpha.polynomial.rate", 1, 4))
        case "cosine":
            return Cosine()
        case "one_shot":
            return OneShot()
    raise AssertionError(family)


def _suggest_lr_policy(trial: optuna.Trial, policy: str, config: TrialConfig) -> LRPolicy:
    """The policy, with a warm-up and periods that fit the epochs of `config`, whose own lr is still that of base."""
    peak = trial.suggest_float("lr.peak", 3e-3, 0.2, log=True)
    spanned = config.epochs if config.lr_span == "trial" else int(config.retrain_epochs)
    warmup = min(getattr(config.lr, "warmup_epochs", Plateau.warmup_epochs), spanned // 3)
    match policy:
        case "plateau":
            return Plateau(
                peak=peak,
                factor=trial.suggest_float("lr.plateau.factor", 0.1, 0.5),
                patience=trial.suggest_int("lr.plateau.patience", 1, min(10, max(1, config.epochs // 6))),
                warmup_epochs=warmup,
            )
        case "cosine":
            return CosineAnnealing(peak=peak, warmup_epochs=warmup)
        case "cosine_restarts":
            # By cycles, not by periods: the last fall must end with the trial, or its result is that of a high rate.
            return CosineRestarts(
                peak=peak,
                cycles=trial.suggest_int("lr.cosine_restarts.cycles", 2, 4),
                period_factor=trial.suggest_int("lr.cosine_restarts.period_factor", 1, 2),
                warmup_epochs=warmup,
            )
        case "one_cycle":
            return OneCycle(peak=peak, rise=trial.suggest_float("lr.one_cycle.rise", 0.1, 0.5))
    raise AssertionError(policy)


def _suggest_choice(trial: optuna.Trial, name: str, choices: Sequence[Any]) -> Any:
    """What the trial draws from `choices`; a single one is used without being suggested."""
    return choices[0] if len(choices) == 1 else trial.suggest_categorical(name, choices)


def _check_names(option: str, names: Sequence[str], known: Sequence[str]) -> None:
    _check_list(option, names)
    for name in names:
        if name not in known:
            near = get_close_matches(str(name), known, n=1, cutoff=0)[0]
            raise ValueError(f"`{option}` must be among {', '.join(known)}, but got {name!r}; the nearest is {near!r}")


def _check_list(option: str, values: Sequence[object]) -> None:
    # Options come from a settings file, where it is easy to write a single value instead of a list of one.
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise ValueError(f"`{option}` must be a list, but got {values!r}; write [{values!r}]")
    if not values or any(values.count(value) > 1 for value in values):
        raise ValueError(f"`{option}` must have at least one entry and no duplicates, but got {list(values)}")

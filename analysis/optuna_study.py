"""The records as an Optuna study, for Optuna's own figures, importances and dashboard.

optuna is imported inside the functions: reading an experiment does not need it.
"""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.columns import TRIAL_COLUMNS, column, iterate_rows
from analysis.labels import select_kinds
from analysis.objectives import DEFAULT_OBJECTIVES
from analysis.rank.ranking import split_direction
from analysis.text import printable
from records.trial import TrialRecord

if TYPE_CHECKING:
    import optuna

    from analysis.experiment import Experiment

# What stands beside each trial in the study, where it is known: how it ended, and all that has a better and a worse.
_ATTRIBUTES = [
    name
    for name, column in TRIAL_COLUMNS.items()
    if column.better or name in ("state", "epochs_done", "measured_on", "host", "device", "error")
]

_TIMES = ("created", "started", "finished")


def study_of(experiment: "Experiment") -> "optuna.Study":
    """What the search asked for and what came of it, as an optuna.Study in memory, in the order of the trials' numbers.

    Controls, branches and repeats are left out, as no sampler asked for them. A trial's number in the experiment is
    its user attribute `number`, beside others such as `seconds` and `mac_sparsity`. Times are local, as Optuna's are.
    Complete trials are COMPLETE, stopped ones PRUNED, running ones RUNNING, and those that failed, or whose outcome
    was lost, FAIL. With one objective, its value after each epoch is an intermediate value.

    With several objectives Optuna's figures and importances of one value take a `target`. PED-ANOVA, the default, asks
    what makes it low, so for the accuracy it is `target=lambda trial: -trial.values[0]`.

    A parameter whose choices or range changed between runs of the search has all of them, so that Optuna compares all
    trials.

    Warns of a trial whose parameters cannot be read, and leaves it out. Raises ValueError, in one line, where an
    objective in the settings is no column of the trials.
    """
    import optuna

    objectives = _read_objectives(experiment.settings)
    for name in objectives:
        column(experiment.trials, name)
    with quiet_optuna():
        study = optuna.create_study(
            study_name=experiment.name,
            directions=["minimize" if split_direction(name)[1] else "maximize" for name in objectives],
        )
        study.set_metric_names(list(objectives))
    reported = _reported_values(experiment.epochs, objectives)
    searched = select_kinds(experiment.trials, "searched")
    trials: list[optuna.trial.FrozenTrial] = []
    for number, row in iterate_rows(searched[list(dict.fromkeys([*objectives, *_ATTRIBUTES, *_TIMES]))]):
        try:
            record = experiment.trial_record(number)
            values = [float(row[name]) for name in objectives]
            known = not any(map(math.isnan, values))
            trial = trial_of(record, values if known else None, reported.get(number, {}))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            warnings.warn(f"trial {number} is not in the study: {printable(str(error))}", stacklevel=2)
            continue
        attributes = {name: row[name] for name in _ATTRIBUTES if not pd.isna(row[name])}
        trial.user_attrs = {"number": number, **attributes}
        _set_times(trial, row)
        trials.append(trial)
    _unite_distributions(trials)
    study.add_trials(trials)
    return study


def trial_of(
    record: TrialRecord, values: Sequence[float] | None, reported: Mapping[int, float]
) -> "optuna.trial.FrozenTrial":
    """A recorded trial as Optuna has it, with the parameters that were asked for, and its number as user attribute.

    Args:
        values: of the objectives; None where they are not known.
        reported: epoch -> the objective's value then, to be empty where there are several objectives: Optuna 5's TPE
            fails at the next ask when a PRUNED trial of such a study carries any.

    Raises:
        ValueError, KeyError, TypeError or AttributeError: where the record's parameters and distributions are not what
            Optuna wrote.
    """
    from optuna.trial import TrialState, create_trial

    told: list[float] | None = None
    if record.state == "complete" and values is not None:
        state, told = TrialState.COMPLETE, list(values)
    elif record.state == "stopped":
        state = TrialState.PRUNED
        told = [reported[max(reported)]] if reported else None  # as study.tell makes it of the last report
    else:
        state = TrialState.RUNNING if record.state == "running" else TrialState.FAIL
    return create_trial(
        state=state,
        values=told,
        params=record.params,
        distributions={name: _read_distribution(text) for name, text in record.distributions.items()},
        intermediate_values=dict(reported),
        user_attrs={"number": record.number},  # the study numbers its own trials, without the controls
    )


@lru_cache(maxsize=1024)
def _read_distribution(text: str) -> "optuna.distributions.BaseDistribution":
    """The distribution in a record; thousands of trials have the same few."""
    from optuna.distributions import json_to_distribution

    return json_to_distribution(text)


def _unite_distributions(trials: Sequence["optuna.trial.FrozenTrial"]) -> None:
    """Gives parameters that had different choices or ranges one that holds them all, where they are of one kind."""
    by_name: dict[str, list[Any]] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            there = by_name.setdefault(name, [])
            if distribution not in there:
                there.append(distribution)
    for name, different in by_name.items():
        united = _unite(different) if len(different) > 1 else None
        for trial in trials:
            if united is not None and name in trial.distributions:
                trial.distributions = {**trial.distributions, name: united}


def _unite(distributions: Sequence[Any]) -> Any:
    """A distribution that holds all of them; None if they are of different kinds or scales."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    kinds = {(type(each), getattr(each, "log", False)) for each in distributions}
    if len(kinds) > 1:
        return None
    if isinstance(distributions[0], CategoricalDistribution):
        return CategoricalDistribution(list(dict.fromkeys(choice for each in distributions for choice in each.choices)))
    low, high = min(each.low for each in distributions), max(each.high for each in distributions)
    step = None if isinstance(distributions[0], FloatDistribution) else 1
    return type(distributions[0])(low, high, log=distributions[0].log, step=step)


def _read_objectives(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """What the search optimised, as the settings say; DEFAULT_OBJECTIVES where they do not."""
    search = settings.get("search")
    found = search.get("objectives") if isinstance(search, dict) else None
    if isinstance(found, list) and found and all(isinstance(name, str) for name in found):
        return tuple(found)
    return DEFAULT_OBJECTIVES


def _reported_values(epochs: pd.DataFrame, objectives: Sequence[str]) -> dict[int, dict[int, float]]:
    """Trial -> epoch -> accuracy, if it is the only objective: the search reports nothing else."""
    if tuple(objectives) != ("pruned_val_accuracy",):
        return {}
    known = epochs[["epoch", "pruned_val_accuracy"]].dropna().groupby("number")
    return {int(rows.index[0]): dict(zip(rows["epoch"], rows["pruned_val_accuracy"], strict=True)) for _, rows in known}


def _set_times(trial: "optuna.trial.FrozenTrial", row: Mapping[str, Any]) -> None:
    """Sets when it ran, in local time without a zone, which is how Optuna keeps times."""
    created, started, finished = (
        None if pd.isna(row[name]) else row[name].to_pydatetime().astimezone().replace(tzinfo=None) for name in _TIMES
    )
    trial.datetime_start = started or created
    if trial.state.is_finished():
        trial.datetime_complete = finished or trial.datetime_start


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Without Optuna's lines about new studies and its warnings about experimental features."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)

"""The search itself: the controls, then what an Optuna study asks for, written to and rebuilt from the records.

Every trial's record is written before the trial starts, with what the study asked, and a study is made of nothing but
records. So a first start, an interrupted search and an extended one are the same thing here.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal

import optuna
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.trial import TrialState, create_trial

from search.settings import ControlKind, SearchSettings, Settings
from trainable.config import TrialConfig, as_json
from trainable.records import ExperimentFolder, TrialRecord
from trainable.schedules import OneShot

SpaceFunction = Callable[[optuna.Trial, TrialConfig], TrialConfig]
DIRECTIONS: dict[str, Literal["maximize", "minimize"]] = {
    "pruned_val_accuracy": "maximize",
    "macs": "minimize",
    "parameters": "minimize",
}


def control_configs(settings: Settings) -> Iterator[tuple[ControlKind, TrialConfig]]:
    """The controls: one-shot cuts of `settings.trial` with the same total of epochs, so that alpha can be compared."""
    for amount in settings.controls.amounts:
        for kind in settings.controls.kinds:
            pruning = replace(settings.trial.pruning, amount=amount)
            if kind == "random_channels":
                pruning = replace(pruning, criterion="random")
            control = replace(settings.trial, alpha=OneShot(), pruning=pruning)
            yield kind, replace(control, initial="random") if kind == "from_scratch" else control


class Search:
    """Hands out trials and learns how they ended."""

    def __init__(self, folder: ExperimentFolder, settings: Settings, space: SpaceFunction) -> None:
        """Takes up the search that `folder` records: what has ended is told to the study, what has not runs again.

        Args:
            folder: of an experiment whose experiment.json is written.
            settings: of the experiment.
            space: load_space's; it may use all that an optuna.Trial offers.
        """
        self._folder, self._settings, self._space = folder, settings, space
        self._controls = list(control_configs(settings))
        records = [trial.read() for trial in folder.trials()]
        self.study = new_study(settings.search, asked=len(records))
        self._studied: dict[int, int] = {}  # the study's trial of each trial's number
        for record in records:
            if record.control is None:
                self._remember(record)
        self._unfinished = [record.number for record in records if record.state == "running"]
        self._next = max((record.number for record in records), default=-1) + 1

    @property
    def planned(self) -> int:
        """Trials in all, controls included."""
        return len(self._controls) + self._settings.search.trials

    def next(self) -> int | None:
        """The number of a trial to run now, its record written; None when there are no more."""
        if self._unfinished:
            return self._unfinished.pop(0)
        number = self._next
        if number >= self.planned:
            return None
        self._next += 1
        if number < len(self._controls):
            kind, config = self._controls[number]
            record = TrialRecord(number, as_json(config), control=kind)
        else:
            trial = self.study.ask()
            self._studied[number] = trial.number
            config = self._space(trial, self._settings.trial)
            asked = {name: distribution_to_json(each) for name, each in trial.distributions.items()}
            record = TrialRecord(number, as_json(config), params=trial.params, distributions=asked)
        self._folder.trial(number).write(record)
        return number

    def tell(self, number: int) -> None:
        """Tells the study how trial `number` ended, as its records have it; nothing where it was a control."""
        if number not in self._studied:
            return
        state, values, intermediate = self._outcome(self._folder.trial(number).read())
        frozen = self.study.trials[self._studied[number]]
        live = optuna.Trial(self.study, frozen._trial_id)
        for epoch, value in intermediate.items():
            live.report(value, epoch)
        self.study.tell(frozen.number, values, state=state)

    def _remember(self, record: TrialRecord) -> None:
        """Puts a recorded trial into the study: ended ones as they ended, the others as running."""
        self._studied[record.number] = len(self.study.trials)
        if record.state == "running":
            state, values, intermediate = TrialState.RUNNING, None, dict[int, float]()
        else:
            state, values, intermediate = self._outcome(record)
            if state is TrialState.PRUNED and intermediate:
                values = [intermediate[max(intermediate)]]  # as study.tell makes it of the last report
        self.study.add_trial(
            create_trial(
                state=state,
                values=values,
                params=record.params,
                distributions={name: json_to_distribution(text) for name, text in record.distributions.items()},
                intermediate_values=intermediate,
            )
        )

    def _outcome(self, record: TrialRecord) -> tuple[TrialState, list[float] | None, dict[int, float]]:
        """State, values and intermediate values as the study is to have them.

        A stopped trial is PRUNED. With several objectives no intermediate values are told: Optuna 5's TPE fails at the
        next ask when a PRUNED trial of such a study carries any.
        """
        objectives = self._settings.search.objectives
        rows = self._folder.trial(record.number).rows()
        intermediate: dict[int, float] = {}
        if objectives == ("pruned_val_accuracy",):
            intermediate |= {row["epoch"]: row["pruned_val_accuracy"] for row in rows}
        if record.state != "complete" or not rows or record.cut is None:
            state = TrialState.PRUNED if record.state == "stopped" else TrialState.FAIL
            return state, None, intermediate
        reached: dict[str, Any] = {**record.cut, **rows[-1]}
        return TrialState.COMPLETE, [float(reached[name]) for name in objectives], intermediate


def new_study(settings: SearchSettings, *, asked: int) -> optuna.Study:
    """An empty study in memory.

    Args:
        settings: objectives and seed.
        asked: how many trials were asked for before. The sampler is seeded with it too, or a search that goes on would
            be asked for the trials it began with.
    """
    sampler = optuna.samplers.TPESampler(
        seed=(settings.seed * 1_000_003 + asked) % 2**32, multivariate=True, group=True, constant_liar=True
    )
    return optuna.create_study(sampler=sampler, directions=[DIRECTIONS[name] for name in settings.objectives])

"""The search itself: the controls, then what an Optuna study asks for, written to and rebuilt from the records.

Every trial's record is written before the trial starts, with what the study asked, and a study is made of nothing but
records. So a first start, an interrupted search and an extended one are the same thing here.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Literal

import optuna
from optuna.distributions import distribution_to_json
from optuna.trial import TrialState

from analysis.optuna_study import trial_of
from records.experiment import ExperimentFolder
from records.trial import TrialFolder, TrialRecord
from search.observers.optuna_journal import StudyMirror
from search.settings import ControlKind, SearchSettings, Settings
from search.snapshot import read_trial
from trainable.config import TrialConfig, as_json, trial_config
from trainable.schedules.alpha import OneShot

# State, values of the objectives, and intermediate values by epoch.
Outcome = tuple[TrialState, list[float] | None, dict[int, float]]
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


# So many trials that all failed are no accident: the search ends rather than burn its budget.
HOPELESS = 4
# So often a study is asked again that comes up with what it has asked for before; a space of few points runs out.
ASKED_AGAIN = 200


class Search:
    """Hands out trials and learns how they ended.

    Attributes:
        study: made of the records.
        problems: what is wrong with the records, a line each. A trial that cannot be read is left alone, and its number
            is not used again.
        exhausted: whether the space has nothing new left, as far as can be seen; nothing is handed out then.
        mirror: is shown what the study asks for and learns, if there is one.
        say: takes a line about what goes wrong later; `problems` does unless somebody else is to.
    """

    mirror: StudyMirror | None = None

    def __init__(self, folder: ExperimentFolder, settings: Settings, space: SpaceFunction) -> None:
        """Takes up the search that `folder` records: what has ended is told to the study, what has not runs again.

        Args:
            folder: of an experiment whose experiment.json is written.
            settings: of the experiment.
            space: load_space's; it may use all that an optuna.Trial offers.
        """
        self._folder, self._settings, self._space = folder, settings, space
        self._controls = list(control_configs(settings))
        self.problems: list[str] = []
        self.say: Callable[[str], None] = self.problems.append
        self.exhausted = False
        self._ended: dict[int, TrialRecord] = {}
        self._studied: dict[int, int] = {}  # the study's trial of each trial's number
        self._asked: set[TrialConfig] = set()
        numbers = {trial.number for trial in folder.trials()}
        records = list(self._readable(folder.trials()))
        # Branches and repeats, which somebody added.
        self._added = sum(record.parent is not None or record.confirms is not None for record in records)
        controls = range(len(self._controls))
        # What cannot be read was asked for, as far as can be told.
        self._searched = len(numbers - {record.number for record in records if not record.asked} - set(controls))
        self.study = new_study(settings.search, asked=len(numbers))
        for record in records:
            trial = folder.trial(record.number)
            if record.state == "complete" and (done := len(trial.rows())) < record.config["epochs"]:
                self.say(f"{trial.rows_path} is damaged behind epoch {done}, so what came out of the trial is lost")
            if record.asked:
                self._remember(record)
        self._ended = {record.number: record for record in records if record.state != "running"}
        self._waiting = [record.number for record in records if record.state == "running"]
        self._waiting += [number for number in controls if number not in numbers]
        self._next = next_number(folder, settings)

    @property
    def planned(self) -> int:
        """Trials in all, with controls, branches and repeats."""
        return len(self._controls) + self._settings.search.trials + self._added

    @property
    def hopeless(self) -> str | None:
        """The common error when all trials that ended so far have failed; nothing is handed out then."""
        failed = [each.error or "no error recorded" for each in self._ended.values() if each.state == "failed"]
        if len(failed) == len(self._ended) >= max(1, min(HOPELESS, self.planned)):
            return max(failed, key=failed.count)
        return None

    def next(self) -> int | None:
        """The number of a trial to run now, its record written; None when there are no more for now.

        As long as trials run there may be more later: one that completes gives a search hope again.
        """
        if self.exhausted or self.hopeless is not None:
            return None
        if self._waiting:
            number = self._waiting.pop(0)
            if not self._folder.trial(number).path.exists():
                kind, config = self._controls[number]
                self._folder.trial(number).create(TrialRecord(number, as_json(config), control=kind))
            return number
        if self._searched >= self._settings.search.trials:
            return None
        asked_for = self._ask()
        if asked_for is None:
            self.exhausted = True
            return None
        number, self._next, self._searched = self._next, self._next + 1, self._searched + 1
        trial, config = asked_for
        self._studied[number] = trial.number
        asked = {name: distribution_to_json(each) for name, each in trial.distributions.items()}
        record = TrialRecord(number, as_json(config), params=trial.params, distributions=asked)
        self._folder.trial(number).create(record)
        if self.mirror:
            self.mirror.asked(self.study.trials[trial.number])
        return number

    def _ask(self) -> tuple[optuna.Trial, TrialConfig] | None:
        """What the study asks for now, and has not asked for before; None where nothing new is to be had.

        The same configuration gives the same numbers, so it is not run twice. What is asked for again, and what the
        space refuses to make a configuration of, is told as failed to the study, which learns nothing from it, and is
        not recorded.
        """
        sampler = self.study.sampler
        try:
            for again in range(ASKED_AGAIN):
                trial = self.study.ask()
                try:
                    config = self._space(trial, self._settings.trial)
                    if config not in self._asked:
                        self._asked.add(config)
                        return trial, config
                except ValueError as error:
                    self.say(f"the space refuses {trial.params}: {' '.join(str(error).split())}")
                self.study.tell(trial, state=TrialState.FAIL)
                # A sampler that learns nothing new would go on asking for the same.
                if again == 0:
                    self.study.sampler = optuna.samplers.RandomSampler(seed=trial.number)
        finally:
            self.study.sampler = sampler
        return None

    def _readable(self, folders: Iterable[TrialFolder]) -> Iterator[TrialRecord]:
        for folder in folders:
            try:
                yield read_trial(folder)
            except ValueError as error:
                self.problems.append(f"{error}; the trial is left alone")

    def tell(self, number: int) -> None:
        """Learns how trial `number` ended, as its records have it; the study is told what it asked for."""
        outcome: Outcome = (TrialState.FAIL, None, {})
        try:
            record = read_trial(self._folder.trial(number))
        except ValueError as error:
            self.say(f"{error}; the trial is left alone")
        else:
            self._ended[number] = record
            outcome = self._outcome(record)
        if number not in self._studied:
            return
        state, values, intermediate = outcome
        frozen = self.study.trials[self._studied[number]]
        live = optuna.Trial(self.study, frozen._trial_id)
        for epoch, value in intermediate.items():
            live.report(value, epoch)
        self.study.tell(frozen.number, values, state=state)
        if self.mirror:
            self.mirror.told(frozen.number, state, values)

    def _remember(self, record: TrialRecord) -> None:
        """Puts a recorded trial into the study: ended ones as they ended, the others as running."""
        self._studied[record.number] = len(self.study.trials)
        self._asked.add(trial_config(record.config))
        values, intermediate = (None, {}) if record.state == "running" else self._outcome(record)[1:]
        self.study.add_trial(trial_of(record, values, intermediate))

    def _outcome(self, record: TrialRecord) -> Outcome:
        """How the study is to have an ended trial.

        A stopped trial is PRUNED. With several objectives no intermediate values are told: Optuna 5's TPE fails at the
        next ask when a PRUNED trial of such a study carries any. A complete one whose outcome is lost is FAIL: that of
        an earlier epoch must not pass for it.
        """
        objectives, rows = self._settings.search.objectives, self._folder.trial(record.number).rows()
        intermediate: dict[int, float] = {}
        if objectives == ("pruned_val_accuracy",):
            intermediate |= {row["epoch"]: row["pruned_val_accuracy"] for row in rows}
        if record.state != "complete":
            return TrialState.PRUNED if record.state == "stopped" else TrialState.FAIL, None, intermediate
        reached: dict[str, Any] = {**(record.cut or {}), **(rows[-1] if rows else {})}
        values = [reached.get(name) for name in objectives]
        if len(rows) == record.config["epochs"] and all(type(value) in (int, float) for value in values):
            return TrialState.COMPLETE, [float(value) for value in values], intermediate  # type: ignore[arg-type]
        return TrialState.FAIL, None, intermediate


def next_number(folder: ExperimentFolder, settings: Settings) -> int:
    """The number of a trial that is new: behind all that there are, and behind the controls, also those to come."""
    controls = sum(1 for _ in control_configs(settings))
    return max([controls - 1, *(trial.number for trial in folder.trials())]) + 1


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

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

from analysis.study import trial_of
from search.live import StudyMirror
from search.settings import ControlKind, SearchSettings, Settings
from trainable.config import TrialConfig, as_json, trial_config
from trainable.records import ExperimentFolder, TrialFolder, TrialRecord
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


# So many trials that all failed are no accident: the search ends rather than burn its budget.
HOPELESS = 4
# So often a study is asked again that comes up with what it has asked for before; a space of few points runs out.
ASKED_AGAIN = 200


class Search:
    """Hands out trials and learns how they ended.

    Attributes:
        study: made of the records.
        problems: trials that cannot be read, a line each; they are left alone, and their numbers are not used again.
        hopeless: the common error when all trials that ended have failed; nothing is handed out then.
        exhausted: whether the space has nothing new left, as far as can be seen; nothing is handed out then.
        mirror: is shown what the study asks for and learns, if there is one.
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
        self.hopeless: str | None = None
        self.exhausted = False
        self._ended: dict[int, TrialRecord] = {}
        self._studied: dict[int, int] = {}  # the study's trial of each trial's number
        self._asked: set[TrialConfig] = set()
        records = list(self._readable(folder.trials()))
        numbers = {trial.number for trial in folder.trials()}
        # Branches and repeats, which somebody added.
        self._added = sum(record.parent is not None or record.confirms is not None for record in records)
        self.study = new_study(settings.search, asked=len(numbers))
        for record in records:
            if record.asked:
                self._remember(record)
            if record.state != "running":
                self._note_end(record)
        self._waiting = [record.number for record in records if record.state == "running"]
        self._waiting += [number for number in range(len(self._controls)) if number not in numbers]
        self._next = max([len(self._controls) - 1, *numbers]) + 1

    @property
    def planned(self) -> int:
        """Trials in all, with controls, branches and repeats."""
        return len(self._controls) + self._settings.search.trials + self._added

    def next(self) -> int | None:
        """The number of a trial to run now, its record written; None when there are no more."""
        if self.hopeless is not None:
            return None
        if self._waiting:
            number = self._waiting.pop(0)
            if not self._folder.trial(number).path.exists():
                kind, config = self._controls[number]
                self._folder.trial(number).create(TrialRecord(number, as_json(config), control=kind))
            return number
        number = self._next
        if number >= self.planned:
            return None
        asked_for = self._ask()
        if asked_for is None:
            self.exhausted = True
            return None
        self._next += 1
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

        The same configuration gives the same numbers, so it is not run twice. What is asked for again is told as failed
        to the study, which learns nothing from it, and is not recorded.
        """
        sampler = self.study.sampler
        try:
            for again in range(ASKED_AGAIN):
                trial = self.study.ask()
                config = self._space(trial, self._settings.trial)
                if config not in self._asked:
                    self._asked.add(config)
                    return trial, config
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
                record = folder.read()
                trial_config(record.config)
                yield record
            except ValueError as error:
                reason = " ".join(str(error).split())
                self.problems.append(reason if str(folder.path) in reason else f"{folder.record_path}: {reason}")

    def _note_end(self, record: TrialRecord) -> None:
        self._ended[record.number] = record
        failed = [each.error or "no error recorded" for each in self._ended.values() if each.state == "failed"]
        if len(failed) == len(self._ended) >= min(HOPELESS, self.planned):
            self.hopeless = max(failed, key=failed.count)

    def tell(self, number: int) -> None:
        """Learns how trial `number` ended, as its records have it; the study is told what it asked for."""
        record = self._folder.trial(number).read()
        self._note_end(record)
        if number not in self._studied:
            return
        state, values, intermediate = self._outcome(record)
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

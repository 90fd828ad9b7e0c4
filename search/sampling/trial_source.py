"""Where trials come from: first the controls, then what an Optuna study suggests.

Every trial's record is written before the trial starts, with what the study suggested, and the study is built from
records alone. So a first start, an interrupted search and an extended one are the same thing here.
"""

import logging
import math
from collections import Counter, deque

import optuna
from optuna.trial import TrialState
from pydantic import ValidationError

from analysis.optuna_study import trial_of
from records.experiment import ExperimentFolder
from records.trial import TrialRecord
from search.observers.observer import SearchObserver, StudyResult
from search.sampling.changed_space import fit_trials
from search.sampling.controls import control_configs, next_number
from search.sampling.samplers import create_study
from search.sampling.suggestion import (
    SpaceError,
    SpaceFunction,
    SpaceTrial,
    Suggestion,
    ask_study,
    sample_distributions,
    suggest_config,
)
from search.settings import Settings, explain_invalid
from search.snapshot import Snapshot, TrialSnapshot
from trainable.config import TrialConfig, as_json

log = logging.getLogger("alphaprune")

# If this many trials have ended and all of them failed, the search ends rather than burn its budget.
FAILURES_TO_END = 4
# How many times the study is asked for an untried configuration; small spaces run out.
REPEATED_ASKS = 200
# After this many suggestions that the space rejects, the sampler is taken not to know what it accepts.
REJECTED_ASKS = 10


class TrialSource:
    """Hands out trials and learns how they ended.

    Attributes:
        study: built from the records.
        exhausted: whether the space seems to have nothing new left; no more trials are handed out then.
        space_error: why the space cannot be sampled, if it has failed; no more trials are handed out then.
    """

    def __init__(
        self,
        folder: ExperimentFolder,
        settings: Settings,
        space: SpaceFunction,
        snapshot: Snapshot,
        observer: SearchObserver,
    ) -> None:
        """Continues the search of `snapshot`: the study learns from trials that have ended, the others will run again.

        A trial that cannot be read is logged and left alone, and its number is not reused.

        Args:
            folder: of an experiment whose experiment.json has been written.
            settings: of the experiment.
            space: from load_space; it may use everything that an optuna.Trial offers.
            snapshot: of the experiment's trials.
            observer: is told what the study suggests and how trials end.
        """
        self._folder, self._settings, self._space, self._observer = folder, settings, space, observer
        self._controls = list(control_configs(settings))
        self.exhausted = False
        self.space_error: SpaceError | None = None
        self._ended = 0
        self._errors: Counter[str] = Counter()  # of the trials that failed
        self._study_numbers: dict[int, int] = {}  # the study's number of a trial, by the trial's own
        self._configs: set[TrialConfig] = set()
        for problem in snapshot.problems:
            log.warning("%s; the trial is left alone", problem)
        self._added = sum(trial.record.is_added for trial in snapshot.trials)
        # Unreadable trials are assumed to have come from the study.
        controls = range(len(self._controls))
        others = {trial.number for trial in snapshot.trials if trial.record.kind != "searched"}
        self._searched = len(snapshot.numbers - others - set(controls))
        self._next_number = next_number(snapshot.numbers, settings)
        self.study = create_study(settings.search, asked=len(snapshot.numbers))
        self._restore_study([trial for trial in snapshot.trials if trial.record.kind == "searched"])
        for trial in snapshot.trials:
            if trial.is_result_lost:
                log.warning(
                    "%s is damaged after epoch %d, so the trial's result is lost",
                    trial.folder.rows_path,
                    len(trial.rows),
                )
            self._count_end(trial.record)
        self._waiting = deque(trial.record for trial in snapshot.trials if trial.record.state == "running")
        self._waiting_controls = deque(number for number in controls if number not in snapshot.numbers)

    @property
    def planned_trials(self) -> int:
        """Total number of trials, including controls, branches, repeats and twins."""
        return len(self._controls) + self._settings.search.trials + self._added

    @property
    def common_error(self) -> str | None:
        """The most common error if all trials so far have failed, else None; no more trials are handed out then."""
        if self._errors.total() == self._ended >= max(1, min(FAILURES_TO_END, self.planned_trials)):
            return self._errors.most_common(1)[0][0]
        return None

    def next_trial(self) -> TrialRecord | None:
        """The record of a trial to run now, already written; None if there is none for now.

        While trials are running there may be more later: if all have failed so far, one that completes changes that.
        """
        if self.exhausted or self.space_error is not None or self.common_error is not None:
            return None
        if self._waiting:
            return self._waiting.popleft()
        if self._waiting_controls:
            number = self._waiting_controls.popleft()
            kind, config = self._controls[number]
            return self._create_record(TrialRecord(number, as_json(config), control=kind))
        if self._searched >= self._settings.search.trials:
            return None
        try:
            suggestion = self._ask_study()
        except SpaceError as error:
            self.space_error = error
            return None
        if suggestion is None:
            self.exhausted = True
            return None
        record = self._create_record(suggestion.as_record(self._next_number))
        self._study_numbers[record.number] = suggestion.trial.number
        self._next_number, self._searched = self._next_number + 1, self._searched + 1
        suggestion.trial.set_user_attr("number", record.number)  # which the dashboard shows
        self._observer.trial_asked(self._study_trial(suggestion.trial.number))
        return record

    def tell_end(self, number: int) -> None:
        """Reads how trial `number` ended from its record, and tells the study if the trial was suggested by it."""
        trial = None
        try:
            trial = TrialSnapshot.read(self._folder.trial_folder(number))
        except ValueError as error:
            log.warning("%s; the trial is left alone", error)
        else:
            self._count_end(trial.record)
        self._observer.trial_ended(number, trial, self._tell_study(number, trial))

    def _create_record(self, record: TrialRecord) -> TrialRecord:
        self._folder.trial_folder(record.number).create(record)
        return record

    def _count_end(self, record: TrialRecord) -> None:
        self._ended += record.state != "running"
        if record.state == "failed":
            self._errors[record.error or "no error recorded"] += 1

    def _ask_study(self) -> Suggestion | None:
        """What the study suggests next and has not suggested before; None if nothing new is available.

        The same configuration gives the same numbers, so it is not run twice. Suggestions that are repeats, or that the
        space rejects, are reported to the study as failed, which teaches it nothing, and are not recorded.

        Raises:
            SpaceError: if the space or the study fails, or the space rejects everything.
        """
        sampler, rejected = self.study.sampler, 0
        try:
            for _ in range(REPEATED_ASKS):
                trial = ask_study(self.study)
                suggestion = self._try_space(trial)
                if suggestion is not None and suggestion.config not in self._configs:
                    self._configs.add(suggestion.config)
                    if self.study.sampler is not sampler:
                        log.info("trial %d is drawn at random: the sampler suggests nothing new", self._next_number)
                    return suggestion
                self.study.tell(trial, state=TrialState.FAIL)
                rejected += suggestion is None
                # A sampler that learns nothing new would repeat itself forever.
                if self.study.sampler is sampler and (suggestion is not None or rejected == REJECTED_ASKS):
                    self.study.sampler = optuna.samplers.RandomSampler(seed=trial.number)
        finally:
            self.study.sampler = sampler
        if rejected == REPEATED_ASKS:
            raise SpaceError(f"the space has rejected all {rejected} suggestions")
        return None

    def _try_space(self, trial: SpaceTrial) -> Suggestion | None:
        try:
            return suggest_config(self._space, trial, self._settings.trial)
        except ValueError as error:
            reason = explain_invalid(error) if isinstance(error, ValidationError) else str(error)
            log.warning("the space rejects %s: %s", trial.params, " ".join(reason.split()))
            return None

    def _restore_study(self, searched: list[TrialSnapshot]) -> None:
        """Adds recorded trials to the empty study: ended ones as they ended, the others as running."""
        recorded: list[optuna.trial.FrozenTrial] = []
        for trial in searched:
            self._configs.add(trial.config)
            running = trial.record.state == "running"
            values, reported = (
                (None, {}) if running else (self._objective_values(trial), self._accuracy_by_epoch(trial))
            )
            recorded.append(trial_of(trial.record, values, reported))
        names = {name for trial in recorded for name in trial.distributions}
        current = sample_distributions(self._space, self._settings.trial, names) if names else {}
        fitting = fit_trials(recorded, current)
        self._study_numbers = {
            trial.number: row for row, trial in enumerate(searched) if not fitting[row].state.is_finished()
        }
        self.study.add_trials(fitting)

    def _tell_study(self, number: int, trial: TrialSnapshot | None) -> StudyResult | None:
        if number not in self._study_numbers:
            return None
        study_number = self._study_numbers[number]
        values = None if trial is None else self._objective_values(trial)
        reported = {} if trial is None else self._accuracy_by_epoch(trial)
        if values is not None:
            state = TrialState.COMPLETE
        else:
            state = TrialState.PRUNED if trial is not None and trial.record.state == "stopped" else TrialState.FAIL
        live = optuna.Trial(self.study, self._study_trial(study_number)._trial_id)
        for epoch, value in reported.items():
            live.report(value, epoch)
        self.study.tell(study_number, values, state=state)
        return StudyResult(study_number, state, values)

    def _study_trial(self, number: int) -> optuna.trial.FrozenTrial:
        # `study.trials` would deep-copy every trial.
        return self.study.get_trials(deepcopy=False)[number]

    def _objective_values(self, trial: TrialSnapshot) -> list[float] | None:
        """The objectives of a complete trial; None for others, and if its last rows are lost: earlier ones won't do."""
        if trial.record.state != "complete" or trial.is_result_lost or trial.record.cut is None:
            return None
        reached: dict[str, float] = {
            "pruned_val_accuracy": trial.rows[-1].pruned_val_accuracy,
            "macs": trial.record.cut.macs,
            "parameters": trial.record.cut.parameters,
        }
        if "training_cost" in self._settings.search.objectives:  # older rows do not say it
            costs = [row.training_cost for row in trial.rows]
            reached["training_cost"] = sum(math.nan if cost is None else cost for cost in costs)
        values = [float(reached[name]) for name in self._settings.search.objectives]
        return None if any(map(math.isnan, values)) else values

    def _accuracy_by_epoch(self, trial: TrialSnapshot) -> dict[int, float]:
        """Accuracy by epoch if it is the only objective.

        With several, none is reported: Optuna 5's TPE fails at the next ask if a PRUNED trial of such a study has any.
        """
        if self._settings.search.objectives != ("pruned_val_accuracy",):
            return {}
        return {row.epoch: row.pruned_val_accuracy for row in trial.rows}

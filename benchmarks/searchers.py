"""How much training it takes to find a good trial: alphaprune's search and its peers, on the same recorded trials.

    python benchmarks/searchers.py [--seeds 50] [--workers 4] [--only NAME ...]

Each searcher draws trials from the shipped space and is told their curves, epoch by epoch, as `workers` of them train
at once; the trials are those of benchmarks/trials.parquet (trial_table.py). Nothing is trained, so a search takes a
second. Compute is counted in epochs of the dense network. A searcher has found the best once a trial that it has run to
its end is within half a point of the most accurate of the table that cut as much. Each search is for one amount, and
ours has the accuracy as its only objective then, unlike the shipped presets, which search several amounts for accuracy
and MACs at once. What is printed are the medians of what they had spent by then, with quartiles, and how often they got
there at all: a trial that was stopped does not come back. The first row is the least that any searcher can spend: the
cost of the cheapest of the best trials, times the number of workers, since all of them train until it ends.

The peers are used as their documentation shows: Ray Tune's OptunaSearch with its ASHAScheduler, Optuna with its
MedianPruner and its HyperbandPruner, and Syne Tune's ASHA, which is left out where it is not installed (pip install
syne-tune). They watch `val_accuracy`. The table's columns are the cuts; "never" means that most searches had stopped
all trials that were good enough.
"""

import argparse
import json
import math
import multiprocessing
import os
import random
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from importlib.util import find_spec
from itertools import count
from typing import Any, Protocol

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FixedTrial, TrialState
from rich.console import Console
from rich.table import Table
from trial_table import Pool, RecordedTrial, TrialTable, create_pools

from records.epoch import EpochRow
from search.sampling.early_stopping import SuccessiveHalving
from search.sampling.samplers import create_study
from search.sampling.suggestion import SpaceFunction, ask_study, sample_distributions, suggest_config
from search.settings import Settings, resolve_settings

# How near to the best a trial must come.
MARGIN = 0.005


@dataclass(frozen=True)
class Task:
    """What is searched: a space, and the settings of the trials that it makes."""

    settings: Settings
    space: SpaceFunction
    amounts: tuple[float, ...]

    @property
    def epochs(self) -> int:
        return self.settings.trial.epochs

    def sample(self, trial: optuna.trial.BaseTrial) -> Mapping[str, Any]:
        """The parameters that the space asks `trial` for."""
        self.space(trial, self.settings.trial)
        return trial.params


class Searcher(Protocol):
    """Suggests trials, and says after each epoch whether one should continue."""

    def suggest(self, number: int) -> Mapping[str, Any]:
        """The parameters of the next trial."""
        ...

    def should_continue(self, number: int, row: EpochRow) -> bool:
        """Whether trial `number`, whose newest row is `row`, should continue; asked after each epoch but the last."""
        ...

    def end(self, number: int, rows: Sequence[EpochRow], *, complete: bool) -> None:
        """Tells how a trial ended."""
        ...


class Alphaprune:
    """The search of this project, with other settings of the section `search` if given."""

    def __init__(self, task: Task, seed: int, **changed: Any) -> None:
        self._task = task
        objectives = ["pruned_val_accuracy"] if len(task.amounts) == 1 else ["pruned_val_accuracy", "macs"]
        search = resolve_settings({"search": {"objectives": objectives, "seed": seed, **changed}}).search
        self._objectives = search.objectives
        self._study = create_study(search, asked=0)
        self._stopping = SuccessiveHalving(search.early_stopping, objectives=search.objectives, epochs=task.epochs)

    def suggest(self, number: int) -> Mapping[str, Any]:
        trial = ask_study(self._study)
        suggest_config(self._task.space, trial, self._task.settings.trial)
        return trial.params

    def should_continue(self, number: int, row: EpochRow) -> bool:
        return self._stopping.should_continue(number, row)

    def end(self, number: int, rows: Sequence[EpochRow], *, complete: bool) -> None:
        # As TrialSource tells a study.
        accuracy, macs = rows[-1].pruned_val_accuracy, 1 - rows[-1].mac_sparsity
        if len(self._objectives) == 1:
            trial = optuna.Trial(self._study, self._study.get_trials(deepcopy=False)[number]._trial_id)
            for row in rows:
                trial.report(row.pruned_val_accuracy, row.epoch)
        values = [accuracy, macs][: len(self._objectives)]
        self._study.tell(number, values if complete else None, state=None if complete else TrialState.PRUNED)


class OptunaWithPruner:
    """Optuna's TPESampler with one of its pruners."""

    def __init__(self, task: Task, seed: int, create_pruner: Callable[[Task], optuna.pruners.BasePruner]) -> None:
        self._task = task
        sampler = optuna.samplers.TPESampler(seed=seed)
        # HyperbandPruner chooses a trial's bracket by the name of the study, which is random if none is given.
        self._study = optuna.create_study(
            study_name=f"seed {seed}", direction="maximize", sampler=sampler, pruner=create_pruner(task)
        )
        self._trials: dict[int, optuna.Trial] = {}

    def suggest(self, number: int) -> Mapping[str, Any]:
        trial = self._trials[number] = self._study.ask()
        return self._task.sample(trial)

    def should_continue(self, number: int, row: EpochRow) -> bool:
        self._trials[number].report(row.val_accuracy, row.epoch)
        return not self._trials[number].should_prune()

    def end(self, number: int, rows: Sequence[EpochRow], *, complete: bool) -> None:
        if complete:
            self._trials[number].report(rows[-1].val_accuracy, rows[-1].epoch)
            self._study.tell(self._trials[number], rows[-1].val_accuracy)
        else:
            self._study.tell(self._trials[number], state=TrialState.PRUNED)


class Tune:
    """Ray Tune's OptunaSearch with its ASHAScheduler, called as Tune's controller calls them."""

    def __init__(self, task: Task, seed: int) -> None:
        from ray.tune.schedulers import ASHAScheduler
        from ray.tune.search.optuna import OptunaSearch

        def space(trial: Any) -> None:
            task.sample(trial)

        self._search = OptunaSearch(space, metric="val_accuracy", mode="max", seed=seed)
        self._scheduler = ASHAScheduler(metric="val_accuracy", mode="max", max_t=task.epochs)
        self._trials: dict[int, Any] = {}

    def suggest(self, number: int) -> Mapping[str, Any]:
        from ray.tune.experiment import Trial

        self._search.suggest(str(number))
        self._trials[number] = trial = Trial("trainable", trial_id=str(number), stub=True)
        self._scheduler.on_trial_add(None, trial)
        return self._search._ot_trials[str(number)].params

    def should_continue(self, number: int, row: EpochRow) -> bool:
        result = _as_result(row)
        self._search.on_trial_result(str(number), result)
        return self._scheduler.on_trial_result(None, self._trials[number], result) == "CONTINUE"

    def end(self, number: int, rows: Sequence[EpochRow], *, complete: bool) -> None:
        # Tune tells of both a stopped and a complete trial with the last result.
        self._search.on_trial_complete(str(number), _as_result(rows[-1]))


class SyneTune:
    """Syne Tune's ASHA, which draws at random."""

    def __init__(self, task: Task, seed: int) -> None:
        from syne_tune.optimizer.baselines import ASHA

        np.random.seed(seed)  # noqa: NPY002 (its brackets are drawn from it)
        random.seed(seed)
        self._task = task
        self._scheduler = ASHA(
            _as_syne_tune_space(task),
            metric="val_accuracy",
            time_attr="epoch",
            max_t=task.epochs,
            do_minimize=False,
            random_seed=seed,
        )
        self._trials: dict[int, Any] = {}

    def suggest(self, number: int) -> Mapping[str, Any]:
        from datetime import datetime

        from syne_tune.backend.trial_status import Trial

        suggestion = self._scheduler.suggest()
        self._trials[number] = trial = Trial(number, suggestion.config, datetime.now())
        self._scheduler.on_trial_add(trial)
        # What the space asks for of all that Syne Tune, whose spaces have no conditions, has drawn.
        fixed = FixedTrial(
            {name: json.loads(value) if isinstance(value, str) else value for name, value in trial.config.items()}
        )
        return self._task.sample(fixed)

    def should_continue(self, number: int, row: EpochRow) -> bool:
        result = {"val_accuracy": row.val_accuracy, "epoch": row.epoch}
        return bool(self._scheduler.on_trial_result(self._trials[number], result) == "CONTINUE")

    def end(self, number: int, rows: Sequence[EpochRow], *, complete: bool) -> None:
        if complete:
            result = {"val_accuracy": rows[-1].val_accuracy, "epoch": rows[-1].epoch}
            self._scheduler.on_trial_complete(self._trials[number], result)
        else:
            self._scheduler.on_trial_remove(self._trials[number])


class Random:
    """Random search, which stops nothing."""

    def __init__(self, task: Task, seed: int) -> None:
        self._task, self._study = task, optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))

    def suggest(self, number: int) -> Mapping[str, Any]:
        return self._task.sample(self._study.ask())

    def should_continue(self, number: int, row: EpochRow) -> bool:
        return True

    def end(self, number: int, rows: Sequence[EpochRow], *, complete: bool) -> None:
        pass


def _as_result(row: EpochRow) -> dict[str, Any]:
    return {"val_accuracy": row.val_accuracy, "training_iteration": row.epoch}


def _as_syne_tune_space(task: Task) -> dict[str, Any]:
    """All parameters that the space may ask for, each with its distribution as Syne Tune's."""
    from syne_tune.config_space import choice, lograndint, loguniform, randint, uniform

    domains: dict[str, Any] = {}
    # More names than there are, so that it looks for all.
    for name, distribution in sample_distributions(task.space, task.settings.trial, ["?"]).items():
        if isinstance(distribution, CategoricalDistribution):
            domains[name] = choice([json.dumps(each) for each in distribution.choices])
        else:
            of_float, log = isinstance(distribution, FloatDistribution), distribution.log
            create = (loguniform if log else uniform) if of_float else (lograndint if log else randint)
            domains[name] = create(distribution.low, distribution.high)
    return domains


@dataclass(frozen=True)
class Found:
    """A complete trial, and the compute that the search had spent when it ended."""

    spent: float
    amount: float
    accuracy: float


def play(searcher: Searcher, pools: Mapping[float, Pool], *, workers: int) -> Iterator[Found]:
    """What the searcher finds, in turn, until it asks for an amount of which there is nothing left."""
    taken: dict[float, set[int]] = {amount: set() for amount in pools}
    # When the epoch that a trial is in will be over; of those at the same time, the one that began first.
    running: list[tuple[float, int, int, Any]] = []
    numbers, order, spent, now, exhausted = count(), count(), 0.0, 0.0, False
    while True:
        while not exhausted and len(running) < workers:
            number = next(numbers)
            params = searcher.suggest(number)
            amount = params.get("pruning.amount", next(iter(pools)))
            left = (each for each in pools[amount].rank(params) if each not in taken[amount])
            nearest = next(left, None)
            if nearest is None:
                exhausted = True
                break
            taken[amount].add(nearest)
            trial = pools[amount].trials[nearest]
            heappush(running, (now + trial.cost[0], next(order), number, (trial, 1)))
        if not running:
            return
        now, _, number, (trial, epoch) = heappop(running)
        row = trial.rows[epoch - 1]
        spent += row.training_cost
        complete = epoch == len(trial.rows)
        if not complete and searcher.should_continue(number, row):
            heappush(running, (now + trial.rows[epoch].training_cost, next(order), number, (trial, epoch + 1)))
            continue
        searcher.end(number, trial.rows[:epoch], complete=complete)
        if complete:
            yield Found(spent, trial.amount, trial.accuracy)


def is_among_best(trial: Found | RecordedTrial, pool: Pool) -> bool:
    """Whether a trial is within MARGIN of the best of its amount."""
    return trial.accuracy >= pool.best - MARGIN - 1e-9


def least_spent(pool: Pool, workers: int) -> float:
    """The least that a search can spend: it starts the cheapest of the best trials first, and all workers are busy."""
    return workers * min(trial.cost[-1] for trial in pool.trials if is_among_best(trial, pool))


def spend_until_best(found: Iterable[Found], pools: Mapping[float, Pool]) -> dict[float, float]:
    """What had been spent when a trial within MARGIN of its amount's best ended; infinite if none did."""
    spent = dict.fromkeys(pools, math.inf)
    for each in found:
        if is_among_best(each, pools[each.amount]):
            spent[each.amount] = min(spent[each.amount], each.spent)
            if all(map(math.isfinite, spent.values())):
                break
    return spent


def create_univariate_tpe(seed: int) -> optuna.samplers.BaseSampler:
    """TPE that models each parameter on its own, as Optuna's does by default."""
    return optuna.samplers.TPESampler(seed=seed, constant_liar=True)


SEARCHERS: dict[str, Callable[[Task, int], Searcher]] = {
    "random search": Random,
    "Optuna, MedianPruner": partial(OptunaWithPruner, create_pruner=lambda task: optuna.pruners.MedianPruner()),
    "Optuna, HyperbandPruner": partial(
        OptunaWithPruner, create_pruner=lambda task: optuna.pruners.HyperbandPruner(max_resource=task.epochs)
    ),
    "Tune, OptunaSearch, ASHA": Tune,
    "alphaprune": Alphaprune,
    "alphaprune, random": partial(Alphaprune, sampler="random"),
    "alphaprune, GP": partial(Alphaprune, sampler="gp"),
    "alphaprune, TPE of single parameters": partial(Alphaprune, sampler="searchers:create_univariate_tpe"),
    "alphaprune, early stopping": partial(Alphaprune, early_stopping={"enabled": True}),
    "the same from a tenth on": partial(Alphaprune, early_stopping={"enabled": True, "first": 0.1, "reduction": 3.0}),
}
if find_spec("syne_tune"):
    SEARCHERS["Syne Tune, ASHA"] = SyneTune


class Games:
    """Plays searchers on the table; what takes time to set up is kept in the process."""

    def __init__(self, workers: int) -> None:
        self._workers, self._table = workers, TrialTable.read()
        self.pools = create_pools(self._table, self._table.amounts)

    def play(self, name: str, amounts: tuple[float, ...], seed: int) -> list[float]:
        """What was spent until the best of each amount was found, in one search for all of them."""
        table = self._table
        task = Task(table.settings, table.create_space(amounts), amounts)
        pools = {amount: self.pools[amount] for amount in amounts}
        return list(spend_until_best(play(SEARCHERS[name](task, seed), pools, workers=self._workers), pools).values())


_games: list[Games] = []


def _set_up(workers: int) -> None:
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    _games.append(Games(workers))


def _play(name: str, amounts: tuple[float, ...], seed: int) -> list[float]:
    return _games[0].play(name, amounts, seed)


def describe(spent: Sequence[float]) -> str:
    """Median and quartiles, as far as they are finite."""
    low, middle, high = (float(np.quantile(spent, q, method="nearest")) for q in (0.25, 0.5, 0.75))
    if not math.isfinite(middle):
        return "never"
    return f"{middle:.0f} ({low:.0f} to {high:.0f})" if math.isfinite(high) else f"{middle:.0f} ({low:.0f} to never)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--workers", type=int, default=4, help="trials that train at once in a search")
    parser.add_argument("--only", nargs="+", default=list(SEARCHERS), metavar="NAME", help="names of searchers")
    options = parser.parse_args()
    table, console = TrialTable.read(), Console(width=100)
    amounts = table.amounts
    page = Table("", *(f"{amount:.0%}" for amount in amounts), "found", title="compute until the best is found")
    pools = create_pools(table, amounts)
    page.add_row("least", *(f"{least_spent(pools[amount], options.workers):.0f}" for amount in amounts), "")
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes to come, which would otherwise take each other's CPUs
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context, _set_up, (options.workers,)) as pool:
        for name in options.only:
            cells, reached = [], []
            for amount in amounts:
                games = [pool.submit(_play, name, (amount,), seed) for seed in range(options.seeds)]
                spent = [game.result()[0] for game in games]
                cells.append(describe(spent))
                reached.append(f"{np.isfinite(spent).mean():.0%}")
            page.add_row(name, *cells, " ".join(reached))
            print(name, *cells, *reached, sep=" | ", flush=True)
    console.print(page)


if __name__ == "__main__":
    main()

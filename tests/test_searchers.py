"""The searches that benchmarks/searchers.py plays on the recorded trials."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import searchers
from experiments import ExperimentBuilder
from searchers import SEARCHERS, Found, Games, Random, Task, play, spend_until_best
from trial_table import TrialTable, create_pools

from search.settings import as_settings_json

AMOUNT = 0.9


@pytest.fixture(scope="module")
def table() -> TrialTable:
    return TrialTable.read()


@pytest.fixture(scope="module")
def games() -> Games:
    return Games(workers=4)


def test_the_space_could_suggest_every_recorded_trial(table: TrialTable) -> None:
    assert len(table.trials) >= 30
    assert len(table.keep_suggested().trials) == len(table.trials)


def test_the_table_comes_back_as_it_was_written(table: TrialTable, tmp_path: Path) -> None:
    table.write(tmp_path / "again.parquet")
    again = TrialTable.read(tmp_path / "again.parquet")
    assert again.settings == table.settings
    assert [(trial.params, trial.rows) for trial in again.trials] == [
        (trial.params, trial.rows) for trial in table.trials
    ]


def test_experiments_add_the_complete_trials_that_the_space_suggested(table: TrialTable, tmp_path: Path) -> None:
    built = ExperimentBuilder(tmp_path / "more")
    built.base = table.settings.trial
    built.change_settings(
        as_settings_json(replace(table.settings, data=replace(table.settings.data, source="elsewhere")))
    )
    for _ in range(2):
        built.add_searched(0.7, amounts=table.amounts)
    built.add_searched(0.7, amounts=table.amounts, state="failed", error="killed", epochs=3)
    built.add_control("one_shot", 0.7)
    added = table.add_experiments([built.path])
    assert [(trial.experiment, trial.number) for trial in added.trials[len(table.trials) :]] == [
        ("more", 0),
        ("more", 1),
    ]
    assert added.trials[: len(table.trials)] == table.trials
    assert len(added.add_experiments([built.path]).trials) == len(added.trials)


def test_experiments_on_other_data_are_refused(table: TrialTable, tmp_path: Path) -> None:
    built = ExperimentBuilder(tmp_path / "more")
    built.change_settings({"data": {"images": 500}})
    with pytest.raises(ValueError, match=r"more must have the \[data\] of the table"):
        table.add_experiments([built.path])


def test_what_a_narrower_range_would_not_suggest_is_left_out(table: TrialTable) -> None:
    trial = table.trials[0]
    outside = replace(trial, params={**trial.params, "lr.peak": 0.9})
    assert "lr.peak" in trial.params
    with pytest.warns(UserWarning, match="out of the range"):
        kept = replace(table, trials=(*table.trials, outside)).keep_suggested()
    assert kept.trials == table.trials


@pytest.mark.parametrize(
    "search", [{"sampler": "tpe"}, {"sampler": "random", "early_stopping": {"enabled": True}}], ids=["tpe", "stopping"]
)
def test_trials_that_were_chosen_are_refused(table: TrialTable, search: dict[str, object], tmp_path: Path) -> None:
    built = ExperimentBuilder(tmp_path / "more")
    built.change_settings({**as_settings_json(table.settings), "search": search})
    with pytest.raises(ValueError, match="at random"):
        table.add_experiments([built.path])


def test_a_trial_is_nearest_to_its_own_parameters(table: TrialTable) -> None:
    pool = create_pools(table, [AMOUNT])[AMOUNT]
    nearest = [pool.rank(trial.params)[0] for trial in pool.trials]
    same = sum(found == position for position, found in enumerate(nearest))
    assert same > 0.8 * len(nearest)  # leaves hold three trials, so another may be as near


def test_random_search_is_given_every_trial_once_and_spends_what_they_cost(table: TrialTable) -> None:
    pools = create_pools(table, [AMOUNT])
    task = Task(table.settings, table.create_space([AMOUNT]), (AMOUNT,))
    found = list(play(Random(task, 0), pools, workers=3))
    trials = pools[AMOUNT].trials
    assert sorted(each.accuracy for each in found) == sorted(trial.accuracy for trial in trials)
    assert found[-1].spent == pytest.approx(sum(trial.cost[-1] for trial in trials))
    assert [each.spent for each in found] == sorted(each.spent for each in found)
    assert math.isfinite(spend_until_best(found, pools)[AMOUNT])


def test_only_a_trial_near_the_best_counts(table: TrialTable) -> None:
    pools = create_pools(table, [AMOUNT])
    best = pools[AMOUNT].best
    far, near = Found(1.0, AMOUNT, best - 0.01), Found(2.0, AMOUNT, best - searchers.MARGIN)
    assert spend_until_best([far], pools) == {AMOUNT: math.inf}
    assert spend_until_best([far, near, Found(3.0, AMOUNT, best)], pools) == {AMOUNT: 2.0}


@pytest.mark.parametrize("name", SEARCHERS)
def test_every_searcher_plays_and_plays_the_same_again(name: str, games: Games) -> None:
    first, again = (games.play(name, (AMOUNT,), 3) for _ in range(2))
    assert first == again
    assert all(spent > 0 for spent in first)


def test_a_search_for_several_cuts_asks_for_all_of_them(games: Games, table: TrialTable) -> None:
    spent = games.play("alphaprune", tuple(table.amounts), 0)
    assert len(spent) == len(table.amounts)
    assert all(map(math.isfinite, spent))

"""Repeats recorded trials with another seed: `python benchmarks/repeat_trials.py --data FOLDER [--count 6]`.

The first trials of each amount in trials.parquet run once more, from a dense network that is trained again by the same
recipe, with the seed of the trial alone changed. The repeats are written to repeats.parquet after each one; trials that
it has already are left out, so that this can be interrupted. early_signal.py compares them with the trials: no early
signal can be expected to tell more of a trial than its own repeat does. Two to three minutes for two trials.
"""

import argparse
import multiprocessing
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

from optuna.trial import FixedTrial
from trial_table import PATH, RecordedTrial, TrialTable

from trainable.cpus import count_cpus
from trainable.data.dataset import Data, load_data
from trainable.dense import load_dense, train_dense
from trainable.trial import Trial

REPEATS = PATH.with_name("repeats.parquet")


def repeat_trial(recorded: RecordedTrial, table: TrialTable, data: Data, dense: Path) -> RecordedTrial:
    os.nice(10)
    space = table.create_space([recorded.amount])
    config = space(FixedTrial(recorded.params), table.settings.trial)
    trial = Trial(replace(config, seed=recorded.seed + 1), data, load_dense(dense))
    while not trial.is_finished:
        trial.run_epoch()
    assert trial.cut is not None
    return replace(recorded, seed=trial.config.seed, macs=trial.cut.macs, rows=tuple(trial.rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="the data that the table was recorded on")
    parser.add_argument("--count", type=int, default=6, help="trials of each amount")
    options = parser.parse_args()
    table = TrialTable.read()
    done = list(TrialTable.read(REPEATS).trials) if REPEATS.exists() else []
    there = {(each.experiment, each.number) for each in done}
    wanted = [
        trial
        for amount in table.amounts
        for trial in [each for each in table.trials if each.amount == amount][: options.count]
        if (trial.experiment, trial.number) not in there
    ]
    data = load_data(replace(table.settings.data, source=options.data))
    with tempfile.TemporaryDirectory() as folder:
        dense = Path(folder)
        train_dense(table.settings.dense, data, dense, threads=1)  # which other programs disturb less
        with ProcessPoolExecutor(count_cpus(), multiprocessing.get_context("spawn")) as pool:
            for running in as_completed([pool.submit(repeat_trial, each, table, data, dense) for each in wanted]):
                done.append(running.result())
                replace(table, trials=tuple(done)).write(REPEATS)
                print(f"trial {done[-1].number}: {done[-1].accuracy:.4f}, {len(done) - len(there)} of {len(wanted)}")


if __name__ == "__main__":
    main()

"""Repeats of the best trials and of the controls with other seeds: the result of a single seed may be luck."""

from dataclasses import replace

import analysis
from analysis.rank.comparison import to_confirm
from records.experiment import ExperimentFolder
from records.trial import TrialRecord
from search.sampling.controls import next_number
from search.setup.validation import recorded_settings
from search.snapshot import Snapshot
from trainable.config import as_json


def plan_repeats(folder: ExperimentFolder, *, top: int | None, seeds: int) -> list[TrialRecord]:
    """Repeats of `top` trials and of all controls, each with `seeds` other seeds; nothing is written.

    The trials are the best of those that cut as much as the controls do, taken from each amount in turn
    (analysis.rank.comparison.to_confirm). None for `top` means 3, or one per amount if there are more amounts.

    Trials that have been repeated before get only the missing repeats. A repeat differs only in its seed: the order of
    the data, the augmentation, and what is drawn at random; the dense network is the same. Branches are left out, since
    they start from a checkpoint of one seed.

    Returns:
        Their records, numbered as the experiment's next trials; a search runs them once they are in its folder.

    Raises:
        ValueError: if `top` or `seeds` is less than 1, or no trial is complete.
    """
    for name, value in (("--top", top), ("--seeds", seeds)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, but got {value}")
    snapshot = Snapshot.read(folder)
    trials = {trial.number: trial for trial in snapshot.trials}
    experiment = analysis.load(folder.path)
    # A damaged one is named by the search that runs the repeats.
    sound, controls = (table[table.index.isin(list(trials))] for table in (experiment.trials, experiment.controls))
    originals = sorted({*to_confirm(sound, top), *map(int, controls.index[controls["state"] == "complete"])})
    if not originals:
        raise ValueError(f"only complete trials can be repeated, and {folder.path.name!r} has none")
    there = {(trial.record.confirms, trial.config.seed) for trial in snapshot.trials}
    new = next_number(snapshot.numbers, recorded_settings(folder, folder.read_record()))
    repeats: list[TrialRecord] = []
    for number in originals:
        record, config = trials[number].record, trials[number].config
        for seed in range(config.seed + 1, config.seed + 1 + seeds):
            if (number, seed) not in there:
                repeated = as_json(replace(config, seed=seed))
                repeats.append(TrialRecord(new + len(repeats), repeated, control=record.control, confirms=number))
    return repeats

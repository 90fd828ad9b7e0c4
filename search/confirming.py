"""Repeats of the best trials and of the controls with other seeds: what a single seed says may be luck."""

from dataclasses import replace

import analysis
from analysis.ranking import rank
from trainable.config import as_json, trial_config
from trainable.records import ExperimentFolder, TrialRecord


def confirm(folder: ExperimentFolder, *, top: int, seeds: int) -> list[int]:
    """Records repeats of the `top` best trials and of all controls, each with `seeds` other seeds than its own.

    What has been repeated before gets only the repeats it lacks. A repeat differs in its seed alone: the order of the
    data, the augmentation, and what is drawn at random; the dense network is the same. Branches are left out, since
    they begin with a checkpoint of one seed. The caller holds the experiment's lock.

    Returns:
        The numbers of the new trials; a search of the experiment runs them.

    Raises:
        ValueError: if `top` or `seeds` is less than 1, or no trial is complete.
    """
    for name, value in (("--top", top), ("--seeds", seeds)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, but got {value}")
    ranked = rank(analysis.load(folder.path).trials)
    best = ranked[ranked["control"].isna() & ranked["parent"].isna()][:top]
    controls = ranked[ranked["control"].notna()]
    originals = sorted({*map(int, best.index), *map(int, controls.index)})
    if not originals:
        raise ValueError(f"only complete trials can be repeated, and {folder.path.name!r} has none")
    there = {(record.confirms, record.config["seed"]) for record in _records(folder)}
    new = max(trial.number for trial in folder.trials()) + 1
    created = []
    for number in originals:
        record = folder.trial(number).read()
        config = trial_config(record.config)
        for seed in range(config.seed + 1, config.seed + 1 + seeds):
            if (number, seed) not in there:
                repeat = TrialRecord(new, as_json(replace(config, seed=seed)), control=record.control, confirms=number)
                folder.trial(new).create(repeat)
                created.append(new)
                new += 1
    return created


def _records(folder: ExperimentFolder) -> list[TrialRecord]:
    records = []
    for trial in folder.trials():
        try:
            records.append(trial.read())
        except ValueError:
            continue  # damaged: analysis names it
    return records

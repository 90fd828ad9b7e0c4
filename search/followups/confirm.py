"""Repeats of the best trials and of the controls with other seeds, and the twins of the best: the same without a fade.

The result of a single seed may be luck, and a comparison of trials that differ in more than alpha says nothing of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import floor

import analysis
from analysis.rank.comparison import to_confirm
from records.epoch import EpochRow
from records.experiment import ExperimentFolder
from records.trial import TrialRecord, Twin
from search.sampling.controls import next_number
from search.setup.validation import recorded_settings
from search.snapshot import Snapshot, TrialSnapshot
from trainable.config import TrialConfig, as_json
from trainable.schedules.alpha import OneShot


@dataclass(frozen=True)
class Confirmation:
    """What is missing to confirm trials: the records of their repeats and twins, numbered as the next trials."""

    records: tuple[TrialRecord, ...]

    def __str__(self) -> str:
        kinds = [record.kind for record in self.records]
        repeats, twins = kinds.count("repeat"), kinds.count("twin")
        if not self.records:
            return "everything has already been confirmed"
        counted = [f"{repeats} repeats with other seeds"] if repeats else []
        counted += [f"{twins} twins without a fade"] if twins else []
        return f"confirming the best: {', and '.join(counted)}"


def plan_confirmation(
    folder: ExperimentFolder, *, top: int | None, seeds: int, snapshot: Snapshot | None = None
) -> Confirmation:
    """Repeats of `top` trials and of all controls, each with `seeds` other seeds, and twins; nothing is written.

    The trials are the best of those that cut as much as the controls do, taken from each amount in turn, judged by
    their own runs (analysis.rank.comparison.to_confirm). None for `top` means 3, or one per amount if there are more
    amounts. What has been confirmed before gets only what is missing.

    A repeat differs only in its seed: the order of the data, the augmentation, and what is drawn at random; the dense
    network is the same. To each repeat of a trial with an alpha phase there are two twins of the same seed, which cut
    the same channels at once: with as many epochs, and with as much training compute. Branches are left out, since they
    start from a checkpoint of one seed. Where both twins would be the same, there is one.

    Args:
        folder: of the experiment.
        top, seeds: as above.
        snapshot: of its records; None to read them.

    Raises:
        ValueError: if `top` or `seeds` is less than 1, or no trial is complete.
    """
    for name, value in (("--top", top), ("--seeds", seeds)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, but got {value}")
    snapshot = snapshot or Snapshot.read(folder)
    trials = {trial.number: trial for trial in snapshot.trials}
    experiment = analysis.load(folder.path)
    # A damaged one is named by the search that runs the repeats.
    sound, controls = (table[table.index.isin(list(trials))] for table in (experiment.trials, experiment.controls))
    originals = sorted({*to_confirm(sound, top), *map(int, controls.index[controls["state"] == "complete"])})
    if not originals:
        raise ValueError(f"only complete trials can be confirmed, and {folder.path.name!r} has none")
    there = {(trial.record.confirms, trial.record.twin, trial.config.seed) for trial in snapshot.trials}
    number = next_number(snapshot.numbers, recorded_settings(folder, folder.read_record()))
    records: list[TrialRecord] = []
    for original in map(trials.__getitem__, originals):
        for seed in range(original.config.seed + 1, original.config.seed + 1 + seeds):
            for twin, config in _list_configs(original):
                if (original.number, twin, seed) not in there:
                    record = TrialRecord(
                        number + len(records),
                        as_json(replace(config, seed=seed)),
                        control=original.record.control,
                        confirms=original.number,
                        twin=twin,
                    )
                    records.append(record)
    return Confirmation(tuple(records))


def _list_configs(original: TrialSnapshot) -> Iterator[tuple[Twin | None, TrialConfig]]:
    """The configurations to run with each seed: the trial's own, and those of its twins."""
    config = original.config
    yield None, config
    if config.alpha_epochs > 0 and original.rows and not original.is_result_lost:
        twin = replace(config, alpha=OneShot())
        epochs = count_twin_epochs(original.rows)
        if epochs == config.epochs:
            yield "both", twin
            return
        yield "epochs", twin
        yield "compute", replace(twin, epochs=epochs)


def count_twin_epochs(rows: Sequence[EpochRow]) -> int:
    """How many epochs of the pruned network cost at most as much training as the trial of `rows`, which is complete."""
    kept = 1 - rows[-1].mac_sparsity
    # Older rows do not say what they cost; when they were written, alpha did not fall within an epoch.
    whole = {"alpha": 1.0, "retrain": kept}
    cost = sum(whole[row.phase] if row.training_cost is None else row.training_cost for row in rows)
    # So that what rounding leaves below a whole epoch is one.
    return floor(cost / kept + 1e-6)

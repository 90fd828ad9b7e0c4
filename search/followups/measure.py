"""Chooses the trials to measure, and measures them one after another."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import analysis
from analysis.rank.comparison import compared_trials
from analysis.rank.ranking import pareto, rank
from records.experiment import ExperimentFolder
from records.files import is_full_disk
from records.measurement import Measurement, write_measurement
from search.backends.base import MeasureNetwork
from trainable.data.dataset import Split
from trainable.errors import TrialError

log = logging.getLogger("alphaprune")

# If other programs take more than this fraction of the CPU time, latencies are doubtful.
BUSY = 0.1


@dataclass(frozen=True)
class TrialSelection:
    """Which complete trials are measured: the Pareto front, the controls and the trials that the report compares with
    them; or the `top` ranked trials and the controls; or `everything`. Repeats are included, but only run the test set.
    `again`: also those that have been measured before."""

    top: int | None = None
    everything: bool = False
    again: bool = False


def select_trials(folder: ExperimentFolder, selection: TrialSelection) -> list[int]:
    """The numbers of the trials to measure, in ascending order."""
    experiment = analysis.load(folder.path)
    trials = experiment.trials
    complete = trials[trials["state"] == "complete"]
    numbers = set(complete.index)
    if not selection.everything:
        chosen = rank(trials, top=selection.top).index if selection.top else pareto(trials).index
        repeated = complete["confirms"].notna()
        numbers = {*chosen, *complete.index[complete["control"].notna() | repeated]}
        if not selection.top:
            numbers.update(compared_trials(trials, experiment.record.data))
    return sorted(
        int(number)
        for number in numbers
        if selection.again or not folder.trial_folder(int(number)).measurement_path.exists()
    )


def measure_trials(
    folder: ExperimentFolder,
    numbers: Sequence[int],
    test: Split,
    measure_network: MeasureNetwork,
    on_measured: Callable[[int], None] = lambda count: None,
) -> int:
    """Measures the trials `numbers` one after another and writes each one's measure.json.

    A trial that cannot be measured (a damaged network, a lost node) is logged, and the others are measured.

    Args:
        folder: of the experiment.
        numbers: of complete trials.
        test: the test split.
        measure_network: trainable.measurement.protocol's, here or on a node of a cluster.
        on_measured: called with the number of trials measured so far.

    Returns:
        How many were measured.

    Raises:
        OSError: if a disk is full.
    """
    before: Measurement | None = None
    measured = 0
    for count, number in enumerate(numbers, start=1):
        trial = folder.trial_folder(number)
        try:
            light = trial.read_record().kind in ("repeat", "twin")
            found = measure_network(
                trial.model_path.resolve(), folder.dense_path.resolve(), test, light=light, before=before
            )
            write_measurement(trial.measurement_path, found)
        except (TrialError, ValueError, OSError) as error:
            if isinstance(error, OSError) and is_full_disk(error):
                raise
            log.warning("trial %d: %s", number, error)
            continue
        measured += 1
        on_measured(measured)
        before = before if light else found
        log.info("trial %d measured: %s (%d of %d)", number, summarize_measurement(found), count, len(numbers))
        if found.alone is False:
            log.warning(
                "trial %d may not have been measured alone: the machine offers no locks, or other work on it stopped "
                "waiting; its latencies may be far off, and `alphaprune measure` measures it again",
                number,
            )
        if found.busy is not None and found.busy > BUSY:
            log.warning(
                "other programs took %.0f%% of the CPU time just before trial %d was measured, so its latencies may be "
                "far off; `alphaprune measure` measures it again",
                100 * found.busy,
                number,
            )
    return measured


def summarize_measurement(found: Measurement) -> str:
    """A measurement in a few words."""
    parts = []
    if found.pruned and found.pruned.test and found.pruned.test.accuracy is not None:
        parts.append(f"test accuracy {found.pruned.test.accuracy:.4f}")
    speedups = [(each.batch_size, each.speedup.median) for each in found.latency if each.speedup.median is not None]
    if speedups:
        times = ", ".join(f"{speedup:.2f}x at batch {size}" for size, speedup in speedups)
        parts.append(f"speed-up {times}")
    return ", ".join(parts)

"""The same search in this process: no cluster, one trial after another, for debugging and tests."""

from records.experiment import ExperimentFolder
from records.trial import TrialFolder
from search.interruption import full_disk_interrupts
from search.observers.progress import SearchProgress
from search.sampling.early_stopping import SuccessiveHalving
from search.sampling.trial_source import Search
from search.settings import Settings
from trainable.data.dataset import Data
from trainable.dense import Dense, load_dense
from trainable.recorded_trial import RecordedTrial, stop


def run_local(
    search: Search,
    stopping: SuccessiveHalving,
    folder: ExperimentFolder,
    settings: Settings,
    data: Data,
    progress: SearchProgress,
) -> None:
    """Runs what `search` hands out until there is no more, and tells it how each trial ended."""
    dense = load_dense(folder.dense)
    with full_disk_interrupts():
        while (number := search.next()) is not None:
            run_trial(folder.trial(number), stopping, settings, data, dense, progress)
            search.tell(number)
            progress.ended(number)


def run_trial(
    files: TrialFolder,
    stopping: SuccessiveHalving,
    settings: Settings,
    data: Data,
    dense: Dense,
    progress: SearchProgress,
) -> None:
    """Runs one trial to its end, as its record has it; what crashes is tried again, as often as a cluster would."""
    threads, keep = settings.resources.cpus_per_trial, settings.search.keep_at_alpha
    stoppable = files.read().asked
    for failures in range(settings.search.max_failures + 1):
        try:
            trial = RecordedTrial(files, data, dense, threads=threads, keep_at_alpha=keep)
            while not trial.finished:
                row = trial.step()
                progress.epoch(files.number, row)
                if stoppable and not stopping.goes_on(files.number, row):
                    stop(files, keep)
                    break
            return
        except OSError:
            raise  # the storage's trouble and not the trial's
        except Exception as error:
            try:
                if files.read().state == "failed":
                    return  # and it would fail again
                if failures == settings.search.max_failures:
                    files.end("failed", f"{type(error).__name__}: {error}")
            except ValueError:
                return  # its record is damaged, so that nobody can go on with it

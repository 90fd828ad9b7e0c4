"""The same search in this process: no cluster, one trial after another, for debugging and tests."""

from pathlib import Path

from search.early_stopping import SuccessiveHalving
from search.progress import SearchProgress
from search.study import Search
from trainable.data import Data
from trainable.dense import load_dense
from trainable.recorded import RecordedTrial
from trainable.records import ExperimentFolder
from trainable.training import DivergedError


def run_local(
    search: Search,
    stopping: SuccessiveHalving,
    folder: ExperimentFolder,
    data: Data,
    progress: SearchProgress,
    *,
    threads: int,
) -> None:
    """Runs what `search` hands out until there is no more, and tells it how each trial ended."""
    dense = load_dense(Path(folder.dense))
    while (number := search.next()) is not None:
        files = folder.trial(number)
        control = files.read().control is not None
        try:
            trial = RecordedTrial(files, data, dense, threads=threads)
            while not trial.finished:
                row = trial.step()
                progress.epoch()
                if not control and not stopping.goes_on(number, row["epoch"], row["pruned_val_accuracy"]):
                    files.end("stopped")
                    break
        except (ValueError, DivergedError) as error:
            files.end("failed", str(error))
        search.tell(number)
        progress.ended(number)

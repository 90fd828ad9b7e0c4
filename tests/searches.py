"""Searches that take seconds, drivers in processes of their own, and what must hold whatever has happened to them."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from optuna.trial import TrialState
from typer.testing import CliRunner, Result

from records.epoch import EpochRow
from records.experiment import DataRecord, ExperimentFolder, ExperimentRecord
from records.trial import TrialFolder
from search.cli import app
from search.observers.observer import SearchObserver
from search.sampling.suggestion import SpaceFunction
from search.sampling.trial_source import TrialSource
from search.settings import Settings, as_settings_json
from search.setup.validation import recorded_settings
from search.snapshot import Snapshot
from spaces.space import load_space
from trainable.checkpoints import read_checkpoint
from trainable.config import TrialConfig, trial_config
from trainable.data.dataset import load_data
from trainable.dense import load_dense
from trainable.trial import Trial

TIMES = {"epoch_seconds", "images_per_second"}
_SETTINGS = """
[data]
source = "digits"
images = {images}
validation_fraction = 0.25

[dense]
width = 0.0625
epochs = {dense_epochs}
optimizer = {{ batch_size = 32 }}

[trial]
epochs = {epochs}
alpha_fraction = {alpha_fraction}
optimizer = {{ batch_size = 32 }}
lr = {{ policy = "cosine", warmup_epochs = {warmup_epochs} }}
pruning = {{ amount = 0.5, round_to = 1 }}

[space.options]
amounts = {amounts}

[controls]
amounts = [0.5]

[results]
measure = false
report = false

[search]
trials = {trials}
checkpoint_seconds = 0
early_stopping = {{ enabled = false }}
"""
# Two hundred digits, VGG16 at a sixteenth of its width, three epochs a trial.
TINY = _SETTINGS.format(
    images=200, dense_epochs=2, epochs=3, alpha_fraction=0.34, warmup_epochs=0, amounts=[0.5], trials=3
)
# A search of some twenty seconds on one core: long enough to be hit in each of its phases.
SETTINGS = _SETTINGS.format(
    images=300, dense_epochs=4, epochs=8, alpha_fraction=0.4, warmup_epochs=1, amounts=[0.5, 0.75], trials=8
)
# Of the head of a Ray cluster on this machine. It asks its nodes every second whether they are there, not every three,
# and so takes 5 s to notice that one is gone, not 16; one that is slow may take as long to answer as ever.
RAY_HEAD = {"include_dashboard": False, "_system_config": {"health_check_period_ms": 1000}}


ALPHAPRUNE = ("-m", "alphaprune")
# A driver that is seen to be alive at once, and not only after five seconds.
BEATING_OFTEN = (
    "-c",
    "from search.setup import driver_lock; driver_lock.BEAT_SECONDS = 0.1; from search.cli import main; main()",
)


def alphaprune(*arguments: object, code: int = 0) -> Result:
    """`alphaprune ARGUMENTS` in this process, which must end with `code`."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def start(*arguments: object, log: Path, program: Sequence[str] = ALPHAPRUNE) -> "subprocess.Popen[bytes]":
    """`alphaprune ARGUMENTS` in a process group of its own, its output appended to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, *program, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def run(*arguments: object, timeout: float = 240) -> "subprocess.CompletedProcess[str]":
    """`alphaprune ARGUMENTS` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "alphaprune", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def wait_for(condition: Any, *, seconds: float = 300, what: str = "") -> Any:
    """Waits until `condition()` is true, and returns what it gave."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s in vain for {what or condition}")


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def is_worker(pid: int) -> bool:
    """Whether the process is one of Ray's workers. The numbers of dead ones are reused, within minutes under load."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::")
    except OSError:
        return False


@contextmanager
def ended(driver: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Nothing of the driver's process group is left behind, whatever the test did."""
    try:
        yield
    finally:
        if driver.poll() is None:
            os.killpg(driver.pid, signal.SIGKILL)
            driver.wait()


def write_experiment(folder: ExperimentFolder, settings: Settings) -> None:
    """An experiment that has its record, of data that nobody reads, and nothing else."""
    data = DataRecord(
        name="digits", fingerprint="0123", classes=10, train_images=150, validation_images=50, test_images=100
    )
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.write_record(ExperimentRecord(name=folder.path.name, settings=as_settings_json(settings), data=data))


def untimed(rows: Sequence[EpochRow]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.as_values().items() if key not in TIMES} for row in rows]


def open_source(
    folder: ExperimentFolder,
    settings: Settings,
    space: SpaceFunction | None = None,
    observer: SearchObserver | None = None,
) -> TrialSource:
    """What hands out the trials of an experiment, from its records as they are now."""
    space = space or load_space(settings.space.function, settings.space.options)
    return TrialSource(folder, settings, space, Snapshot.read(folder), observer or SearchObserver())


def worker_pids(folder: ExperimentFolder) -> dict[int, int]:
    """Process id of the worker of each trial that runs, by the trial's number."""
    records = [trial.read_record() for trial in folder.trial_folders()]
    return {r.number: int(r.host.rsplit(":", 1)[1]) for r in records if r.state == "running" and r.host}


class Kept:
    """The rows that must not be computed again; their times tell whether they were."""

    def __init__(self, folder: ExperimentFolder) -> None:
        self._folder = folder
        self._rows: dict[int, list[EpochRow]] = {}

    def look(self) -> None:
        """Adds what is safe now: at most the last row of a running trial is not yet in a checkpoint."""
        self.check()
        for trial in self._folder.trial_folders():
            rows = trial.read_rows()
            if trial.read_record().state == "running":
                safe = _safe_epochs(trial)
                assert len(rows) - safe <= 1, trial.path
                rows = rows[:safe]
            self._rows[trial.number] = rows

    def check(self) -> None:
        """What was safe is unchanged, down to the times of its epochs."""
        for number, rows in self._rows.items():
            assert self._folder.trial_folder(number).read_rows()[: len(rows)] == rows, (
                f"trial {number} was computed again"
            )


def _safe_epochs(trial: TrialFolder) -> int:
    for checkpoint in trial.list_checkpoints():
        try:
            return len(read_checkpoint(checkpoint, torch.device("cpu"))["rows"])
        except (ValueError, FileNotFoundError):
            continue
    return 0


def check_undisturbed(folder: ExperimentFolder, only: Collection[int] | None = None) -> None:
    """The trials are 0, 1, 2 ..., none is there twice, and their rows so far are those of undisturbed ones.

    Computing rows again takes time: this compares those of the trials in `only` or, if it is not given, of all that
    were started more than once, and of every third.
    """
    settings = recorded_settings(folder, folder.read_record())
    records = [trial.read_record() for trial in folder.trial_folders()]
    assert [record.number for record in records] == list(range(len(records)))
    configs = [json.dumps(record.config, sort_keys=True) for record in records if record.kind == "searched"]
    assert len(set(configs)) == len(configs)
    if only is None:
        only = [record.number for record in records if record.attempt > 1 or record.number % 3 == 0]
    for record in [records[number] for number in sorted(only)]:
        rows = folder.trial_folder(record.number).read_rows()
        undisturbed = _undisturbed_trial(folder, settings, trial_config(record.config))
        while len(undisturbed.rows) < len(rows):
            undisturbed.run_epoch()
        assert untimed(rows) == untimed(undisturbed.rows[: len(rows)]), f"trial {record.number}"
    for record in records:
        if record.state != "running":
            rows = folder.trial_folder(record.number).read_rows()
            assert (len(rows) == record.config["epochs"]) == (record.state == "complete")


_undisturbed: dict[tuple[object, ...], Trial] = {}


def _undisturbed_trial(folder: ExperimentFolder, settings: Settings, config: TrialConfig) -> Trial:
    """The same trial in this process. It is kept, because most searches of these tests have the same trials."""
    weights = hashlib.sha256((folder.dense_path / "model.safetensors").read_bytes()).digest()
    threads = settings.resources.cpus_per_trial
    key = (config, settings.data, threads, weights)
    if key not in _undisturbed:
        data, dense = load_data(settings.data), load_dense(folder.dense_path)
        _undisturbed[key] = Trial(config, data, dense, threads=threads)
    return _undisturbed[key]


def check_whole(folder: ExperimentFolder, *, trials: int) -> None:
    """All trials are there and as they should be, all have ended, and nothing is left over."""
    check_undisturbed(folder)
    settings = recorded_settings(folder, folder.read_record())
    records = [trial.read_record() for trial in folder.trial_folders()]
    assert len(records) == trials
    assert {record.state for record in records} <= {"complete", "stopped"}
    assert list(folder.path.rglob("checkpoint*")) == []
    snapshot = Snapshot.read(folder)
    assert snapshot.problems == ()
    assert not [trial.number for trial in snapshot.trials if trial.is_result_lost]
    source = open_source(folder, settings)
    assert source.next_trial() is None
    assert {trial.state for trial in source.study.trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert len(source.study.trials) == sum(record.kind == "searched" for record in records)

"""Speed, memory, size and test accuracy of the pruned networks, each in fresh processes, alone on the machine."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import analysis
from analysis.rank.comparison import compared_trials
from analysis.rank.ranking import pareto, rank
from records.experiment import ExperimentFolder
from records.files import now, write_json
from trainable.data.dataset import Split
from trainable.device import cpus
from trainable.errors import TrialError, is_full_disk
from trainable.measurement import latency, memory
from trainable.measurement.machine_lock import measuring

MEASUREMENT = "measure.json"
LATENCY_SECONDS = 1.5
# Before a measurement the machine is watched for so long: what else runs on it makes latencies worthless.
BUSY_SECONDS = 0.5
BUSY = 0.1


@dataclass(frozen=True)
class Selection:
    """Which complete trials are measured: those on the front, the controls and what the report compares with them; or
    the `top` ranked and the controls; or `everything`. Repeats with other seeds only run the test set. `again`: also
    what has been measured before."""

    top: int | None = None
    everything: bool = False
    again: bool = False


def selected(folder: ExperimentFolder, selection: Selection) -> list[int]:
    """The numbers of the trials to measure, in their order."""
    experiment = analysis.load(folder.path)
    trials = experiment.trials
    complete = trials[trials["state"] == "complete"]
    numbers = set(complete.index)
    if not selection.everything:
        chosen = rank(trials, top=selection.top).index if selection.top else pareto(trials).index
        repeated = complete["confirms"].notna()
        numbers = {*chosen, *complete.index[complete["control"].notna() | repeated]}
        if not selection.top:
            numbers.update(compared_trials(trials, experiment.record.get("data") or {}))
    return sorted(
        int(number)
        for number in numbers
        if selection.again or not (folder.trial(int(number)).model / MEASUREMENT).exists()
    )


Runner = Callable[..., dict[str, Any]]


def measure_trials(
    folder: ExperimentFolder, numbers: Sequence[int], test: Split, *, run: Runner, say: Callable[[str], None]
) -> int:
    """Measures the trials `numbers` one after another and writes each one's measure.json.

    What cannot be measured (a damaged network, a node that was lost) is said, and the others are measured all the same.

    Args:
        folder: of the experiment.
        numbers: of complete trials.
        test: the test split.
        run: calls measure_network with the arguments it gets, here or on a node of a cluster.
        say: takes a line for people.

    Returns:
        How many were measured.

    Raises:
        OSError: if a disk is full.
    """
    before: dict[str, Any] | None = None
    measured = 0
    for count, number in enumerate(numbers, start=1):
        trial = folder.trial(number)
        try:
            light = trial.read().confirms is not None
            found = run(trial.model.resolve(), folder.dense.resolve(), test, light=light, before=before)
            write_json(trial.model / MEASUREMENT, found)
        except (TrialError, ValueError, OSError) as error:
            if isinstance(error, OSError) and is_full_disk(error):
                raise
            say(f"alphaprune: trial {number}: {error}")
            continue
        measured += 1
        before = before if light else found
        say(f"trial {number} measured: {summary(found)} ({count} of {len(numbers)})")
        if not found.get("alone", True):
            say(
                f"alphaprune: there was no lock to be had on the machine that measured trial {number}, so what trained "
                "there meanwhile was not kept from it, and its latencies may be far off"
            )
        if found.get("busy", 0) > BUSY:
            say(
                f"alphaprune: other programs took {found['busy']:.0%} of the CPUs' time before trial {number} was "
                "measured, so its latencies may be far off; `alphaprune measure` measures again"
            )
    return measured


def measure_network(
    model: Path,
    dense: Path,
    test: Split,
    *,
    light: bool = False,
    before: dict[str, Any] | None = None,
    on_wait: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """What a measure.json holds, measured on this machine while nothing else trains or is measured on it.

    `alone` is whether that could be seen to, `busy` the fraction of the CPUs' time that other programs took right
    before; what others do with a GPU is not seen.

    Args:
        model, dense: folders of the pruned and of the dense network.
        test: the test split.
        light: run the test set only.
        before: what was measured last of the same dense network. It is measured alone no second time on one machine.
        on_wait: is called if something that trains has to be waited for.

    Raises:
        TrialError: if a network cannot be measured.
        OSError: if there is no room for the test split in the machine's temporary folder.
    """
    with _saved(test) as path, measuring(on_wait) as alone:
        if light:
            return {"created": now(), "alone": alone, "latency": [], "pruned": job("accuracy", model, test=path)}
        found = {"created": now(), "alone": alone, "busy": busy(), **job("latency", dense, model)}
        if before and all(before[key] == found[key] for key in ("host", "measured_on")):
            of_dense = before["dense"]
        else:
            of_dense = _by_itself(dense, path)
        return {**found, "dense": of_dense, "pruned": _by_itself(model, path)}


def _by_itself(network: Path, test: Path) -> dict[str, Any]:
    """Size, memory and test of one network; timed in a process of its own, since to sample memory takes time."""
    found, timed = job("memory", network, test=test), job("accuracy", network, test=test)
    return {**found, "test": {**timed["test"], **found["test"]}}


def busy() -> float:
    """The fraction of the time of this process's CPUs that other programs take, over BUSY_SECONDS."""
    of_each: list[float] = psutil.cpu_percent(interval=BUSY_SECONDS, percpu=True)
    own = [taken for cpu, taken in enumerate(of_each) if cpu in cpus()]
    return sum(own) / max(1, len(own)) / 100


def job(kind: str, *networks: Path, test: Path | None = None) -> dict[str, Any]:
    """A job of trainable.measurement.job in a fresh process, which does not outlive this call."""
    request = {
        "kind": kind,
        "networks": [str(network) for network in networks],
        "test": str(test),
        "threads": len(cpus()),
        "seconds": LATENCY_SECONDS,
    }
    with subprocess.Popen(
        [sys.executable, "-m", "trainable.measurement.job"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],  # where `trainable` is, also where it is not installed
        env={**os.environ, **(memory.ENVIRONMENT if kind == "memory" else latency.ENVIRONMENT)},
        text=True,
    ) as process:
        try:
            found, errors = process.communicate(json.dumps(request))
        finally:
            process.kill()
    if process.returncode:
        last = errors.strip().splitlines()[-1:] or [f"its process ended with {process.returncode}"]
        raise TrialError(f"{networks[-1]} cannot be measured: {last[0]}")
    result: dict[str, Any] = json.loads(found)
    return result


@contextmanager
def _saved(test: Split) -> Iterator[Path]:
    """The test split as a file for the processes that measure."""
    with tempfile.TemporaryDirectory(prefix="alphaprune-") as folder:
        path = Path(folder) / "test.npz"
        np.savez(path, images=test.images, labels=test.labels)
        yield path


def summary(found: dict[str, Any]) -> str:
    """What a measure.json says, in a few words."""
    speedups = {each["batch_size"]: each["speedup"]["median"] for each in found["latency"]}
    times = ", ".join(f"{speedup:.2f}x at batch {size}" for size, speedup in speedups.items())
    accuracy = f"test accuracy {found['pruned']['test']['accuracy']:.4f}"
    return f"{accuracy}, speed {times} of dense" if times else accuracy

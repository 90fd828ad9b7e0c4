"""How a network is measured: alone on the machine, each figure in a fresh process, together with the dense network."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import psutil
from pydantic import TypeAdapter, ValidationError

from records.files import now
from records.measurement import Measurement, NetworkMeasurement
from trainable.cpus import count_cpus, cpus
from trainable.data.dataset import Split
from trainable.errors import TrialError
from trainable.function_import import FOLDER_VARIABLE, user_folder
from trainable.measurement import latency, memory
from trainable.measurement.machine_lock import measuring_alone

T = TypeVar("T", Measurement, NetworkMeasurement)

LATENCY_SECONDS = 1.5
# The machine is watched for this long before a measurement: anything else running on it makes latencies worthless.
BUSY_SECONDS = 0.5


def measure_network(
    model: Path,
    dense: Path,
    test: Split,
    *,
    light: bool = False,
    before: Measurement | None = None,
) -> Measurement:
    """Measures a pruned network on this machine while nothing else trains or is measured on it.

    It waits for both, but not forever; `alone` says whether it was. `busy` does not see what others do with a GPU.

    Args:
        model, dense: folders of the pruned and of the dense network.
        test: the test split.
        light: run the test set only.
        before: the last measurement with the same dense network, which is not measured again on the same machine.

    Raises:
        TrialError: if a network cannot be measured.
        OSError: if there is no room for the test split in the machine's temporary folder.
    """
    with _saved_split(test) as path, measuring_alone() as was_alone:
        if light:
            pruned = run_job("accuracy", model, test=path, result=NetworkMeasurement)
            return Measurement(created=now(), alone=was_alone(), pruned=pruned)
        busy = busy_fraction()
        found = replace(run_job("latency", dense, model, result=Measurement), created=now(), busy=busy)
        same_machine = before is not None and (before.host, before.measured_on) == (found.host, found.measured_on)
        of_dense = before.dense if before is not None and same_machine else _measure_alone(dense, path)
        pruned = _measure_alone(model, path)
        return replace(found, alone=was_alone(), dense=of_dense, pruned=pruned)


def _measure_alone(network: Path, test: Path) -> NetworkMeasurement:
    """Size, memory and test of one network; timed in a process of its own, since sampling memory takes time."""
    sampled = run_job("memory", network, test=test, result=NetworkMeasurement)
    timed = run_job("accuracy", network, test=test, result=NetworkMeasurement).test
    assert sampled.test is not None
    assert timed is not None
    found = replace(sampled.test, images=timed.images, accuracy=timed.accuracy, loss=timed.loss, seconds=timed.seconds)
    return replace(sampled, test=found)


def busy_fraction() -> float:
    """The fraction of time for which other programs use this process's CPUs, over BUSY_SECONDS."""
    of_each: list[float] = psutil.cpu_percent(interval=BUSY_SECONDS, percpu=True)
    own = [taken for cpu, taken in enumerate(of_each) if cpu in cpus()]
    return sum(own) / max(1, len(own)) / 100


def run_job(kind: str, *networks: Path, test: Path | None = None, result: type[T]) -> T:
    """Runs a job of trainable.measurement.job in a fresh process, which does not outlive this call.

    Args:
        kind, networks, test: of the job.
        result: the type that the job returns.

    Raises:
        TrialError: if it fails, with the last line of its errors.
    """
    request = {
        "kind": kind,
        "networks": [str(network) for network in networks],
        "test": str(test),
        "threads": count_cpus(),
        "seconds": LATENCY_SECONDS,
    }
    with subprocess.Popen(
        [sys.executable, "-m", "trainable.measurement.job"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],  # where `trainable` is, even if it is not installed
        env={
            **os.environ,
            FOLDER_VARIABLE: str(user_folder()),  # for a function that builds the network
            **(memory.ENVIRONMENT if kind == "memory" else latency.ENVIRONMENT),
        },
        text=True,
    ) as process:
        try:
            output, errors = process.communicate(json.dumps(request))
        finally:
            process.kill()
    if process.returncode:
        last = errors.strip().splitlines()[-1:] or [f"its process exited with {process.returncode}"]
        raise TrialError(f"{networks[-1]} cannot be measured: {last[0]}")
    try:
        return TypeAdapter(result).validate_json(output, strict=True)
    except ValidationError as error:
        raise TrialError(f"{networks[-1]} cannot be measured: its process gave an invalid result: {error}") from error


@contextmanager
def _saved_split(test: Split) -> Iterator[Path]:
    """The test split as a file for the processes that measure."""
    with tempfile.TemporaryDirectory(prefix="alphaprune-") as folder:
        path = Path(folder) / "test.npz"
        np.savez(path, images=test.images, labels=test.labels)
        yield path

"""Ray's own processes die while a search runs: it ends with the command that resumes it, and nothing is lost."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from ray.cluster_utils import Cluster
from searches import RAY_HEAD, SETTINGS, TINY, Kept, alphaprune, check_whole, ended, run, start, wait_for

from records.dense import read_dense_rows
from records.experiment import ExperimentFolder
from search.backends.ray.cluster import connect

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "search.toml"
    path.write_text(SETTINGS.replace("epochs = 4", "epochs = 12", 1).replace("trials = 8", "trials = 1"))
    return path


def has_dense_rows(folder: ExperimentFolder) -> bool:
    return bool(read_dense_rows(folder.dense_path))


def has_trial_rows(folder: ExperimentFolder) -> bool:
    return any(trial.read_rows() for trial in folder.trial_folders())


def find_part(driver: "subprocess.Popen[bytes]", name: str) -> psutil.Process:
    """One of the processes of the cluster that a driver has started."""
    (found,) = (each for each in psutil.Process(driver.pid).children(recursive=True) if each.name() == name)
    return found


def is_left(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def check_end(driver: "subprocess.Popen[bytes]", log: Path, *resume: object) -> None:
    assert driver.wait(timeout=60) == 1, log.read_text()
    *_, reason, last = log.read_text().strip().splitlines()
    assert reason.startswith("alphaprune: the Ray cluster is gone: its ")
    assert last == " ".join(map(str, resume))
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize(("part", "moment"), [("gcs_server", has_dense_rows), ("raylet", has_trial_rows)])
def test_the_cluster_of_a_search_dies(
    part: str, moment: Callable[[ExperimentFolder], bool], settings: Path, tmp_path: Path
) -> None:
    """Another cluster continues what the dense network lost, and this process what the trials lost."""
    folder, log = ExperimentFolder(tmp_path / "search"), tmp_path / "log"
    driver = start("run", settings, "--storage", tmp_path, log=log)
    kept = Kept(folder)
    with ended(driver):
        wait_for(lambda: moment(folder), what="the moment")
        victim = find_part(driver, part)
        others = psutil.Process(driver.pid).children(recursive=True)
        kept.look()
        victim.kill()
        check_end(driver, log, "alphaprune", "resume", "search", "--storage", tmp_path)
        wait_for(lambda: not any(is_left(each) for each in others), seconds=60, what="the rest of Ray to end")
    how = [] if moment is has_dense_rows else ["--local"]  # starting another cluster takes the longest
    result = run("resume", "search", "--storage", tmp_path, *how)
    assert result.returncode == 0, result.stderr
    kept.check()
    check_whole(folder, trials=4)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, **RAY_HEAD})
    yield cluster
    cluster.shutdown()


@pytest.mark.parametrize("part", ["gcs_server", "raylet"])
def test_the_head_of_the_cluster_dies(part: str, cluster: Cluster, settings: Path, tmp_path: Path) -> None:
    folder, log = ExperimentFolder(tmp_path / "search"), tmp_path / "log"
    where = ("--storage", tmp_path, "--address", cluster.address)
    driver = start("run", settings, *where, log=log)
    kept = Kept(folder)
    with ended(driver):
        wait_for(lambda: has_trial_rows(folder), what="an epoch")
        (process,) = cluster.head_node.all_processes[part]
        os.kill(process.process.pid, signal.SIGKILL)
        check_end(driver, log, "alphaprune", "resume", "search", *where)
    # Workers of the lost node may still be there, but the next attempt keeps them from writing.
    kept.look()
    result = run("resume", "search", "--storage", tmp_path, *([] if part == "raylet" else ["--local"]))
    assert result.returncode == 0, result.stderr
    kept.check()
    check_whole(folder, trials=4)


def test_the_cluster_dies_during_a_measurement(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "search.toml").write_text(TINY)
    alphaprune("run", tmp_path / "search.toml", "--storage", tmp_path, "--local")
    log = tmp_path / "log"
    where = ("--storage", tmp_path, "--address", cluster.address)
    driver = start("measure", "search", *where, log=log)
    with ended(driver):
        wait_for(lambda: "trial 0 measured" in log.read_text(), what="a measurement")
        (process,) = cluster.head_node.all_processes["gcs_server"]
        os.kill(process.process.pid, signal.SIGKILL)
        check_end(driver, log, "alphaprune", "measure", "search", *where)


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(KeyError), connect(None):
        raise KeyError("x")

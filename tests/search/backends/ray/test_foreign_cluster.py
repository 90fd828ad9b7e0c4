"""A search on a Ray cluster that others started: nodes on this machine, with GPUs that exist on paper only."""

import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from ray.cluster_utils import Cluster
from searches import (
    RAY_HEAD,
    SETTINGS,
    TINY,
    Kept,
    alive,
    alphaprune,
    check_undisturbed,
    check_whole,
    ended,
    run,
    start,
    wait_for,
    worker_pids,
)

import analysis
from records.experiment import ExperimentFolder
from records.trial import TrialFolder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]

NODE = {"num_cpus": 1, "num_gpus": 1}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, **RAY_HEAD})
    yield cluster
    cluster.shutdown()


def nodes_in_use(folder: ExperimentFolder) -> set[int]:
    """The nodes whose workers run trials now, by the process ids of their raylets."""
    found = set()
    for pid in worker_pids(folder).values():
        try:
            found.add(psutil.Process(pid).ppid())
        except psutil.NoSuchProcess:
            continue
    return found


def test_a_search_outlives_the_loss_of_nodes(cluster: Cluster, tmp_path: Path) -> None:
    draw = random.Random(7)
    node = cluster.add_node(**NODE)
    cluster.wait_for_nodes()
    settings, log = tmp_path / "search.toml", tmp_path / "log"
    # More trials than the test can finish, however long Ray takes to notice a loss; and longer ones than it takes to
    # start a worker, or a trial that waits for the new node would get the worker of one that has ended.
    settings.write_text(SETTINGS.replace("epochs = 8", "epochs = 40").replace("trials = 8", "trials = 500"))
    folder = ExperimentFolder(tmp_path / "search")
    kept, all_lost = Kept(folder), set()
    command = ["run", settings, "--storage", tmp_path, "--address", cluster.address, "--gpus-per-trial", "0.5"]
    driver = start(*command, "--set", "search.max_failures=0", log=log)  # a lost node is not the trial's failure
    with ended(driver):
        for losses in (1, 2):
            wait_for(lambda: len(nodes_in_use(folder)) == 2, what="trials on both nodes")
            time.sleep(draw.uniform(0, 2))
            kept.look()
            lost = wait_for(lambda node=node: trials_on(node, folder), what="a trial on the node")  # type: ignore[misc]
            rows = {
                number: len(folder.trial_folder(number).read_rows()) + 1 for number in lost
            }  # another may have started since
            cluster.remove_node(node, allow_graceful=False)
            wait_for(
                lambda losses=losses: log.read_text().count("the cluster now has room for 1 trial (was 2)") == losses,  # type: ignore[misc]
                what="the loss to be told",
            )
            wait_for(
                lambda rows=rows: all(went_on(folder.trial_folder(number), done) for number, done in rows.items()),  # type: ignore[misc]
                what="its trial to continue",
            )
            all_lost |= lost
            node = cluster.add_node(**NODE)
        wait_for(lambda: len(nodes_in_use(folder)) == 2, what="the new node to be used")
        kept.look()
        driver.send_signal(signal.SIGTERM)
        assert driver.wait(timeout=60) == 143, log.read_text()
    check_undisturbed(folder, all_lost)
    kept.check()
    text = log.read_text()
    assert "2 nodes with 2 CPUs and 2 GPUs: 2 trials at once, each on 1 CPU and 0.5 GPUs" in text
    assert "the cluster now has room for 2 trials (was 1)" in text
    assert "Traceback" not in text
    where = f"--storage {tmp_path} --address {cluster.address} --gpus-per-trial 0.5"
    assert text.splitlines()[-1] == f"alphaprune resume search {where}"


def trials_on(node: object, folder: ExperimentFolder) -> set[int]:
    """The trials that are running on a Cluster's node."""
    found = set()
    for number, pid in worker_pids(folder).items():
        with suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).ppid() == raylet_of(node):
                found.add(number)
    return found


def went_on(trial: TrialFolder, rows: int) -> bool:
    return trial.read_record().attempt > 1 and len(trial.read_rows()) > rows


def test_a_driver_that_dies_on_a_different_node_from_its_workers(cluster: Cluster, tmp_path: Path) -> None:
    settings, log = tmp_path / "search.toml", tmp_path / "log"
    settings.write_text(SETTINGS.replace("trials = 8", "trials = 2"))
    folder = ExperimentFolder(tmp_path / "search")
    kept = Kept(folder)
    where = ["--storage", tmp_path, "--address", cluster.address]
    driver = start("run", settings, *where, log=log)
    with ended(driver):
        wait_for(lambda: any(trial.read_rows() for trial in folder.trial_folders()), what="an epoch")
        workers = worker_pids(folder)
        assert workers
        driver.kill()
        driver.wait()
        # They are the node's children, and stop nevertheless.
        wait_for(lambda: not any(alive(pid) for pid in workers.values()), seconds=30, what="workers to stop")
    kept.look()
    result = run("resume", "search", *where)
    assert result.returncode == 0, result.stderr
    kept.check()
    check_whole(folder, trials=5)


def raylet_of(node: object) -> int:
    """The process id of a Cluster's node."""
    (raylet,) = node.all_processes["raylet"]  # type: ignore[attr-defined]
    return int(raylet.process.pid)


def test_networks_are_measured_on_a_node_of_the_cluster(cluster: Cluster, tmp_path: Path) -> None:
    settings = tmp_path / "search.toml"
    settings.write_text(
        TINY.replace("[controls]", "[controls]\nkinds = ['one_shot']").replace("trials = 3", "trials = 0")
    )
    alphaprune("run", settings, "--storage", tmp_path, "--local")
    measured = run("measure", "search", "--storage", tmp_path, "--address", cluster.address)
    assert measured.returncode == 0, measured.stderr
    assert "trial 0 measured" in measured.stderr
    trial = analysis.load(tmp_path / "search").trials.loc[0]
    assert trial["batch256_latency_ms"] > 0
    assert trial["test_accuracy"] >= 0


def test_asking_for_more_than_a_node_has_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    settings, log = tmp_path / "search.toml", tmp_path / "log"
    settings.write_text(SETTINGS)
    driver = start(
        *("run", settings, "--storage", tmp_path / "r", "--address", cluster.address, "--gpus-per-trial", "2"), log=log
    )
    with ended(driver):
        assert driver.wait(timeout=60) == 2
    assert "--gpus-per-trial" in log.read_text().splitlines()[-1]
    assert not (tmp_path / "r").exists()

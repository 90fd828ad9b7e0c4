"""A search on a Ray cluster that others started: nodes on this machine, with GPUs that exist on paper only."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from ray.cluster_utils import Cluster
from searches import SETTINGS, TINY, alphaprune, check_whole, ended, run, start, wait_for, worker_pids

import analysis
from trainable.records import ExperimentFolder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]

NODE = {"num_cpus": 1, "num_gpus": 1}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
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


def completed(folder: ExperimentFolder) -> int:
    return sum(trial.read().state == "complete" for trial in folder.trials())


def test_a_search_outlives_the_loss_of_a_node(cluster: Cluster, tmp_path: Path) -> None:
    node = cluster.add_node(**NODE)
    cluster.wait_for_nodes()
    settings, log = tmp_path / "search.toml", tmp_path / "log"
    # Long trials, so that some run when the loss is noticed, which takes Ray a while, and when the new node joins.
    settings.write_text(SETTINGS.replace("epochs = 8", "epochs = 30").replace("trials = 8", "trials = 4"))
    folder = ExperimentFolder(tmp_path / "search")
    command = ["run", settings, "--storage", tmp_path, "--address", cluster.address, "--gpus-per-trial", "0.5"]
    driver = start(*command, log=log)
    with ended(driver):
        wait_for(lambda: len(nodes_in_use(folder)) == 2, what="trials on both nodes")
        lost = {number for number, pid in worker_pids(folder).items() if psutil.Process(pid).ppid() == raylet_of(node)}
        cluster.remove_node(node, allow_graceful=False)
        wait_for(lambda: "has room for: 1 now, 2 before" in log.read_text(), what="the loss to be told")
        before = completed(folder)
        wait_for(lambda: completed(folder) > before, what="the search to go on")
        cluster.add_node(**NODE)
        wait_for(lambda: len(nodes_in_use(folder)) == 2, what="the new node to be used")
        assert driver.wait(timeout=300) == 0, log.read_text()
    check_whole(folder, trials=7)
    assert lost
    assert all(folder.trial(number).read().attempt > 1 for number in lost)
    text = log.read_text()
    assert "2 nodes with 2 CPUs and 2 GPUs: 2 trials at once, each on 1 CPU and 0.5 GPUs" in text
    assert "has room for: 2 now, 1 before" in text
    assert "Traceback" not in text


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


def test_more_than_a_node_has_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    settings, log = tmp_path / "search.toml", tmp_path / "log"
    settings.write_text(SETTINGS)
    driver = start(
        *("run", settings, "--storage", tmp_path / "r", "--address", cluster.address, "--gpus-per-trial", "2"), log=log
    )
    with ended(driver):
        assert driver.wait(timeout=60) == 2
    assert "--gpus-per-trial" in log.read_text().splitlines()[-1]
    assert not (tmp_path / "r").exists()

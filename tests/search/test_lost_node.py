"""Two Ray nodes on this machine with fake GPUs: trials run on both; one is lost, another joins, nothing is lost."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from ray.cluster_utils import Cluster
from searches import SETTINGS, check_whole, ended, start, wait_for, worker_pids

from trainable.records import ExperimentFolder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 1, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


def raylets(folder: ExperimentFolder) -> set[int]:
    """The nodes, by the process ids of their raylets, whose workers run trials now."""
    found = set()
    for pid in worker_pids(folder).values():
        try:
            found.add(psutil.Process(pid).ppid())
        except psutil.NoSuchProcess:
            continue
    return found


def test_trials_survive_the_loss_of_a_node(cluster: Cluster, tmp_path: Path) -> None:
    node = cluster.add_node(num_cpus=1, num_gpus=1)
    cluster.wait_for_nodes()
    settings, log = tmp_path / "search.toml", tmp_path / "log"
    settings.write_text(SETTINGS)
    folder = ExperimentFolder(tmp_path / "search")
    command = ["run", settings, "--storage", tmp_path, "--address", cluster.address, "--gpus-per-trial", "0.5"]
    driver = start(*command, log=log)
    with ended(driver):
        wait_for(lambda: len(raylets(folder)) == 2, what="trials on both nodes")
        begun = {trial.number for trial in folder.trials() if trial.read().state == "running"}
        cluster.remove_node(node, allow_graceful=False)
        wait_for(lambda: "waiting for resources" in log.read_text(), what="the loss to be told")
        ended_before = sum(trial.read().state == "complete" for trial in folder.trials())
        wait_for(
            lambda: sum(trial.read().state == "complete" for trial in folder.trials()) > ended_before,
            what="the search to go on",
        )
        cluster.add_node(num_cpus=1, num_gpus=1)
        wait_for(lambda: len(raylets(folder)) == 2, what="the new node to be used")
        assert driver.wait(timeout=240) == 0, log.read_text()
    check_whole(folder, trials=11)
    assert any(folder.trial(number).read().attempt > 1 for number in begun)
    text = log.read_text()
    assert "2 nodes with 2 CPUs and 2 GPUs: 2 trials at once, each on 1 CPU and 0.5 GPUs" in text
    assert "the cluster has room again" in text
    assert "Traceback" not in text


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

"""A search on a Ray cluster that others started, here on this machine, with a fake GPU."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster
from searches import SETTINGS, ended, start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 1, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


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

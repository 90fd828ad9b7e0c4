"""Several Ray nodes on this machine, with GPUs that exist on paper only. Real Ray, real processes."""

import tempfile
from collections.abc import Iterator

import pytest
from ray.cluster_utils import Cluster
from searches import RAY_HEAD

from search.backends.ray.cluster import connect


@pytest.fixture(scope="module")
def temp_dir() -> Iterator[str]:
    """Ray's own files; not in /tmp/ray, where other clusters leave traces, and a short path, for names of sockets."""
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield folder


@pytest.fixture(scope="module")
def nodes(temp_dir: str) -> Iterator[Cluster]:
    """A head with 2 CPUs and a node with 8 CPUs and 2 GPUs, and this process connected to them."""
    head = {"num_cpus": 2, "num_gpus": 0, "temp_dir": temp_dir, **RAY_HEAD}
    started = Cluster(initialize_head=True, head_node_args=head)
    try:
        started.add_node(num_cpus=8, num_gpus=2)
        with connect(started.address):
            yield started
    finally:
        started.shutdown()

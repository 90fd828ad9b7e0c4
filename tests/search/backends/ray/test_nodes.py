"""What we count on a cluster is what Ray gives: several nodes on this machine, with GPUs that exist on paper only."""

import os

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.util.placement_group import placement_group, remove_placement_group
from searches import wait_for

from search.backends.base import TrialResources
from search.backends.ray.resources import cluster_nodes, count_room, divide_nodes
from search.settings import ResourceSettings

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def test_the_room_follows_the_nodes(nodes: Cluster) -> None:
    each = divide_nodes(cluster_nodes(), ResourceSettings(gpus_per_trial=0.5))
    assert each == TrialResources(1, 0.5, 4)
    assert count_room(each) == 4
    assert count_room(TrialResources(1, 0, 10)) == 10
    more = nodes.add_node(num_cpus=1, num_gpus=4)
    wait_for(lambda: count_room(each) == 5, what="the node to count")
    assert count_room(TrialResources(1, 0.5, 3, most=3)) == 3
    nodes.remove_node(more, allow_graceful=False)
    wait_for(lambda: count_room(each) == 4, what="the node to count no more")


@pytest.mark.parametrize("gpus", [0.3, 0.4, 0.7, 1])
def test_ray_fits_as_many_trials_as_we_count(nodes: Cluster, gpus: float) -> None:
    held = divide_nodes(cluster_nodes(), ResourceSettings(gpus_per_trial=gpus)).concurrency
    groups = [placement_group([{"CPU": 1, "GPU": gpus}]) for _ in range(held + 1)]
    try:
        assert sum(group.wait(3) for group in groups) == held
    finally:
        for group in groups:
            remove_placement_group(group)


def test_asking_for_what_no_node_has_is_refused(nodes: Cluster) -> None:
    with pytest.raises(ValueError, match="no node has more than 2"):
        divide_nodes(cluster_nodes(), ResourceSettings(gpus_per_trial=3))
    with pytest.raises(ValueError, match="no node has more than 8"):
        divide_nodes(cluster_nodes(), ResourceSettings(cpus_per_trial=9))


def test_a_trial_sees_the_gpus_it_was_given(nodes: Cluster) -> None:
    task = ray.remote(lambda: os.environ.get("CUDA_VISIBLE_DEVICES"))
    assert ray.get(task.options(num_gpus=0).remote()) == ""
    assert ray.get(task.options(num_gpus=0.25).remote()) in ("0", "1")

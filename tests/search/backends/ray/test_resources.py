"""A trial's share of a cluster, from the cluster's nodes alone, without Ray; test_nodes.py asks Ray itself."""

import pytest

from search.backends.base import Node, TrialResources
from search.backends.ray import resources
from search.backends.ray.resources import count_room, divide_nodes
from search.settings import ResourceSettings


def as_nodes(nodes: list[tuple[float, float]]) -> list[Node]:
    return [Node(*node) for node in nodes]


@pytest.mark.parametrize(
    ("nodes", "wanted", "given"),
    [
        ([(2, 0)], ResourceSettings(), TrialResources(1, 0, 2)),
        ([(2, 0)], ResourceSettings(concurrency=1), TrialResources(1, 0, 1, most=1)),
        ([(2, 0)], ResourceSettings(concurrency=9), TrialResources(1, 0, 2, most=9)),
        ([(2, 0)], ResourceSettings(cpus_per_trial=2), TrialResources(2, 0, 1)),
        ([(16, 1)], ResourceSettings(), TrialResources(1, 0.25, 4)),
        ([(16, 1)], ResourceSettings(gpus_per_trial=0), TrialResources(1, 0, 16)),
        ([(16, 1)], ResourceSettings(gpus_per_trial=1), TrialResources(1, 1, 1)),
        ([(2, 1)], ResourceSettings(), TrialResources(1, 0.25, 2)),
        # 0.4 of a GPU fits twice on one, and never across two
        ([(64, 4), (8, 0)], ResourceSettings(gpus_per_trial=0.4), TrialResources(1, 0.4, 8)),
        ([(64, 2)], ResourceSettings(gpus_per_trial=0.3), TrialResources(1, 0.3, 6)),
        ([(64, 2)], ResourceSettings(gpus_per_trial=0.7), TrialResources(1, 0.7, 2)),
        ([(64, 1)], ResourceSettings(gpus_per_trial=0.1), TrialResources(1, 0.1, 10)),
        ([(64, 4), (64, 8)], ResourceSettings(gpus_per_trial=2), TrialResources(1, 2, 6)),
        # a head without a GPU adds nothing to trials that need one
        ([(4, 0), (16, 2)], ResourceSettings(gpus_per_trial=0.5), TrialResources(1, 0.5, 4)),
    ],
)
def test_what_each_trial_gets(
    nodes: list[tuple[float, float]], wanted: ResourceSettings, given: TrialResources
) -> None:
    assert divide_nodes(as_nodes(nodes), wanted) == given


@pytest.mark.parametrize(
    ("nodes", "wanted", "says"),
    [
        ([(2, 0)], ResourceSettings(gpus_per_trial=1), "there are none"),
        ([(2, 1), (2, 2)], ResourceSettings(gpus_per_trial=3), "no node has more than 2"),
        ([(8, 4)], ResourceSettings(gpus_per_trial=1.5), "whole number"),
        ([(8, 4)], ResourceSettings(gpus_per_trial=0.00001), "at least 0.0001"),
        ([(2, 0), (4, 0)], ResourceSettings(cpus_per_trial=5), "no node has more than 4"),
        # there is enough of each, but not on one node
        ([(64, 0), (2, 1)], ResourceSettings(cpus_per_trial=4), "none has both .*=4 and .*=0.25"),
        ([(64, 0), (0, 8)], ResourceSettings(), "none has both"),
    ],
)
def test_asking_for_what_no_node_has_is_refused(
    nodes: list[tuple[float, float]], wanted: ResourceSettings, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        divide_nodes(as_nodes(nodes), wanted)


@pytest.mark.parametrize(
    ("nodes", "each", "room"),
    [
        ([(2, 0)], TrialResources(1, 0, 2), 2),
        ([(2, 0), (4, 0)], TrialResources(1, 0, 2), 6),  # nodes that join count at once
        ([(2, 0), (4, 0)], TrialResources(1, 0, 2, most=2), 2),
        ([(0.5, 0), (2.5, 0)], TrialResources(1, 0, 2), 2),
        ([(16, 2)], TrialResources(1, 0.3, 6), 6),
        ([(16, 0)], TrialResources(1, 0.3, 6), 0),  # all nodes that it could run on have been lost
        ([], TrialResources(1, 0, 2), 0),
    ],
)
def test_the_room_is_what_fits_on_the_living_nodes(
    nodes: list[tuple[float, float]], each: TrialResources, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "cluster_nodes", lambda: as_nodes(nodes))
    assert count_room(each) == room

"""What a trial gets of a cluster, from the cluster's nodes alone."""

import pytest

from search.cluster import Share, share_of
from search.settings import Resources


@pytest.mark.parametrize(
    ("nodes", "asked", "given"),
    [
        ([(2, 0)], Resources(), Share(1, 0, 2)),
        ([(2, 0)], Resources(concurrency=1), Share(1, 0, 1, most=1)),
        ([(2, 0)], Resources(cpus_per_trial=2), Share(2, 0, 1)),
        ([(16, 1)], Resources(), Share(1, 0.25, 4)),
        ([(16, 1)], Resources(gpus_per_trial=0), Share(1, 0, 16)),
        ([(16, 1)], Resources(gpus_per_trial=1), Share(1, 1, 1)),
        ([(2, 1)], Resources(), Share(1, 0.25, 2)),
        # 0.4 of a GPU fits twice into one, and never across two
        ([(64, 4), (8, 0)], Resources(gpus_per_trial=0.4), Share(1, 0.4, 8)),
        ([(64, 4), (64, 8)], Resources(gpus_per_trial=2), Share(1, 2, 6)),
        # a head without a GPU adds nothing to trials that need one
        ([(4, 0), (16, 2)], Resources(gpus_per_trial=0.5), Share(1, 0.5, 4)),
    ],
)
def test_share(nodes: list[tuple[float, float]], asked: Resources, given: Share) -> None:
    assert share_of(nodes, asked) == given


@pytest.mark.parametrize(
    ("nodes", "asked", "says"),
    [
        ([(2, 0)], Resources(gpus_per_trial=1), "no GPU"),
        ([(2, 1), (2, 2)], Resources(gpus_per_trial=3), "at most 2 GPUs a node"),
        ([(8, 4)], Resources(gpus_per_trial=1.5), "whole number"),
        ([(2, 0), (4, 0)], Resources(cpus_per_trial=5), "at most 4"),
    ],
)
def test_what_no_node_has_is_refused(nodes: list[tuple[float, float]], asked: Resources, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        share_of(nodes, asked)

"""What each trial gets of a Ray cluster, and how many trials it holds."""

from collections.abc import Sequence

from search.backends.base import Node, TrialResources
from search.backends.ray.cluster import living_nodes, node_resources
from search.settings import ResourceSettings

# Four trials of a full-width VGG16 fit a GPU of 16 GB.
DEFAULT_GPUS_PER_TRIAL = 0.25
# Ray counts GPUs in ten-thousandths and cuts off the rest.
LEAST_GPUS_PER_TRIAL = 1e-4


def cluster_nodes() -> list[Node]:
    """The living nodes of the connected cluster."""
    return [node_resources(node) for node in living_nodes()]


def count_room(share: TrialResources) -> int:
    """How many trials the living nodes of the connected cluster hold now, at most `share.most`; may be 0.

    Nodes that join or are lost count at once; what others run on the cluster does not. Takes about a millisecond.
    """
    fits = _count_fitting(cluster_nodes(), share.cpus, share.gpus)
    return fits if share.most is None else min(fits, share.most)


def divide_nodes(nodes: Sequence[Node], wanted: ResourceSettings) -> TrialResources:
    """What each trial of a search gets of `nodes`.

    Raises:
        ValueError: if no node can run even one trial, saying what there is.
    """
    cpus, gpus = wanted.cpus_per_trial, wanted.gpus_per_trial
    most_cpus, most_gpus = (max(each) for each in zip(*nodes, strict=True))
    if gpus is None:
        gpus = DEFAULT_GPUS_PER_TRIAL if most_gpus else 0.0
    if gpus > most_gpus:
        has = f"at most {most_gpus:g} GPUs a node" if most_gpus else "no GPU; leave it out, or give 0"
        raise ValueError(f"--gpus-per-trial must be what a node of the cluster has, but got {gpus:g}, and it has {has}")
    if gpus > 1 and gpus != int(gpus):
        raise ValueError(f"--gpus-per-trial must be at most 1 or a whole number, but got {gpus:g}")
    if 0 < gpus < LEAST_GPUS_PER_TRIAL:
        raise ValueError(f"--gpus-per-trial must be 0 or at least {LEAST_GPUS_PER_TRIAL:g}, but got {gpus:g}")
    if cpus > most_cpus:
        raise ValueError(
            f"resources.cpus_per_trial must be what a node of the cluster has, at most {most_cpus:g}, but got {cpus}"
        )
    fits = _count_fitting(nodes, cpus, gpus)
    if not fits:
        raise ValueError(
            f"a trial must fit on one node, but none has both resources.cpus_per_trial={cpus} and "
            f"--gpus-per-trial={gpus:g}; lower one of them"
        )
    return TrialResources(cpus, gpus, min(fits, wanted.concurrency or fits), wanted.concurrency)


def _count_fitting(nodes: Sequence[Node], cpus: int, gpus: float) -> int:
    return sum(min(int(node.cpus // cpus), _count_on_gpus(node.gpus, gpus)) for node in nodes)


def _count_on_gpus(node_gpus: float, gpus: float) -> int:
    """Trials that a node's GPUs hold; a fraction never spans two GPUs."""
    if gpus == 0:
        return 10**6
    return int(node_gpus) * int(1 / gpus + 1e-9) if gpus <= 1 else int(node_gpus // gpus)

"""Each trial's share of a Ray cluster, and how many trials fit on it."""

from collections.abc import Sequence

from search.backends.base import Node, TrialResources
from search.backends.ray.cluster import free_resources, living_nodes, node_resources
from search.settings import ResourceSettings

# Four trials of a full-width VGG16 fit a GPU of 16 GB.
DEFAULT_GPUS_PER_TRIAL = 0.25
# Ray counts GPUs in ten-thousandths and drops the rest.
LEAST_GPUS_PER_TRIAL = 1e-4


def cluster_nodes() -> list[Node]:
    """The living nodes of the connected cluster."""
    return [node_resources(node) for node in living_nodes()]


def count_room(share: TrialResources) -> int:
    """How many trials fit on the living nodes of the connected cluster now, at most `share.most`; may be 0.

    Nodes that join or are lost are noticed at once; other users of the cluster are not. Takes about a millisecond.
    """
    fits = _count_fitting(cluster_nodes(), share.cpus, share.gpus)
    return fits if share.most is None else min(fits, share.most)


def count_free(share: TrialResources) -> int:
    """How many more trials fit on what nobody uses of the connected cluster now."""
    return _count_fitting(list(free_resources().values()), share.cpus, share.gpus)


def divide_nodes(nodes: Sequence[Node], wanted: ResourceSettings) -> TrialResources:
    """Each trial's share of `nodes`.

    Raises:
        ValueError: if no node can run even one trial; the message says what is available.
    """
    cpus, gpus = wanted.cpus_per_trial, wanted.gpus_per_trial
    most_cpus, most_gpus = (max(each) for each in zip(*nodes, strict=True))
    if gpus is None:
        gpus = DEFAULT_GPUS_PER_TRIAL if most_gpus else 0.0
    if gpus > most_gpus:
        has = f"no node has more than {most_gpus:g}" if most_gpus else "there are none; leave it out, or give 0"
        raise ValueError(f"--gpus-per-trial must be at most the GPUs of one node, but got {gpus:g}, and {has}")
    if gpus > 1 and gpus != int(gpus):
        raise ValueError(f"--gpus-per-trial must be at most 1 or a whole number, but got {gpus:g}")
    if 0 < gpus < LEAST_GPUS_PER_TRIAL:
        raise ValueError(f"--gpus-per-trial must be 0 or at least {LEAST_GPUS_PER_TRIAL:g}, but got {gpus:g}")
    if cpus > most_cpus:
        raise ValueError(
            f"resources.cpus_per_trial must be at most the CPUs of one node, but got {cpus}, and no node has more than "
            f"{most_cpus:g}"
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
    """How many trials fit on a node's GPUs; a fraction never spans two GPUs."""
    if gpus == 0:
        return 10**6
    return int(node_gpus) * int(1 / gpus + 1e-9) if gpus <= 1 else int(node_gpus // gpus)

"""One trial of alpha-scheduled pruning: the network, its gates, the schedules, the training, its records.

Importing the package imports no torch: spaces and analysis use the light modules (config, schedules, records) alone.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainable.network.weights import load_pruned

__all__ = ["load_pruned"]


def __getattr__(name: str) -> Any:
    if name != "load_pruned":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from trainable.network.weights import load_pruned  # here, since it imports torch

    return load_pruned

"""Where an experiment runs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Where:
    """Where an experiment runs: in this process (`local`), or on the Ray cluster at `address` (None starts one).

    tensorboard: whether event files are written of it.
    """

    local: bool = False
    address: str | None = None
    tensorboard: bool = False

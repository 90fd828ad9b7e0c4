"""The ways in which a trial can fail. Does not import torch."""

import errno


class TrialError(RuntimeError):
    """The trial has failed, and would fail again in the same way."""


class DivergedError(TrialError):
    """A loss is no longer finite."""


class LostError(TrialError):
    """The node or the process that was computing is gone."""


def is_full_disk(error: OSError) -> bool:
    """Whether a write failed because the disk is full or a quota is used up."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)

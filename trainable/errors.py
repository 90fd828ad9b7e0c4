"""What a trial can fail of. Imports no torch."""

import errno


class TrialError(RuntimeError):
    """The trial has failed, and to try it again would end the same."""


class DivergedError(TrialError):
    """A loss is no longer a number."""


class LostError(TrialError):
    """The node or the process that computed is gone."""


def is_full_disk(error: OSError) -> bool:
    """Whether a write failed for want of room, on the disk or in a quota."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)

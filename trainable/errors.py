"""The ways in which a trial can fail. Does not import torch."""


class TrialError(RuntimeError):
    """The trial has failed, and would fail again in the same way."""


class DivergedError(TrialError):
    """A loss is no longer finite."""


class InexactRemovalError(TrialError):
    """Removing channels changed what a network computes."""


class LostError(TrialError):
    """The node or the process that was computing is gone."""

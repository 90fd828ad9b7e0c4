"""What a trial can fail of. Imports no torch."""


class TrialError(RuntimeError):
    """The trial has failed, and to try it again would end the same."""


class DivergedError(TrialError):
    """A loss is no longer a number."""

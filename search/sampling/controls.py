"""The controls: what alpha has to beat with the same total number of epochs."""

from collections.abc import Collection, Iterator
from dataclasses import replace

from search.settings import ControlKind, Settings
from trainable.config import TrialConfig
from trainable.schedules.alpha import OneShot


def control_configs(settings: Settings) -> Iterator[tuple[ControlKind, TrialConfig]]:
    """The controls, ordered by number: one-shot cuts of `settings.trial`, all kinds at each amount."""
    for amount in settings.controls.amounts:
        for kind in settings.controls.kinds:
            pruning = replace(settings.trial.pruning, amount=amount)
            if kind == "random_channels":
                pruning = replace(pruning, criterion="random")
            control = replace(settings.trial, alpha=OneShot(), pruning=pruning)
            yield kind, replace(control, initial="random") if kind == "from_scratch" else control


def next_number(numbers: Collection[int], settings: Settings) -> int:
    """The number of a new trial: after all existing trials and all controls, including those still to come.

    Args:
        numbers: of all existing trials, damaged ones included.
    """
    controls = len(settings.controls.amounts) * len(settings.controls.kinds)
    return max([controls - 1, *numbers]) + 1

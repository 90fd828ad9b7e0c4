"""The controls: what alpha has to beat, at the same total of epochs."""

from collections.abc import Collection, Iterator
from dataclasses import replace

from search.settings import ControlKind, Settings
from trainable.config import TrialConfig
from trainable.schedules.alpha import OneShot


def control_configs(settings: Settings) -> Iterator[tuple[ControlKind, TrialConfig]]:
    """The controls in the order of their numbers: one-shot cuts of `settings.trial`, at each amount all kinds."""
    for amount in settings.controls.amounts:
        for kind in settings.controls.kinds:
            pruning = replace(settings.trial.pruning, amount=amount)
            if kind == "random_channels":
                pruning = replace(pruning, criterion="random")
            control = replace(settings.trial, alpha=OneShot(), pruning=pruning)
            yield kind, replace(control, initial="random") if kind == "from_scratch" else control


def next_number(numbers: Collection[int], settings: Settings) -> int:
    """The number of a new trial: after all that there are, and after the controls, also those that are still to come.

    Args:
        numbers: of all trials that there are, sound or not.
    """
    controls = len(settings.controls.amounts) * len(settings.controls.kinds)
    return max([controls - 1, *numbers]) + 1

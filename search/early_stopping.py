"""Early stopping: asynchronous successive halving (ASHA, Li et al. 2020), the variant that stops and never pauses."""

from math import ceil

from search.settings import EarlyStopping


class SuccessiveHalving:
    """Decides at each rung whether a trial goes on; knows nothing of who runs the trials.

    At a rung a trial goes on if its value is among the best ceil(n / reduction) of the n seen there so far, its own
    included. So the first to come always goes on, and nobody waits for the others.
    """

    def __init__(self, settings: EarlyStopping, *, epochs: int) -> None:
        """Rungs at epochs first, first * reduction, first * reduction^2 ... below `epochs`, the total of a trial."""
        self._reduction = settings.reduction
        self.rungs: dict[int, dict[int, float]] = {}  # epoch -> trial number -> value
        epoch = settings.first * epochs
        while settings.enabled and ceil(epoch) < epochs:
            self.rungs[ceil(epoch)] = {}
            epoch = max(epoch * settings.reduction, epoch + 1)

    def goes_on(self, number: int, epoch: int, value: float) -> bool:
        """Whether trial `number`, which has reached `value` (higher is better) at `epoch`, goes on."""
        rung = self.rungs.get(epoch)
        if rung is None:
            return True
        rung[number] = value
        better = sum(other > value for other in rung.values())
        return better < ceil(len(rung) / self._reduction)

"""How alpha falls from 1 to 0: one class per family, each with just its own parameters.

Alpha is constant during a stage. Stage j = 1 ... J trains at alpha(u = j / (J + 1)); after stage J comes the cut to 0.
So no stage is spent at 1, where nothing changes, or at 0, where the pruned network does the same work for less.
As functions of u in [0, 1] all families start at 1, never rise and end at exactly 0.
"""

import math
from dataclasses import field
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

# For all configurations; the string under a field is its description.
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class Schedule:
    """What every family offers: alpha over the course of the alpha phase."""

    def alpha_at(self, u: float) -> float:
        """Alpha at the fraction u in [0, 1] of the alpha phase; 1 at u = 0, exactly 0 at u = 1."""
        raise NotImplementedError

    def stage_alphas(self, count: int, start: float = 1.0) -> tuple[float, ...]:
        """Alpha of each of at most `count` stages, each in (0, 1); after the last comes the cut to 0.

        A family may need fewer stages than it is given (multiplicative, piecewise, one_shot): the phase ends early.
        `start` in (0, 1] is the alpha that the schedule continues from, for a branch; 1 is the dense network.
        """
        alphas = (start * self.alpha_at(stage / (count + 1)) for stage in range(1, count + 1))
        # A steep curve can round to 0, which is the cut and not a stage (or, at its start, to 1).
        return tuple(alpha for alpha in alphas if alpha > 0)


@dataclass(frozen=True, config=STRICT)
class Exponential(Schedule):
    """alpha(u) = (e^(-k u) - e^(-k)) / (1 - e^(-k)): steep first, then a long tail."""

    rate: Annotated[float, Field(ge=1, le=8)] = 3.0
    """The rate k: the higher it is, the steeper the beginning."""
    family: Literal["exponential"] = "exponential"
    """Selects this family."""

    def alpha_at(self, u: float) -> float:
        # expm1 keeps the digits that the difference of two nearly equal exponentials would lose.
        return math.exp(-self.rate * u) * math.expm1(-self.rate * (1 - u)) / math.expm1(-self.rate)


@dataclass(frozen=True, config=STRICT)
class Multiplicative(Schedule):
    """alpha = m^j in stage j, until it would fall below `alpha_min` or the stages run out."""

    rate: Annotated[float, Field(ge=0.5, le=0.95)] = 0.7
    """The factor m from one stage to the next."""
    alpha_min: Annotated[float, Field(ge=1e-3, le=5e-2)] = 1e-2
    """Lowest alpha that is trained at; what would be lower is the cut."""
    family: Literal["multiplicative"] = "multiplicative"
    """Selects this family."""

    def alpha_at(self, u: float) -> float:
        """The curve of a phase that is just long enough to reach alpha_min, as a function of its fraction u."""
        return self.alpha_min**u if u < 1 else 0.0

    def stage_alphas(self, count: int, start: float = 1.0) -> tuple[float, ...]:
        # Not stretched over the stages it is given: with few of them the cut is from higher up.
        alphas = (start * self.rate**stage for stage in range(1, count + 1))
        return tuple(alpha for alpha in alphas if alpha >= self.alpha_min)


@dataclass(frozen=True, config=STRICT)
class TimeBased(Schedule):
    """alpha(u) = (1 - u) / (1 + d u), which is 1 / (1 + d u) rescaled to end at 0."""

    rate: Annotated[float, Field(ge=1, le=50)] = 10.0
    """The rate d: the higher it is, the steeper the beginning."""
    family: Literal["time_based"] = "time_based"
    """Selects this family."""

    def alpha_at(self, u: float) -> float:
        return (1 - u) / (1 + self.rate * u)


@dataclass(frozen=True, config=STRICT)
class Polynomial(Schedule):
    """alpha(u) = (1 - u)^p."""

    rate: Annotated[float, Field(ge=1, le=4)] = 3.0
    """The power p: 1 is linear, 3 the cubic of Zhu & Gupta (2017)."""
    family: Literal["polynomial"] = "polynomial"
    """Selects this family."""

    def alpha_at(self, u: float) -> float:
        return float((1 - u) ** self.rate)


@dataclass(frozen=True, config=STRICT)
class Cosine(Schedule):
    """alpha(u) = (1 + cos(pi u)) / 2: flat at both ends."""

    family: Literal["cosine"] = "cosine"
    """Selects this family."""

    def alpha_at(self, u: float) -> float:
        # cos(pi u / 2)^2 is the same function without the cancellation near u = 1; at u = 1 itself pi is not exact.
        return math.cos(math.pi * u / 2) ** 2 if u < 1 else 0.0


@dataclass(frozen=True, config=STRICT)
class OneShot(Schedule):
    """No alpha phase: the cut without a fade, which every other family has to beat."""

    family: Literal["one_shot"] = "one_shot"
    """Selects this family."""

    def alpha_at(self, u: float) -> float:
        return 1.0 if u <= 0 else 0.0


@dataclass(frozen=True, config=STRICT)
class Segment:
    """A piece of a piecewise schedule, which starts where the one before it ended."""

    family: Literal["exponential", "multiplicative", "time_based"]
    """How alpha falls: a * e^(-k t) (`exponential`), a * m^t (`multiplicative`) or a / (1 + d t) (`time_based`), where
    a is the alpha that the segment starts from and t counts its stages from 1."""
    rate: Annotated[float, Field(ge=1e-6)]
    """The rate k, the factor m (below 1) or the rate d."""
    ends_at: Annotated[float, Field(gt=0, lt=1)]
    """Alpha of the segment's last stage."""

    def __post_init__(self) -> None:
        if self.family == "multiplicative" and self.rate >= 1:
            raise ValueError(f"`rate < 1` must hold for a multiplicative segment, but got rate={self.rate}")

    def stage_alphas(self, start: float, limit: int) -> list[float]:
        """Alpha of the segment's stages from `start` > ends_at, at most `limit` of them."""
        alphas: list[float] = []
        while len(alphas) < limit and (not alphas or alphas[-1] > self.ends_at):
            alpha = start * self._decay_factor(len(alphas) + 1)
            # What rounding leaves above the end (0.1 ** 3 > 0.001) is the end, not one more stage.
            alphas.append(alpha if alpha > self.ends_at * (1 + 1e-9) else self.ends_at)
        return alphas

    def _decay_factor(self, t: int) -> float:
        match self.family:
            case "exponential":
                return math.exp(-self.rate * t)
            case "multiplicative":
                return float(self.rate**t)
            case "time_based":
                return 1 / (1 + self.rate * t)


@dataclass(frozen=True, config=STRICT)
class Piecewise(Schedule):
    """Segments one after another, until the last has ended or the stages run out."""

    segments: Annotated[tuple[Segment, ...], Field(min_length=1)] = field(
        default=(Segment("exponential", 0.05, 0.4), Segment("exponential", 0.5, 0.018))
    )
    """The segments in their order, each ending at a lower alpha than the one before it."""
    family: Literal["piecewise"] = "piecewise"
    """Selects this family."""

    def __post_init__(self) -> None:
        ends = [segment.ends_at for segment in self.segments]
        if any(later >= earlier for earlier, later in pairwise(ends)):
            raise ValueError(f"`ends_at` must fall from segment to segment, but got {ends}")

    def alpha_at(self, u: float) -> float:
        """The stages of an unlimited phase, as a step function of its fraction u."""
        if u >= 1:
            return 0.0
        alphas = (1.0, *self.stage_alphas(10**6))
        # Stage j begins at j / len(alphas), which may round to just below it.
        return alphas[min(int(u * len(alphas) + 1e-9), len(alphas) - 1)]

    def stage_alphas(self, count: int, start: float = 1.0) -> tuple[float, ...]:
        alphas: list[float] = []
        for segment in self.segments:
            if segment.ends_at < start:
                alphas += segment.stage_alphas(alphas[-1] if alphas else start, count - len(alphas))
        return tuple(alphas)


AlphaSchedule = Annotated[
    Exponential | Multiplicative | TimeBased | Polynomial | Cosine | OneShot | Piecewise,
    Field(discriminator="family"),
]

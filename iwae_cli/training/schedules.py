"""What changes during training: the learning rate, and the number of samples k."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass


class LearningRate(ABC):
    """A learning rate as a function of the passes done."""

    @abstractmethod
    def at(self, position: float) -> float:
        """Return the learning rate after `position` passes, a fraction included."""


@dataclass(frozen=True)
class Stages(LearningRate):
    """Stage i = 0, 1, ... lasts 3^i passes (Burda et al. 2015, arXiv 1509.00519, section 5).

    Attributes:
        rates: Of each stage.
    """

    rates: Sequence[float]

    @property
    def passes(self) -> int:
        """Of all stages: (3^n - 1) / 2."""
        return int((3 ** len(self.rates) - 1) // 2)

    def stage_at(self, position: float) -> int:
        """Return the stage that contains pass number `position`, counted from 0."""
        stage = 0
        while position >= (3 ** (stage + 1) - 1) // 2 and stage < len(self.rates) - 1:
            stage += 1
        return stage

    def at(self, position: float) -> float:
        """Return the rate of the stage."""
        return self.rates[self.stage_at(position)]


@dataclass(frozen=True)
class Cosine(LearningRate):
    """Falls from `rate` to zero along half a cosine."""

    rate: float
    passes: int

    def at(self, position: float) -> float:
        """Return rate * (1 + cos(pi * position / passes)) / 2."""
        return self.rate * (1 + math.cos(math.pi * position / self.passes)) / 2


@dataclass(frozen=True)
class Linear(LearningRate):
    """Falls in a straight line from `rate` to `end` times it; constant with `end` = 1."""

    rate: float
    passes: int
    end: float = 0.0

    def at(self, position: float) -> float:
        """Return rate * (1 - (1 - end) * position / passes)."""
        return self.rate * (1 - (1 - self.end) * position / self.passes)


@dataclass(frozen=True)
class KGrowth:
    """The number of samples of each pass: it grows in parts, the last of which uses the run's k.

    Attributes:
        ks: k of the first parts; those that are not below the run's k fall away.
        shares: How much of training each of these parts takes; None for equal parts.
    """

    ks: Sequence[int] = ()
    shares: Sequence[float] | None = None

    def k_at(self, pass_index: int, passes: int, k: int) -> int:
        """Return the number of samples in one pass, counted from 0, of a run that ends at `k`."""
        smaller = [one for one in self.ks if one < k]
        if pass_index == passes - 1:  # however short training is, it reaches k
            return k
        if self.shares is None:
            return [*smaller, k][pass_index * (len(smaller) + 1) // passes]
        end = 0.0
        for one, share in zip(smaller, self.shares, strict=False):
            end += share
            if pass_index < round(end * passes):
                return one
        return k

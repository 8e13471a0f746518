"""p(x | h) for real values: a Gaussian of each, its noise learned or fixed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from iwae_cli.core.config import require
from iwae_cli.models.distributions import Gaussian, normal_like
from iwae_cli.models.likelihoods.base import Likelihood
from iwae_cli.models.likelihoods.dense import DensePixels


@dataclass(frozen=True)
class GaussianPixels(Likelihood):
    """log p(x | h) = -sum_d [((x_d - m_d) / s_d)^2 / 2 + log s_d + log(2 pi) / 2], nats.

    A density: of values in other units it is another number. Kingma and Welling 2014, arXiv
    1312.6114, appendix C.2.

    Attributes:
        std: Standard deviation s of every pixel, in the data's units; None learns each as a
            function of h, as the mean m is.
        min_std: What a learned one stays above: pixels that never change would have it shrink,
            and their density grow, without end.
    """

    name: str = "gaussian"
    std: float | None = None
    min_std: float = 0.01
    real: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for key, value in (("std", self.std), ("min_std", self.min_std)):
            good = value is None or 0 < value < math.inf
            require(good, f"{key} must be positive and finite, got {value}")

    def layer(
        self, n_in: int, hidden: Sequence[int], n_out: int, activation: str = "tanh"
    ) -> DensePixels[Gaussian]:
        """Return p(x | h)."""
        if self.std is None:
            return LearnedNoise(n_in, hidden, n_out, activation, min_std=self.min_std)
        return FixedNoise(n_in, hidden, n_out, activation, std=self.std)


class FixedNoise(DensePixels[Gaussian]):
    """N(m(h), s^2) with one s for every pixel."""

    HEADS = ("mean",)

    def __init__(
        self, n_in: int, hidden: Sequence[int], n_out: int, activation: str, *, std: float
    ) -> None:
        super().__init__(n_in, hidden, n_out, activation)
        self.log_noise = math.log(std)

    def distribution(self, outputs: Tensor) -> Gaussian:
        """Return N(m, s^2) for m = `outputs` [..., D]."""
        return Gaussian(outputs, torch.full_like(outputs, self.log_noise))

    def slopes(self, outputs: Tensor, values: Tensor) -> Tensor:
        """Return (x - m) / s^2, [..., D]."""
        return (values - outputs) * math.exp(-2 * self.log_noise)

    def draw(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Return pixels, [..., D]."""
        return self.distribution(outputs).transform(normal_like(outputs, generator))

    def start_at(self, mean: Tensor, std: Tensor) -> None:
        """Set the bias of the mean head to `mean` [D]."""
        self.get_parameter("mean.bias").data.copy_(mean)


class LearnedNoise(DensePixels[Gaussian]):
    """N(m(h), s(h)^2) with s = s_min + exp(r(h)), a head each for m and r."""

    HEADS = ("mean", "log_std")

    def __init__(
        self, n_in: int, hidden: Sequence[int], n_out: int, activation: str, *, min_std: float
    ) -> None:
        super().__init__(n_in, hidden, n_out, activation)
        self.log_min = math.log(min_std)

    def distribution(self, outputs: Tensor) -> Gaussian:
        """Return N(m, s^2) for m and r in `outputs` [..., 2 D]."""
        mean, raw = outputs.chunk(2, dim=-1)
        return Gaussian(mean, torch.logaddexp(raw, torch.full_like(raw, self.log_min)))

    def slopes(self, outputs: Tensor, values: Tensor) -> Tensor:
        """Return the derivatives in m and r, [..., 2 D]; d log s / d r = 1 - s_min / s."""
        found = self.distribution(outputs)
        slopes = found.slopes(values)
        free = -torch.expm1(self.log_min - found.log_std)
        return torch.cat([slopes.mean, slopes.log_std * free], dim=-1)

    def draw(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Return pixels, [..., D]."""
        found = self.distribution(outputs)
        return found.transform(normal_like(found.mean, generator))

    def start_at(self, mean: Tensor, std: Tensor) -> None:
        """Set the biases so that the pixels' means and deviations are these [D], or near s_min."""
        self.get_parameter("mean.bias").data.copy_(mean)
        least = math.exp(self.log_min)
        self.get_parameter("log_std.bias").data.copy_((std - least).clamp(min=least).log())

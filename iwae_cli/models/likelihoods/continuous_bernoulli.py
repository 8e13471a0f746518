"""p(x | h) for grey values in [0, 1]: a continuous Bernoulli distribution of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from iwae_cli.models.likelihoods.base import Likelihood
from iwae_cli.models.likelihoods.dense import DensePixels

# Closer to 0 the formulas in 1 / l lose their digits, and their series are exact.
NEAR = 0.5
# What the starting mean is clipped to
DARKEST, BISECTIONS = 0.01, 60


class ContinuousBernoulli(NamedTuple):
    """Densities e^(l x) / Z(l) on [0, 1], with Z(l) = (e^l - 1) / l.

    Loaiza-Ganem and Cunningham 2019, arXiv 1907.06845, with l the logit of their lambda.

    Attributes:
        logits: l, [..., D].
    """

    logits: Tensor

    @property
    def mean(self) -> Tensor:
        """The derivative of log Z, 1 / (1 - e^-l) - 1 / l, [..., D]."""
        near = self.logits.abs() < NEAR
        far = torch.where(near, 1.0, self.logits)
        series = torch.where(near, self.logits, 0.0)
        s = series.square()
        # coth(l / 2) / 2 - 1 / l by Bernoulli's numbers
        inner = 0.5 + series * (1 / 12 - s * (1 / 720 - s * (1 / 30240 - s / 1209600)))
        return torch.where(near, inner, -1 / torch.expm1(-far) - 1 / far)

    def fisher_information(self) -> "ContinuousBernoulli":
        """Return that in each logit, Var(x) = 1 / l^2 - 1 / (2 sinh(l / 2))^2, [..., D]."""
        near = self.logits.abs() < NEAR
        far = torch.where(near, 1.0, self.logits.abs())
        s = torch.where(near, self.logits, 0.0).square()
        inner = 1 / 12 - s * (1 / 240 - s * (1 / 6048 - s / 172800))  # of the series of the mean
        rest = torch.exp(-far) / torch.expm1(-far).square()
        return ContinuousBernoulli(torch.where(near, inner, far**-2 - rest))

    def log_density(self, values: Tensor) -> Tensor:
        """Return sum_d x_d l_d - log Z(l_d), nats, [...], of `values` x in [0, 1], [..., D]."""
        return (values * self.logits - self.log_normaliser()).sum(-1)

    def log_normaliser(self) -> Tensor:
        """Return log Z = max(l, 0) + log((1 - e^-|l|) / |l|), [..., D]; 0 at l = 0."""
        near = self.logits.abs() < NEAR
        far = torch.where(near, 1.0, self.logits)
        series = torch.where(near, self.logits, 0.0)
        s = series.square()
        # log(sinh(l / 2) / (l / 2)) + l / 2
        inner = series / 2 + s * (1 / 24 - s * (1 / 2880 - s * (1 / 181440 - s / 9676800)))
        size = far.abs()
        return torch.where(near, inner, far.clamp(min=0) + (-torch.expm1(-size) / size).log())

    def draw(self, uniform: Tensor) -> Tensor:
        """Return pixels by the inverse distribution function at `uniform` numbers, [..., D]."""
        near = self.logits.abs() < 1e-3  # a straight line to float32's rounding
        size = torch.where(near, 1.0, self.logits.abs())
        from_dark = torch.log1p(uniform * torch.expm1(-size)) / -size
        drawn = torch.where(self.logits > 0, 1 - from_dark, from_dark)
        return torch.where(near, uniform, drawn)


@dataclass(frozen=True)
class ContinuousBernoulliPixels(Likelihood):
    """log p(x | h) = sum_d x_d l_d - log((e^l_d - 1) / l_d), nats; a density on [0, 1]^D."""

    name: str = "continuous_bernoulli"
    binary: ClassVar[bool] = False  # of zeros and ones alone the density has no largest value

    def layer(
        self, n_in: int, hidden: Sequence[int], n_out: int, activation: str = "tanh"
    ) -> DensePixels[ContinuousBernoulli]:
        """Return p(x | h)."""
        return ContinuousBernoulliLayer(n_in, hidden, n_out, activation)


class ContinuousBernoulliLayer(DensePixels[ContinuousBernoulli]):
    """Hidden layers with one logit l a pixel."""

    HEADS = ("logits",)

    def distribution(self, outputs: Tensor) -> ContinuousBernoulli:
        """Return the distribution for logits [..., D]."""
        return ContinuousBernoulli(outputs)

    def slopes(self, outputs: Tensor, values: Tensor) -> Tensor:
        """Return x - E[x], [..., D]."""
        return values - ContinuousBernoulli(outputs).mean

    def draw(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Return pixels, [..., D]."""
        shape, device, dtype = outputs.shape, outputs.device, outputs.dtype
        uniform = torch.rand(shape, generator=generator, device=device, dtype=dtype)
        return ContinuousBernoulli(outputs).draw(uniform)

    def start_at(self, mean: Tensor, std: Tensor) -> None:
        """Set the bias so that the mean is `mean` [D], clipped to [0.01, 0.99], by bisection."""
        wanted = mean.double().clamp(DARKEST, 1 - DARKEST)
        low, high = torch.full_like(wanted, -2 / DARKEST), torch.full_like(wanted, 2 / DARKEST)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            above = ContinuousBernoulli(middle).mean > wanted
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        self.get_parameter("logits.bias").data.copy_(middle)

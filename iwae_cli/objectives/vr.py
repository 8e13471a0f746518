"""The variational Renyi bound."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from iwae_cli.objectives.base import Kind, Objective, Weights
from iwae_cli.objectives.importance import log_mean_exp, normalised_weights

LARGEST = 1e6


@dataclass(frozen=True)
class Vr(Objective):
    """(1 / (1 - alpha)) log (1/k) sum_i w_i^(1 - alpha).

    alpha = 0 is `iwae`, alpha = 1 (the limit) `vae`, alpha = -inf the largest log weight. A power
    mean of the weights with exponent at most one is at most their mean, so alpha >= 0 gives a lower
    bound; alpha < 0 gives none. Li and Turner 2016, arXiv 1602.02311, equations 12 and 14.

    Attributes:
        alpha: In [-LARGEST, LARGEST], or -inf.
    """

    name: str = "vr"
    alpha: float = 0.5

    def __post_init__(self) -> None:
        if not (abs(self.alpha) <= LARGEST or self.alpha == -math.inf):
            raise ValueError(f"alpha must be in [-1e6, 1e6], or -inf, got {self.alpha}")

    @property
    def kind(self) -> Kind:
        """A lower bound for alpha >= 0, else neither."""
        return "lower" if self.alpha >= 0 else "neither"

    def bound(self, log_w: Tensor) -> Tensor:
        """Return the bound, nats, [B], from log weights [k, B].

        With d = log w - max log w and s = 1 - alpha it is max log w + log(mean exp(s d)) / s,
        where the logarithm of a number near one is taken by log1p.
        """
        if self.alpha == 1:
            return log_w.mean(0)
        if self.alpha == -math.inf:
            return log_w.amax(0)
        largest, s = log_w.double().amax(0), 1 - self.alpha
        power = s * (log_w.double() - largest)
        near = torch.log1p(torch.expm1(power.clamp(max=1)).mean(0))
        found = torch.where(power.abs().amax(0) < 1, near, log_mean_exp(power))
        return (largest + found / s).to(log_w.dtype)

    def weights(self, log_w: Tensor) -> Weights:
        """Return w_i^(1 - alpha), normalised, for both networks, from log weights [k, B]."""
        if self.alpha == -math.inf:
            largest = log_w.argmax(0, keepdim=True)
            return Weights.of_total_derivative(torch.zeros_like(log_w).scatter(0, largest, 1.0))
        powers = (1 - self.alpha) * (log_w - log_w.amax(0))
        return Weights.of_total_derivative(normalised_weights(powers))

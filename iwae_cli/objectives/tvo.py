"""The thermodynamic variational objective."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from iwae_cli.objectives.base import Objective, Weights
from iwae_cli.objectives.importance import normalised_weights


@dataclass(frozen=True)
class Tvo(Objective):
    """sum_j (beta_{j+1} - beta_j) sum_i v_i log w_i, with v_i proportional to w_i^beta_j.

    A left Riemann sum of log p(x) = int_0^1 E[log w] dbeta along q^(1 - beta) p^beta, with
    0 = beta_0 < beta_1 < ... < 1 spaced evenly in their logarithm from `beta_1` on. On every draw
    it lies between the ELBO and L_k, as the integrand rises with beta. The gradient is that of the
    self-normalised estimate at constant samples (a covariance), for the encoder without
    reparameterisation. Masrani, Le, Wood 2019, arXiv 1907.00031.

    Attributes:
        partitions: Number of terms, at least 1; 1 gives the ELBO.
        beta_1: The first beta above 0, in (0, 1).
    """

    name: str = "tvo"
    partitions: int = 2
    beta_1: float = 0.1

    def __post_init__(self) -> None:
        if self.partitions < 1:
            raise ValueError(f"partitions must be at least 1, got {self.partitions}")
        if not 0 < self.beta_1 < 1:
            raise ValueError(f"beta_1 must be in (0, 1), got {self.beta_1}")

    def terms(self) -> list[tuple[float, float]]:
        """Return beta_j and beta_{j+1} - beta_j of each term."""
        last = max(self.partitions - 1, 1)
        spaced = [self.beta_1 ** (1 - j / last) for j in range(self.partitions - 1)]
        betas = [0.0, *spaced, 1.0]
        return [(beta, above - beta) for beta, above in pairwise(betas)]

    def bound(self, log_w: Tensor) -> Tensor:
        """Return the sum, nats, [B], from log weights [k, B]."""
        total = torch.zeros_like(log_w[0])
        for beta, width in self.terms():
            total = total + width * (normalised_weights(beta * log_w) * log_w).sum(0)
        return total

    def weights(self, log_w: Tensor) -> Weights:
        """Return the derivatives of the sum in log p and in log q, from log weights [k, B].

        With d = log w - sum_i v_i log w_i they are v (1 + beta d) and v ((1 - beta) d - 1), each
        summed over the terms; b = 0.
        """
        a, c = torch.zeros_like(log_w), torch.zeros_like(log_w)
        for beta, width in self.terms():
            v = normalised_weights(beta * log_w)
            d = log_w - (v * log_w).sum(0)
            a += width * v * (1 + beta * d)
            c += width * v * ((1 - beta) * d - 1)
        return Weights(a, torch.zeros_like(a), c)

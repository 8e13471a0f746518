"""Jackknife variational inference: L_k with its leading bias removed."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from iwae_cli.objectives.base import Kind, Objective, Weights
from iwae_cli.objectives.importance import log_mean_exp, log_sum_without_one

# With pairs of samples left out, work and memory grow with k^2.
LARGEST_K = {1: 5000, 2: 200}


@dataclass(frozen=True)
class Jvi(Objective):
    """The jackknife of L_k of order m; no bound. Its bias is O(k^-(m + 1)).

    sum_{j=0}^m (-1)^j (k - j)^m / ((m - j)! j!) L^(j), where L^(j) is the mean of L over all
    subsets of k - j of the samples. Nowozin 2018, "Debiasing Evidence Approximations: On
    Importance-weighted Autoencoders and Jackknife Variational Inference", ICLR, equation 7.

    Attributes:
        order: m, 1 or 2; below k.
    """

    name: str = "jvi"
    order: int = 1

    def __post_init__(self) -> None:
        if self.order not in LARGEST_K:
            raise ValueError(f"order must be 1 or 2, got {self.order}")

    @property
    def kind(self) -> Kind:
        """Neither a lower nor an upper bound."""
        return "neither"

    def check_k(self, k: int) -> None:
        """Raise ValueError unless order < k and k is not too large for that order."""
        if not self.order < k <= LARGEST_K[self.order]:
            allowed = f"{self.order + 1}..{LARGEST_K[self.order]}"
            raise ValueError(f"order {self.order} needs k in {allowed}, got k={k}")

    def bound(self, log_w: Tensor) -> Tensor:
        """Return the jackknife, nats, [B], from log weights [k, B].

        In float64, as its factors of size k^m cancel.
        """
        return self.exact_bound(log_w.double()).to(log_w.dtype)

    def exact_bound(self, log_w: Tensor) -> Tensor:
        """Return the jackknife of log weights in float64."""
        k, m = len(log_w), self.order
        means = [log_mean_exp(log_w), mean_without_one(log_w)]
        if m == 2:
            fewer = [mean_without_one(rest) for rest in leaving_one_out(log_w)]
            means.append(torch.stack(fewer).mean(0))
        total = torch.zeros_like(means[0])
        for j, mean in enumerate(means):
            factor = (-1) ** j * (k - j) ** m / (math.factorial(m - j) * math.factorial(j))
            total = total + factor * mean
        return total

    def weights(self, log_w: Tensor) -> Weights:
        """Return the derivative of the jackknife in log w, for both networks, [k, B]."""
        with torch.inference_mode(mode=False), torch.enable_grad():
            variable = log_w.clone().detach().double().requires_grad_()
            (a,) = torch.autograd.grad(self.exact_bound(variable).sum(), variable)
        return Weights.of_total_derivative(a.to(log_w.dtype))


def mean_without_one(log_w: Tensor) -> Tensor:
    """Return the mean over i of log (1/(k-1)) sum_{j != i} w_j, nats, [B], from [k, B]."""
    return log_sum_without_one(log_w).mean(0) - math.log(len(log_w) - 1)


def leaving_one_out(log_w: Tensor) -> Iterator[Tensor]:
    """Yield the log weights without the i-th, [k - 1, B], for each i."""
    for i in range(len(log_w)):
        yield torch.cat([log_w[:i], log_w[i + 1 :]])

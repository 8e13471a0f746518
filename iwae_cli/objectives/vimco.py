"""Variational inference for Monte Carlo objectives: L_k without reparameterisation."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from iwae_cli.objectives.base import Objective, Weights
from iwae_cli.objectives.importance import (
    log_mean_exp,
    log_sum_without_one,
    normalised_weights,
)


@dataclass(frozen=True)
class Vimco(Objective):
    """L_k, with the encoder's gradient sum_i (L - L_{-i} - w~_i) d log q(h_i).

    L_{-i} is L_k with w_i replaced by the geometric mean of the other weights. It does not depend
    on h_i, so the gradient is unbiased for that of `iwae`, of far larger variance. Mnih and Rezende
    2016, arXiv 1602.06725.
    """

    name: str = "vimco"

    def check_k(self, k: int) -> None:
        """Raise ValueError for a single sample: there are no others then."""
        if k < 2:
            raise ValueError(f"vimco needs k of at least 2, got k={k}")

    def bound(self, log_w: Tensor) -> Tensor:
        """Return log (1/k) sum_i w_i, nats, [B], from log weights [k, B]."""
        return log_mean_exp(log_w)

    def weights(self, log_w: Tensor) -> Weights:
        """Return (w~, 0, L - L_{-i} - w~_i) from log weights [k, B]."""
        k, w = len(log_w), normalised_weights(log_w)
        geometric = (log_w.sum(0) - log_w) / (k - 1)
        others = torch.logaddexp(log_sum_without_one(log_w), geometric) - math.log(k)
        return Weights(w, torch.zeros_like(w), log_mean_exp(log_w) - others - w)

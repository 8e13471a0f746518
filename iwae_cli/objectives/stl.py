"""Sticking the landing: the pathwise derivative of L_k without the score."""

from dataclasses import dataclass

import torch
from torch import Tensor

from iwae_cli.objectives.base import Objective, Weights
from iwae_cli.objectives.importance import log_mean_exp, normalised_weights


@dataclass(frozen=True)
class Stl(Objective):
    """L_k, with the encoder's gradient sum_i w~_i z_i.

    Its variance vanishes where q is the posterior; biased for L_k at k > 1. Roeder, Wu, Duvenaud
    2017, arXiv 1703.09194.
    """

    name: str = "stl"

    def bound(self, log_w: Tensor) -> Tensor:
        """Return log (1/k) sum_i w_i, nats, [B], from log weights [k, B]."""
        return log_mean_exp(log_w)

    def weights(self, log_w: Tensor) -> Weights:
        """Return (w~, w~, 0) from log weights [k, B]."""
        w = normalised_weights(log_w)
        return Weights(w, w, torch.zeros_like(w))

"""Doubly reparameterised gradients of L_k."""

from dataclasses import dataclass

import torch
from torch import Tensor

from iwae_cli.objectives.base import Objective, Weights
from iwae_cli.objectives.importance import log_mean_exp, normalised_weights


@dataclass(frozen=True)
class Dreg(Objective):
    """L_k, with the encoder's gradient sum_i w~_i^2 z_i.

    Unbiased for the gradient of `iwae`; its signal-to-noise ratio grows with k. Tucker, Lawson, Gu,
    Maddison 2018, arXiv 1810.04152, equation 8.
    """

    name: str = "dreg"

    def bound(self, log_w: Tensor) -> Tensor:
        """Return log (1/k) sum_i w_i, nats, [B], from log weights [k, B]."""
        return log_mean_exp(log_w)

    def weights(self, log_w: Tensor) -> Weights:
        """Return (w~, w~^2, 0) from log weights [k, B]."""
        w = normalised_weights(log_w)
        return Weights(w, w.square(), torch.zeros_like(w))

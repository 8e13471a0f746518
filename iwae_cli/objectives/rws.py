"""Reweighted wake-sleep: the wake phase for both networks."""

from dataclasses import dataclass

import torch
from torch import Tensor

from iwae_cli.objectives.base import Objective, Weights
from iwae_cli.objectives.importance import log_mean_exp, normalised_weights


@dataclass(frozen=True)
class Rws(Objective):
    """L_k for the decoder; the encoder ascends sum_i w~_i d log q(h_i), an estimate of -KL(p || q).

    Bornschein and Bengio 2015, arXiv 1406.2751, equation 14 (wake-phase update of q).
    """

    name: str = "rws"

    def bound(self, log_w: Tensor) -> Tensor:
        """Return log (1/k) sum_i w_i, nats, [B], from log weights [k, B]."""
        return log_mean_exp(log_w)

    def weights(self, log_w: Tensor) -> Weights:
        """Return (w~, 0, w~) from log weights [k, B]."""
        w = normalised_weights(log_w)
        return Weights(w, torch.zeros_like(w), w)

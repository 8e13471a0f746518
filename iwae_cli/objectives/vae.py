"""The evidence lower bound, averaged over k samples."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from iwae_cli.objectives.base import Objective, Weights


@dataclass(frozen=True)
class Vae(Objective):
    """ELBO = E[(1/k) sum_i log w_i], a lower bound of log p(x); k lowers its variance alone.

    Kingma and Welling 2014, arXiv 1312.6114, equation 7, with the KL term sampled.
    """

    name: str = "vae"
    equal_weights: ClassVar[bool] = True

    def bound(self, log_w: Tensor) -> Tensor:
        """Return (1/k) sum_i log w_i, nats, [B], from log weights [k, B]."""
        return log_w.mean(dim=0)

    def weights(self, log_w: Tensor) -> Weights:
        """Return 1/k for both networks, from log weights [k, B]."""
        return Weights.of_total_derivative(torch.full_like(log_w, 1 / log_w.shape[0]))

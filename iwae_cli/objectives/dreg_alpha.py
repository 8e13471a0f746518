"""The family between `dreg` and `rws_dreg`."""

from dataclasses import dataclass

import torch
from torch import Tensor

from iwae_cli.objectives.base import Objective, Weights
from iwae_cli.objectives.importance import log_mean_exp, normalised_weights


@dataclass(frozen=True)
class DregAlpha(Objective):
    """(1 - alpha) dreg + alpha rws_dreg.

    The encoder ascends sum_i (alpha w~_i + (1 - 2 alpha) w~_i^2) z_i.

    alpha = 0 is `dreg`, 1 is `rws_dreg`, 1/2 half of `stl`. Tucker, Lawson, Gu, Maddison 2018,
    arXiv 1810.04152, appendix.

    Attributes:
        alpha: In [0, 1].
    """

    name: str = "dreg_alpha"
    alpha: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be in [0, 1], got {self.alpha}")

    def bound(self, log_w: Tensor) -> Tensor:
        """Return log (1/k) sum_i w_i, nats, [B], from log weights [k, B]."""
        return log_mean_exp(log_w)

    def weights(self, log_w: Tensor) -> Weights:
        """Return (w~, alpha w~ + (1 - 2 alpha) w~^2, 0) from log weights [k, B]."""
        w = normalised_weights(log_w)
        b = self.alpha * w + (1 - 2 * self.alpha) * w.square()
        return Weights(w, b, torch.zeros_like(w))

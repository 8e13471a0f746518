"""Doubly reparameterised gradients of the VR-IWAE bound."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from iwae_cli.objectives.base import Objective, Weights
from iwae_cli.objectives.importance import normalised_weights
from iwae_cli.objectives.vr import Vr


@dataclass(frozen=True)
class VrDreg(Objective):
    """The bound of `vr`, with the encoder's gradient sum_i (alpha v_i + (1 - alpha) v_i^2) z_i.

    v_i is w_i^(1 - alpha), normalised. Unbiased for the gradient of `vr`. alpha = 0 is `dreg`,
    alpha = 1 follows z_i / k. Daudel, Benton, Shi, Doucet 2023, arXiv 2210.06226 (VR-IWAE bound).

    Attributes:
        alpha: In [0, 1], at the start of training.
        alpha_end: At its end, reached linearly; None for `alpha` throughout.
    """

    name: str = "vr_dreg"
    alpha: float = 0.5
    alpha_end: float | None = None

    def __post_init__(self) -> None:
        for alpha in (self.alpha, self.alpha_end):
            if alpha is not None and not 0 <= alpha <= 1:
                raise ValueError(f"alpha and alpha_end must be in [0, 1], got {alpha}")

    def at(self, progress: float) -> "VrDreg":
        """Return the estimator after a fraction `progress` of training."""
        if self.alpha_end is None:
            return self
        return replace(self, alpha=(1 - progress) * self.alpha + progress * self.alpha_end)

    def bound(self, log_w: Tensor) -> Tensor:
        """Return (1 / (1 - alpha)) log (1/k) sum_i w_i^(1 - alpha), nats, [B], from [k, B]."""
        return Vr(alpha=self.alpha).bound(log_w)

    def weights(self, log_w: Tensor) -> Weights:
        """Return (v, alpha v + (1 - alpha) v^2, 0) from log weights [k, B]."""
        v = normalised_weights((1 - self.alpha) * (log_w - log_w.amax(0)))
        return Weights(v, self.alpha * v + (1 - self.alpha) * v.square(), torch.zeros_like(v))

"""L_k for the generative network, `miwae` for the recognition network."""

from dataclasses import dataclass

from torch import Tensor

from iwae_cli.objectives.base import Objective, Weights, check_groups
from iwae_cli.objectives.importance import (
    in_groups,
    log_mean_exp,
    normalised_weights,
    out_of_groups,
)


@dataclass(frozen=True)
class Piwae(Objective):
    """The decoder ascends L_k of all k samples, the encoder the mean of L_K over M = groups groups.

    Rainforth et al. 2018, arXiv 1802.04537, section 5.3.

    Attributes:
        groups: M, which divides k; K = k / M.
    """

    name: str = "piwae"
    groups: int = 5

    def __post_init__(self) -> None:
        if self.groups < 1:
            raise ValueError(f"groups must be at least 1, got {self.groups}")

    def check_k(self, k: int) -> None:
        """Raise ValueError unless the groups divide k."""
        check_groups(self.groups, k)

    def bound(self, log_w: Tensor) -> Tensor:
        """Return log (1/k) sum_i w_i, nats, [B], from log weights [k, B]."""
        return log_mean_exp(log_w)

    def weights(self, log_w: Tensor) -> Weights:
        """Return (w~ over all, w~ within each group over M, -b), from log weights [k, B]."""
        inner = normalised_weights(in_groups(log_w, self.groups)) / self.groups
        b = out_of_groups(inner)
        return Weights(normalised_weights(log_w), b, -b)

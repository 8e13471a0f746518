"""L_K averaged over groups of samples."""

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
class Miwae(Objective):
    """The mean of M = groups bounds L_K, K = k / M: M = 1 is `iwae`, K = 1 is `vae`.

    Rainforth et al. 2018, arXiv 1802.04537, section 5.1.

    Attributes:
        groups: M, which divides k.
    """

    name: str = "miwae"
    groups: int = 5

    def __post_init__(self) -> None:
        if self.groups < 1:
            raise ValueError(f"groups must be at least 1, got {self.groups}")

    def check_k(self, k: int) -> None:
        """Raise ValueError unless the groups divide k."""
        check_groups(self.groups, k)

    def bound(self, log_w: Tensor) -> Tensor:
        """Return the mean over groups of log (1/K) sum_i w_i, nats, [B]."""
        return log_mean_exp(in_groups(log_w, self.groups)).mean(0)

    def weights(self, log_w: Tensor) -> Weights:
        """Return the weights within each group, over M, for both networks, [k, B]."""
        w = normalised_weights(in_groups(log_w, self.groups)) / self.groups
        return Weights.of_total_derivative(out_of_groups(w))

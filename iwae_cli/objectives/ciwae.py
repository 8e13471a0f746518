"""A mixture of the ELBO and L_k."""

from dataclasses import dataclass, replace

from torch import Tensor

from iwae_cli.objectives.base import Objective, Weights
from iwae_cli.objectives.importance import log_mean_exp, normalised_weights


@dataclass(frozen=True)
class Ciwae(Objective):
    """beta ELBO + (1 - beta) L_k: beta = 1 is `vae`, 0 is `iwae`.

    Rainforth et al. 2018, arXiv 1802.04537, section 5.2. A learned beta only runs to zero, as the
    bound falls with beta on every draw; so it is fixed, or moves linearly to `beta_end`.

    Attributes:
        beta: In [0, 1], at the start of training.
        beta_end: At its end; None for `beta` throughout.
    """

    name: str = "ciwae"
    beta: float = 0.5
    beta_end: float | None = None

    def __post_init__(self) -> None:
        for beta in (self.beta, self.beta_end):
            if beta is not None and not 0 <= beta <= 1:
                raise ValueError(f"beta and beta_end must be in [0, 1], got {beta}")

    def at(self, progress: float) -> "Ciwae":
        """Return the mixture after a fraction `progress` of training."""
        if self.beta_end is None:
            return self
        return replace(self, beta=(1 - progress) * self.beta + progress * self.beta_end)

    def bound(self, log_w: Tensor) -> Tensor:
        """Return beta (1/k) sum_i log w_i + (1 - beta) log (1/k) sum_i w_i, nats, [B]."""
        return self.beta * log_w.mean(0) + (1 - self.beta) * log_mean_exp(log_w)

    def weights(self, log_w: Tensor) -> Weights:
        """Return beta / k + (1 - beta) w~ for both networks, from log weights [k, B]."""
        a = self.beta / len(log_w) + (1 - self.beta) * normalised_weights(log_w)
        return Weights.of_total_derivative(a)

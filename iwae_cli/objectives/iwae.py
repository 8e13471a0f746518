"""The importance weighted bound L_k."""

from dataclasses import dataclass

from torch import Tensor

from iwae_cli.objectives.base import Objective, Weights
from iwae_cli.objectives.importance import log_mean_exp, normalised_weights


@dataclass(frozen=True)
class Iwae(Objective):
    """L_k = E[log (1/k) sum_i w_i], a lower bound of log p(x) that rises with k.

    At k = 1 it is the ELBO. Burda, Grosse, Salakhutdinov 2015, arXiv 1509.00519, equations 8, 14.
    """

    name: str = "iwae"

    def bound(self, log_w: Tensor) -> Tensor:
        """Return log (1/k) sum_i w_i, nats, [B], from log weights [k, B]."""
        return log_mean_exp(log_w)

    def weights(self, log_w: Tensor) -> Weights:
        """Return w_i / sum_j w_j for both networks, from log weights [k, B]."""
        return Weights.of_total_derivative(normalised_weights(log_w))

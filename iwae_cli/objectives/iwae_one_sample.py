"""The gradient of L_k from one sample, drawn by its importance weight."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from iwae_cli.objectives.base import Objective, Weights
from iwae_cli.objectives.importance import log_mean_exp, normalised_weights


@dataclass(frozen=True)
class IwaeOneSample(Objective):
    """L_k, following one sample alone, drawn with probability w_j / sum_i w_i.

    Unbiased for the gradient of `iwae`, of which it has one sample's cost and a larger variance.
    Burda, Grosse, Salakhutdinov 2015, arXiv 1509.00519, section 3.
    """

    name: str = "iwae_one_sample"
    one_sample: ClassVar[bool] = True

    def bound(self, log_w: Tensor) -> Tensor:
        """Return log (1/k) sum_i w_i, nats, [B], from log weights [k, B]."""
        return log_mean_exp(log_w)

    def weights(self, log_w: Tensor) -> Weights:
        """Return the expected weights, those of `iwae`, from log weights [k, B]."""
        return Weights.of_total_derivative(normalised_weights(log_w))

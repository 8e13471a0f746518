"""Importance weights, and what an estimator makes of them.

All functions take log weights of shape [k, B] and reduce over the samples, axis 0.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class ImportanceSample(NamedTuple):
    """k samples of all latents for each of B images, with their importance weights.

    Attributes:
        log_w: Unnormalised log weights log p(x, h) - log q(h | x), nats, [k, B].
        log_q_h_given_x: Log density of the latents under the recognition network, [k, B].
        latents: The samples of each stochastic layer from the image upwards, each [k, B, H].
    """

    log_w: Tensor
    log_q_h_given_x: Tensor
    latents: tuple[Tensor, ...]


def log_mean_exp(log_w: Tensor) -> Tensor:
    """Return log((1/k) sum_i exp(log_w_i)) of each image, [B].

    Equal to the single log weight at k = 1; log p(x) in expectation of its exponential.

    Args:
        log_w: Unnormalised log weights, [k, B].

    Example:
        >>> log_mean_exp(torch.zeros(5, 2))
        tensor([0., 0.])
    """
    return torch.logsumexp(log_w, dim=0) - math.log(log_w.shape[0])


def normalised_weights(log_w: Tensor) -> Tensor:
    """Return w_i / sum_j w_j of each image, [k, B]; the columns sum to one.

    Args:
        log_w: Unnormalised log weights, [k, B].
    """
    return torch.softmax(log_w, dim=0)


def effective_sample_size(log_w: Tensor) -> Tensor:
    """Return (sum w)^2 / sum w^2 of each image, in [1, k], [B].

    Args:
        log_w: Unnormalised log weights, [k, B].
    """
    return torch.exp(2 * torch.logsumexp(log_w, dim=0) - torch.logsumexp(2 * log_w, dim=0))


@dataclass(frozen=True)
class Weights:
    """Weights of the k samples in an ascent direction, each [k, B], without gradient.

    The generative network's parameters ascend sum_i a_i d log w_i. The recognition network's
    ascend sum_i b_i z_i + sum_i c_i d log q(h_i) with h_i held constant, where z_i is the pathwise
    derivative of log w_i with q's parameters held constant inside log q.

    Attributes:
        a: Weights for the generative network.
        b: Weights of the pathwise derivative for the recognition network.
        c: Weights of the score for the recognition network.
        total_derivative: States that b = a and c = -a, so that both networks follow the plain
            derivative of sum_i a_i log w_i, in one backward pass.
    """

    a: Tensor
    b: Tensor
    c: Tensor
    total_derivative: bool = False

    @classmethod
    def of_total_derivative(cls, a: Tensor) -> "Weights":
        """Return the weights (a, a, -a) of the plain derivative of sum_i a_i log w_i."""
        return cls(a, a, -a, total_derivative=True)


class Objective(Protocol):
    """An estimator: two pure functions of log weights. Estimators are frozen dataclasses."""

    def bound(self, log_w: Tensor) -> Tensor:
        """Return what is estimated, nats, [B], from log weights [k, B]."""
        ...

    def weights(self, log_w: Tensor) -> Weights:
        """Return the weights of the gradient for log weights [k, B] without gradient."""
        ...

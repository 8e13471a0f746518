"""Importance weights, and what an estimator makes of them.

All functions take log weights of shape [k, B] and reduce over the samples, axis 0.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

Kind = Literal["lower", "upper", "neither"]


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


def in_groups(log_w: Tensor, groups: int) -> Tensor:
    """Return log weights [k, B] as [K, groups, B], K = k / groups; samples of a group adjoin."""
    return log_w.reshape(groups, -1, log_w.shape[-1]).transpose(0, 1)


def out_of_groups(grouped: Tensor) -> Tensor:
    """Return what `in_groups` was given, [k, B], from [K, groups, B]."""
    return grouped.transpose(0, 1).flatten(0, 1)


def check_groups(groups: int, k: int) -> None:
    """Raise ValueError unless `groups` divides `k`."""
    if k % groups:
        raise ValueError(f"groups={groups} does not divide k={k}")


def drawn_by_weight(log_w: Tensor, uniform: Tensor) -> Tensor:
    """Return the index of one sample of each image, i with probability w_i / sum_j w_j, [B].

    Args:
        log_w: Unnormalised log weights, [k, B].
        uniform: Uniform random numbers in [0, 1), [B].
    """
    below = normalised_weights(log_w).cumsum(0) <= uniform
    return below.sum(0).clamp(max=len(log_w) - 1)


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
            derivative of sum_i a_i log w_i.
    """

    a: Tensor
    b: Tensor
    c: Tensor
    total_derivative: bool = False

    @classmethod
    def of_total_derivative(cls, a: Tensor) -> "Weights":
        """Return the weights (a, a, -a) of the plain derivative of sum_i a_i log w_i."""
        return cls(a, a, -a, total_derivative=True)

    def times(self, scale: float) -> "Weights":
        """Return these weights, each times `scale`."""
        if self.total_derivative:
            return Weights.of_total_derivative(scale * self.a)
        return Weights(scale * self.a, scale * self.b, scale * self.c)


class Objective(ABC):
    """An estimator: two pure functions of log weights. Estimators are frozen dataclasses.

    Attributes:
        one_sample: Whether a single sample of each image, drawn by its weight, gives the
            gradient; `weights` is not asked then.
    """

    one_sample: ClassVar[bool] = False

    @property
    def kind(self) -> Kind:
        """What the expected `bound` is to log p(x)."""
        return "lower"

    @abstractmethod
    def bound(self, log_w: Tensor) -> Tensor:
        """Return what is estimated, nats, [B], from log weights [k, B]."""

    @abstractmethod
    def weights(self, log_w: Tensor) -> Weights:
        """Return the weights of the gradient for log weights [k, B] without gradient."""

    def check_k(self, k: int) -> None:  # noqa: B027  (most estimators take any k)
        """Raise ValueError if the estimator is not defined for `k` samples."""

    def at(self, progress: float) -> "Objective":
        """Return the estimator after a fraction `progress` of training, in [0, 1]."""
        return self

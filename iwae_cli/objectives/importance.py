"""Importance weights, and what an estimator makes of them.

All functions take log weights of shape [k, B] and reduce over the samples, axis 0.
"""

import math

import torch
from torch import Tensor


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


def log_sum_without_one(log_w: Tensor) -> Tensor:
    """Return log sum_{j != i} w_j for each sample i, [k, B], k at least 2.

    Sums of what comes before and after i, so nothing is subtracted.

    Args:
        log_w: Unnormalised log weights, [k, B].
    """
    empty = torch.full_like(log_w[:1], -math.inf)
    before = torch.cat([empty, log_w.logcumsumexp(0)[:-1]])
    after = torch.cat([log_w.flip(0).logcumsumexp(0).flip(0)[1:], empty])
    return torch.logaddexp(before, after)


def in_groups(log_w: Tensor, groups: int) -> Tensor:
    """Return log weights [k, B] as [K, groups, B], K = k / groups; samples of a group adjoin."""
    return log_w.reshape(groups, -1, log_w.shape[-1]).transpose(0, 1)


def out_of_groups(grouped: Tensor) -> Tensor:
    """Return what `in_groups` was given, [k, B], from [K, groups, B]."""
    return grouped.transpose(0, 1).flatten(0, 1)


def drawn_by_weight(log_w: Tensor, uniform: Tensor) -> Tensor:
    """Return the index of one sample of each image, i with probability w_i / sum_j w_j, [B].

    Args:
        log_w: Unnormalised log weights, [k, B].
        uniform: Uniform random numbers in [0, 1), [B].
    """
    below = normalised_weights(log_w).cumsum(0) <= uniform
    return below.sum(0).clamp(max=len(log_w) - 1)

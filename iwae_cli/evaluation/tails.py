"""How heavy the upper tail of importance weights is: Pareto k-hat, and the bias it brings."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Above it, estimates from importance weights cannot be relied on (Vehtari et al. 2024)
TOO_HEAVY = 0.7
FEWEST = 5  # of the largest weights that a fit needs
PRIOR_SAMPLES, PRIOR_SHAPE = 10, 0.5

Array = NDArray[np.float64]


def tail_size(k: int) -> int:
    """Return how many of k weights count as their tail: min(0.2 k, 3 sqrt(k)), rounded up."""
    return math.ceil(min(0.2 * k, 3 * math.sqrt(k)))


def pareto_k_hat(log_w: Tensor) -> Tensor:
    """Return the shape of a generalised Pareto fitted to the largest weights, float64, [B].

    Weights with shape s have finite moments below the order 1 / s: from 0.5 their variance, from
    1 their mean is infinite. The shape is drawn towards 0.5 as if by ten samples. It is NaN where
    the tail has fewer than five weights (k below 21), and -inf where all of it are equal.

    Vehtari, Simpson, Gelman, Yao, Gabry 2024, arXiv 1507.02646, section 2 and appendix.

    Args:
        log_w: Unnormalised log weights, [k, B].

    Example:
        >>> pareto_k_hat(torch.zeros(100, 1))
        tensor([-inf], dtype=torch.float64)
    """
    k, images = log_w.shape
    size = tail_size(k)
    if size < FEWEST:
        return torch.full((images,), math.nan, dtype=torch.float64)
    largest = log_w.double().topk(size + 1, dim=0).values
    weights = torch.exp(largest - largest[0]).cpu().numpy()
    excesses = (weights[:-1] - weights[-1])[::-1]
    return torch.tensor([regularised_shape(column) for column in excesses.T], dtype=torch.float64)


def regularised_shape(excesses: Array) -> float:
    """Return the fitted shape of one image's excesses over its threshold, ascending, [M]."""
    if excesses[-1] <= 0:
        return -math.inf
    # ties with the threshold, or weights too small for float64 beside the largest
    excesses = np.maximum(excesses, np.finfo(float).eps * excesses[-1])
    n = len(excesses)
    return (n * shape_of(excesses) + PRIOR_SAMPLES * PRIOR_SHAPE) / (n + PRIOR_SAMPLES)


def shape_of(excesses: Array) -> float:
    """Return the shape of the generalised Pareto that positive numbers, ascending, come from.

    The posterior mean of Zhang and Stephens 2009 (Technometrics 51, 316-325): with theta =
    -shape / scale, the profile likelihood l(theta) weighs a grid of theta, and the shape is
    mean_i log(1 - theta x_i) at their mean.

    Args:
        excesses: [M].
    """
    n = len(excesses)
    points = 30 + math.floor(math.sqrt(n))
    quartile = excesses[math.floor(n / 4 + 0.5) - 1]
    steps = 1 - np.sqrt(points / (np.arange(1, points + 1) - 0.5))
    theta = 1 / excesses[-1] + steps / (3 * quartile)
    theta = theta[theta != 0]  # there the likelihood is 0 / 0
    shapes = np.log1p(-theta[:, None] * excesses).mean(1)
    profile = n * (np.log(-theta / shapes) - shapes - 1)
    weights = np.exp(profile - profile.max())
    mean = float(np.sum(weights * theta) / weights.sum())
    return float(np.log1p(-mean * excesses).mean())


def jackknife_bias(log_w: Tensor) -> Tensor:
    """Return by how much the jackknife says that L_k is below log p(x), nats, float64, [B].

    (k - 1) (L_k - mean_i L_{k-1 without i}), which is Var(w) / (2 k p(x)^2) to first order
    (Nowozin 2018). NaN at k = 1.

    Args:
        log_w: Unnormalised log weights, [k, B].
    """
    k, images = log_w.shape
    if k == 1:
        return torch.full((images,), math.nan, dtype=torch.float64)
    log_w = log_w.double()
    largest = log_w.argmax(0, keepdim=True)
    total = log_w.logsumexp(0, keepdim=True)
    log_rest = torch.log1p(-torch.exp(log_w - total))
    # where one weight is nearly all, what is left of one is the sum of the others
    others = log_w.scatter(0, largest, -math.inf).logsumexp(0, keepdim=True)
    log_rest = log_rest.scatter(0, largest, others - total)
    return (1 - k) * (log_rest.mean(0) + math.log(k / (k - 1)))

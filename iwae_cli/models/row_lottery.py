"""Samples of small weight are dropped without bias before the backward pass.

Sample i of an image is kept with probability p_i, independently of the others, and what it counts
is divided by p_i, so that every gradient keeps its expectation. On a trained model few of the
weights of an image matter, and a backward pass over the kept rows takes a fraction of the time.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from iwae_cli.objectives.base import Weights
from iwae_cli.objectives.importance import drawn_by_weight

# A sample is kept for sure if it has this part of the share that it would have among equals, 1/k.
GENEROSITY = 1.0
# Rows come in multiples of this: oneDNN builds new routines for every new number of them.
MULTIPLE = 64
# Uniform random numbers in float32 are multiples of it: an event of smaller probability has this.
LEAST = 2.0**-24
# Standard deviations of the number of kept rows that a fixed capacity leaves room for.
SPARE = 6.0


class KeptRows(NamedTuple):
    """Samples that a backward pass is made for.

    Attributes:
        samples: Index of each one among those of its image, [R].
        images: Index of its image, [R].
        weights: What it counts, each [1, R].
    """

    samples: Tensor
    images: Tensor
    weights: Weights

    def of(self, values: Tensor) -> Tensor:
        """Return the rows of `values` [k, B, ...], [1, R, ...]."""
        return values[self.samples, self.images].unsqueeze(0)


def keep_probabilities(weights: Weights, generosity: float = GENEROSITY) -> Tensor:
    """Return p_i = min(1, g k s_i), [k, B], s_i the largest share of sample i in a weight.

    Its share in a weight v of (a, b, c) is |v_i| / sum_j |v_j|, and 0 where that sum is; p_i is 0
    only where all three weights are.

    Args:
        weights: Of all k samples, each [k, B].
        generosity: g, at least 1, with which equal weights keep every sample.
    """
    own = (weights.a,) if weights.total_derivative else (weights.a, weights.b, weights.c)
    shares = [torch.nn.functional.normalize(v, p=1, dim=0, eps=1e-30) for v in own]
    largest = torch.stack(shares).abs().amax(0) if len(own) > 1 else shares[0].abs()
    p = (generosity * len(largest) * largest).clamp(LEAST, 1)
    return p.masked_fill_(largest == 0, 0.0)


def draw(
    weights: Weights,
    uniform: Tensor,
    *,
    capacity: int | None = None,
    generosity: float = GENEROSITY,
) -> KeptRows:
    """Return the rows that the lottery keeps, with their weights over their probabilities.

    Rows of weight zero fill their number up: copies of a kept row, as what a dropped row computes
    may be infinite.

    Args:
        weights: Of all k samples, each [k, B].
        uniform: Uniform random numbers in [0, 1), [k, B].
        capacity: Number of rows to return, for shapes that do not depend on the data. The
            probabilities are lowered until the expected number and SPARE standard deviations
            fit. Should more be kept all the same, the last ones are lost, a bias of less than
            one in 1e8 draws. None returns as many rows as are kept, up to MULTIPLE.
        generosity: g of `keep_probabilities`.
    """
    p = keep_probabilities(weights, generosity)
    if capacity is not None and capacity < p.numel():
        p = p * (expected_rows(capacity) / p.sum()).clamp(max=1)
    kept = ~(uniform >= p)  # one that is NaN is kept and shows
    if capacity is None:
        flat, valid = padded(kept)
    else:
        flat, valid = at_fixed_size(kept, capacity)
    samples, images = flat // p.shape[1], flat % p.shape[1]
    factor = valid / p.flatten()[flat]
    factor = factor.where(valid, 0.0)

    def rescaled(v: Tensor) -> Tensor:
        return (v.flatten()[flat] * factor).where(valid, 0.0).unsqueeze(0)

    if weights.total_derivative:
        return KeptRows(samples, images, Weights.of_total_derivative(rescaled(weights.a)))
    own = Weights(rescaled(weights.a), rescaled(weights.b), rescaled(weights.c))
    return KeptRows(samples, images, own)


def draw_one(log_w: Tensor, uniform: Tensor) -> KeptRows:
    """Return one sample of each image, i with probability w_i / sum_j w_j, that counts one.

    Args:
        log_w: Unnormalised log weights, [k, B].
        uniform: Uniform random numbers in [0, 1), [B].
    """
    images = torch.arange(log_w.shape[1], device=log_w.device)
    weights = Weights.of_total_derivative(torch.ones_like(log_w[:1]))
    return KeptRows(drawn_by_weight(log_w, uniform), images, weights)


def ample_capacity(k: int, images: int) -> int:
    """Return twice as many rows as training keeps, or all, a multiple of MULTIPLE.

    On MNIST 7 of 50 samples of an image are kept, 2.3 of 10 and 1.6 of 5. An estimator whose
    weights are alike keeps as many as there is room for, at a larger variance.

    Args:
        k: Samples an image.
        images: Their number.
    """
    rows = images * min(k, 2 + k // 4)
    return -(-rows // MULTIPLE) * MULTIPLE


def expected_rows(capacity: int) -> float:
    """Return m with m + SPARE sqrt(m) = capacity; the variance of their number is below m."""
    return float(((capacity + SPARE**2 / 4) ** 0.5 - SPARE / 2) ** 2)


def padded(kept: Tensor) -> tuple[Tensor, Tensor]:
    """Return flat indices of the kept rows, in order, with fillers, [R], and which are kept."""
    flat = kept.flatten().nonzero().squeeze(1)
    number = len(flat)
    missing = -number % MULTIPLE if number else MULTIPLE
    filler = flat[:1] if number else flat.new_zeros(1)
    flat = torch.cat([flat, filler.expand(missing)])
    return flat, torch.arange(len(flat), device=flat.device) < number


def at_fixed_size(kept: Tensor, capacity: int) -> tuple[Tensor, Tensor]:
    """Return what `padded` does, for `capacity` rows, without waiting for the device."""
    flat = kept.flatten()
    rank = flat.cumsum(0)
    place = torch.where(flat & (rank <= capacity), rank - 1, capacity)
    indices = torch.arange(len(flat), device=flat.device)
    found = indices.new_zeros(capacity + 1).scatter_(0, place, indices)[:capacity]
    valid = torch.arange(capacity, device=flat.device) < rank[-1]
    return torch.where(valid, found, found[:1]), valid

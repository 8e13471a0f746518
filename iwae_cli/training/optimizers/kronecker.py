"""The Kronecker factors of a linear layer's Fisher information, and steps along their inverses."""

import torch
from torch import Tensor

from iwae_cli.models.fisher import FisherSample
from iwae_cli.models.matmul import product

# With more inputs or outputs than this, the diagonal of a factor stands for all of it.
WIDEST = 4096
# Rows whose products are added up at once
ROWS = 4096


def natural(state: dict[str, Tensor], m_weight: Tensor, m_bias: Tensor) -> tuple[Tensor, Tensor]:
    """Return the directions U and u in the weight and the bias of a linear layer, see `KFAC`.

    Args:
        state: Mean of the inputs, [n], inverses of the damped factors, [n, n] and [m, m] or, for
            diagonal ones, [n] and [m].
        m_weight: Momentum of the weight, [m, n].
        m_bias: Momentum of the bias, [m].
    """
    mean, outputs = state["mean"], state["output_inverse"]
    centred_weight = torch.addr(m_weight, m_bias, mean, alpha=-1)
    inner = times(centred_weight, state["input_inverse"])
    if outputs.dim() == 1:
        U, u = outputs.unsqueeze(1) * inner, outputs * m_bias
    else:
        U, u = product(outputs, inner.T, None), torch.mv(outputs, m_bias)
    return U, u - torch.mv(U, mean)


def times(left: Tensor, symmetric: Tensor) -> Tensor:
    """Return left [m, n] times a symmetric matrix, [n, n], or a diagonal one, [n]."""
    return left * symmetric if symmetric.dim() == 1 else product(left, symmetric, None)


def moments_of(rows: Tensor, *, binary: bool) -> tuple[Tensor, Tensor]:
    """Return the mean of rows [R, n], and E[a a'], [n, n]; its diagonal, [n], if n > `WIDEST`.

    Args:
        rows: In any floating-point type; the moments are float32 at least.
        binary: Whether the rows are probabilities of independent zeros and ones, whose moments
            are asked for.
    """
    dtype = torch.promote_types(rows.dtype, torch.float32)
    mean = rows.mean(0, dtype=dtype)
    if rows.shape[1] > WIDEST:
        return mean, mean if binary else rows.to(dtype).square().mean(0)
    moment = torch.zeros(len(mean), len(mean), dtype=dtype, device=rows.device)
    for part in rows.split(ROWS):
        moment.addmm_(part.T.to(dtype), part.to(dtype), alpha=1 / len(rows))
    if binary:
        moment.diagonal().copy_(mean)
    return mean, moment


def output_moment(sample: FisherSample) -> Tensor:
    """Return E[g g'], [m, m], or its diagonal, [m]."""
    if sample.squares:
        return sample.outputs.mean(
            0, dtype=torch.promote_types(sample.outputs.dtype, torch.float32)
        )
    return moments_of(sample.outputs, binary=False)[1]


def centred(mean: Tensor, moment: Tensor) -> Tensor:
    """Return the covariance for a mean [n] and second moments, [n, n] or [n]."""
    if moment.dim() == 1:
        return moment - mean.square()
    return torch.addr(moment, mean, mean, alpha=-1)


def mean_of_diagonal(factor: Tensor) -> Tensor:
    """Return the mean of the diagonal of a factor, above zero."""
    diagonal = factor if factor.dim() == 1 else factor.diagonal()
    return diagonal.mean().clamp(min=1e-12)


def damped_inverse(factor: Tensor, added: Tensor) -> tuple[Tensor, bool]:
    """Return (factor + added I)^-1, and whether there is none that is finite."""
    if factor.dim() == 1:
        inverse = 1 / (factor + added)
        return inverse, not bool(inverse.isfinite().all() and (inverse > 0).all())
    damped = factor.clone()
    damped.diagonal().add_(added)
    triangle, failed = torch.linalg.cholesky_ex(damped)
    inverse = torch.cholesky_inverse(triangle)
    return inverse, bool(failed) or not bool(inverse.isfinite().all())

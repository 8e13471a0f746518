"""Pure functions behind the layers, written for speed; `layers.py` alone calls them."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

# A product of this many factors in [0.5, 1] stays above the smallest normal float32, 2^-126.
FACTORS = 112


def sum_of_softplus(norm: Tensor, total: Tensor, larger: Tensor) -> Tensor:
    """Return sum_d softplus(l_d) = (sum_d |l_d| + sum_d l_d) / 2 - sum_d log sigmoid(|l_d|).

    Args:
        norm: sum_d |l_d|, [k, B].
        total: sum_d l_d, [k, B].
        larger: sigmoid(|l_d|), in [1/2, 1], [k, B, D]; one logarithm for FACTORS of them.
    """
    products = torch.stack([part.prod(-1) for part in torch.split(larger, FACTORS, dim=-1)])
    return (norm + total) / 2 - products.log_().sum(0)


class _BernoulliLogDensity(torch.autograd.Function):
    """See `bernoulli_log_density`; keeps only sigmoid(logits) for the backward pass."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, features: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        logits = functional.linear(features, weight, bias)
        norm = torch.linalg.vector_norm(logits, ord=1, dim=-1)
        probability = logits.sigmoid_()
        larger = (probability - 0.5).abs_().add_(0.5)
        softplus = sum_of_softplus(norm, features @ weight.sum(0) + bias.sum(), larger)
        return (features * (x @ weight)).sum(-1) + x @ bias - softplus, probability

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:  # noqa: ANN401
        x, features, weight, _ = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, features, weight, output[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None, _: None) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        if grad is None:
            return None, None, None, None
        # d log p / d logits = x - s. The part with x is summed over the samples before the
        # product with it, the part with s needs no elementwise pass over [k, B, D].
        x, features, weight, probability = ctx.saved_tensors
        weighted = grad.unsqueeze(-1) * features
        flat_s, flat_weighted = probability.flatten(0, 1), weighted.flatten(0, 1)
        grad_features = grad.unsqueeze(-1) * (x @ weight - probability @ weight)
        grad_weight = torch.addmm(flat_s.T @ flat_weighted, x.T, weighted.sum(0), alpha=1, beta=-1)
        grad_bias = x.T @ grad.sum(0) - flat_s.T @ grad.flatten()
        return None, grad_features, grad_weight, grad_bias


def bernoulli_log_density(x: Tensor, features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return log p(x | l) = sum_d x_d l_d - softplus(l_d) with l = features W^T + b, [k, B].

    Differentiable once, in `features`, `weight` and `bias`; the backward pass consists of matrix
    products alone.

    Args:
        x: Binary images, [B, D].
        features: Inputs of the last linear layer, [k, B, K].
        weight: [D, K].
        bias: [D].
    """
    inputs = x, features, weight, bias
    if not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)):
        magnitudes = functional.linear(features, weight, bias).abs_()
        norm = magnitudes.sum(-1)
        total = features @ weight.sum(0) + bias.sum()
        softplus = sum_of_softplus(norm, total, magnitudes.sigmoid_())
        return (features * (x @ weight)).sum(-1) + x @ bias - softplus
    log_density: Tensor = _BernoulliLogDensity.apply(*inputs)[0]  # type: ignore[no-untyped-call]
    return log_density

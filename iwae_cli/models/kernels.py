"""Pure functions behind the layers, written for speed; `layers.py` alone calls them.

Training differentiates them by the functions next to them, not by autograd: small networks would
spend more time between the operations than in them. With gradients enabled they can be
differentiated by autograd all the same, which is how the tests check the derivatives. Weights and
biases of layers come one after another.
"""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from iwae_cli.models.activations import activated, activation_backward
from iwae_cli.models.conditional import LayerGradients
from iwae_cli.models.matmul import buffers, product, sum_of_outer_products, unobserved

# A product of this many factors in [0.5, 1] stays above the smallest normal float32, 2^-126.
FACTORS = 112


class DenseCache(NamedTuple):
    """What a network of dense layers keeps for its derivative.

    Attributes:
        activations: The inputs and the output of each layer, [R, n], in the products' dtype.
        weights: Of the layers, [n', n], in that dtype.
        activation: That follows each layer, of `core.config.ACTIVATIONS`.
    """

    activations: list[Tensor]
    weights: list[Tensor]
    activation: str = "tanh"

    @property
    def features(self) -> Tensor:
        """The output of the last layer, [R, n]."""
        return self.activations[-1]


def dense_layers(
    inputs: Tensor, parameters: Sequence[Tensor], dtype: torch.dtype, activation: str = "tanh"
) -> DenseCache:
    """Apply layers tanh(W h + b), with products in `dtype`, to `inputs` [..., n].

    Another activation of `core.config.ACTIVATIONS` may stand in for the tanh.
    """
    fused = activation == "tanh"
    weights = [weight.to(dtype) for weight in parameters[::2]]
    activations = [torch.atleast_2d(inputs).flatten(0, -2).to(dtype)]
    for weight, bias in zip(weights, parameters[1::2], strict=True):
        found = product(activations[-1], weight, bias.to(dtype), tanh=fused)
        activations.append(found if fused else activated(activation, found))
    return DenseCache(activations, weights, activation)


def dense_layers_backward(
    cache: DenseCache, grad: Tensor, *, of_inputs: bool, row_weights: Tensor | None = None
) -> LayerGradients:
    """Return the gradients at dense layers, in the products' dtype.

    Args:
        cache: Of `dense_layers`.
        grad: Gradient of the features, [R, n].
        of_inputs: Whether the gradient of the inputs is asked for.
        row_weights: What each row counts in the gradients of the parameters, [R, 1]; None for one.
    """
    signals = backward_signals(cache, grad)
    found: list[Tensor] = []
    for activation, signal in zip(cache.activations, signals, strict=False):
        own = signal if row_weights is None else signal * row_weights
        found += [sum_of_outer_products(own, activation), own.sum(0)]
    if not of_inputs:
        return LayerGradients(found, grad.new_empty(0))
    return LayerGradients(found, product(signals[0], cache.weights[0].T, None) if signals else grad)


def dense_layers_slopes(cache: DenseCache, grad: Tensor) -> Tensor:
    """Return the gradient of the inputs of dense layers, [R, n], for that of the features.

    It is in the products' dtype.
    """
    grad = grad.to(cache.features.dtype)
    signals = backward_signals(cache, grad)
    return product(signals[0], cache.weights[0].T, None) if signals else grad


def backward_signals(cache: DenseCache, grad: Tensor) -> list[Tensor]:
    """Return the gradients in W h + b of each dense layer, [R, n'], for that of the features."""
    signals: list[Tensor] = []
    for index in reversed(range(len(cache.weights))):
        signals.insert(0, activation_backward(cache.activation, grad, cache.activations[index + 1]))
        if index:
            grad = product(signals[0], cache.weights[index].T, None)
    return signals


def sum_of_softplus(t: Tensor) -> Tensor:
    """Return sum_d softplus(t_d) = sum_d max(t_d, 0) - log prod_d sigmoid(|t_d|), from [..., D].

    The factors of the product are in [1/2, 1]; FACTORS of them share one logarithm.
    """
    if not unobserved():  # a compiler fuses the plain formula itself
        return functional.softplus(t).sum(-1)
    buffer = buffers.like("softplus", t)
    larger = torch.abs(t, out=buffer).sigmoid_()
    whole = t.shape[-1] // FACTORS * FACTORS
    logarithms: Tensor = larger[..., :whole].unflatten(-1, (-1, FACTORS)).prod(-1).log_().sum(-1)
    if whole < t.shape[-1]:
        logarithms += larger[..., whole:].prod(-1).log_()
    return torch.clamp(t, min=0, out=buffer).sum(-1) - logarithms


class BernoulliCache(NamedTuple):
    """What a Bernoulli log density keeps for its derivative.

    Attributes:
        residual: sigmoid(l) - x for the logits l = W h + b, [R, D].
        weight: [D, n], in the residual's dtype.
    """

    residual: Tensor
    weight: Tensor


def bernoulli_log_density(
    x: Tensor, features: Tensor, weight: Tensor, bias: Tensor, *, keep: bool = False
) -> tuple[Tensor, BernoulliCache | None]:
    """Return log p(x | l) = -sum_d softplus((1 - 2 x_d) l_d), nats, with l = W features + b.

    It is summed in float32 at least.

    Args:
        x: Binary images, [B, D].
        features: [k, B, n], or [k, 1, n] where all images share them and nothing is kept; their
            dtype is that of the product.
        weight: [D, n].
        bias: [D].
        keep: Whether the derivative will be asked for.

    Returns:
        The log density, [k, B], and a cache if `keep`.
    """
    weight, bias = weight.to(features.dtype), bias.to(features.dtype)
    if in_one_pass(features):
        logits = product(features.flatten(0, 1), weight, bias).unflatten(0, features.shape[:2])
        found, residual = one_pass().bernoulli_log_densities(logits, x, slopes=keep)
        return found, BernoulliCache(residual.flatten(0, 1), weight) if keep else None
    sign = torch.rsub(x, 1, alpha=2).to(torch.promote_types(weight.dtype, torch.float32))
    alone = len(x) == 1 and not keep
    if alone:  # one image's signs go into the layer, [D, n] and not [k, D]
        weight, bias = weight * sign.T.to(weight.dtype), bias * sign[0].to(bias.dtype)
    logits = product(features.flatten(0, 1), weight, bias).unflatten(0, features.shape[:2])
    t = widened(logits)
    if not alone:
        t = t.mul_(sign) if unobserved() and t.shape[1] == len(sign) else t * sign
    log_density = -sum_of_softplus(t)
    if not keep:
        return log_density, None
    # sigmoid(l) - x is sigmoid(t) with the sign of 1 - 2x
    residual = t.sigmoid_().mul_(sign).to(logits.dtype)
    return log_density, BernoulliCache(residual.flatten(0, 1), weight)


def in_one_pass(logits: Tensor) -> bool:
    """Whether `bernoulli_kernel` can take the log density of these."""
    known = logits.dtype == torch.bfloat16 or logits.dtype == torch.float32
    return known and logits.device.type == "cpu" and unobserved()


@cache
def one_pass() -> ModuleType:
    """Return `bernoulli_kernel`, which takes long to import and is needed on a processor alone."""
    return import_module("iwae_cli.models.bernoulli_kernel")


def widened(logits: Tensor) -> Tensor:
    """Return the logits in float32 at least, in memory that the next call overwrites."""
    if logits.dtype != torch.bfloat16:
        return logits
    return buffers.like("logits", logits).copy_(logits) if unobserved() else logits.float()


def bernoulli_log_density_backward(
    cache: BernoulliCache, features: Tensor, descent: Tensor
) -> LayerGradients:
    """Return the gradients at a Bernoulli log density, by matrix products alone.

    As d log p / d l = x - sigmoid(l), no elementwise pass over [k, B, D] is needed. The gradient
    of the features is that of -log p, without weights.

    Args:
        cache: Of `bernoulli_log_density`.
        features: [R, n].
        descent: Minus the gradient of the loss in each log density, [R, 1], in features' dtype.
    """
    residual, weight = cache
    grad_weight = sum_of_outer_products(residual, descent * features)
    grad_bias = torch.mm(descent.T, residual)[0]
    return LayerGradients([grad_weight, grad_bias], product(residual, weight.T, None))

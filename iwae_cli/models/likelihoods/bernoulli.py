"""p(x | h) for binary pixels: a Bernoulli distribution of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from iwae_cli.models.conditional import ConditionalLayer, DensityGradients, DensitySlopes
from iwae_cli.models.distributions import Bernoulli
from iwae_cli.models.fisher import FisherSample
from iwae_cli.models.kernels import (
    BernoulliCache,
    DenseCache,
    bernoulli_log_density,
    bernoulli_log_density_backward,
    dense_layers_backward,
    dense_layers_slopes,
)
from iwae_cli.models.layers import DenseNetwork, Linear, parameters_of
from iwae_cli.models.likelihoods.base import Likelihood
from iwae_cli.models.matmul import product


@dataclass(frozen=True)
class BernoulliPixels(Likelihood):
    """log p(x | h) = sum_d x_d log p_d + (1 - x_d) log(1 - p_d), nats, of x in {0, 1}^D."""

    name: str = "bernoulli"
    binarises: ClassVar[bool] = True

    def layer(
        self, n_in: int, hidden: Sequence[int], n_out: int, activation: str = "tanh"
    ) -> "BernoulliLayer":
        """Return p(x | h)."""
        return BernoulliLayer(n_in, hidden, n_out, activation)


class BernoulliLayerCache(NamedTuple):
    """What a Bernoulli layer keeps for its derivative."""

    network: DenseCache
    density: BernoulliCache


class BernoulliLayer(ConditionalLayer[Bernoulli]):
    """p(x | h): hidden layers with one logit a pixel."""

    def __init__(
        self, n_in: int, hidden: Sequence[int], n_out: int, activation: str = "tanh"
    ) -> None:
        super().__init__()
        sizes = [n_in, *hidden]
        self.network = DenseNetwork(sizes, activation)
        self.logits = Linear(sizes[-1], n_out)

    def forward(self, inputs: Tensor) -> Bernoulli:
        """Return the distribution of the pixels for latents [..., H]."""
        features = self.network(inputs).features.to(inputs.dtype)
        logits = product(features, *parameters_of((self.logits,)))
        return Bernoulli(logits.view(*inputs.shape[:-1], logits.shape[-1]))

    def log_density(
        self, values: Tensor, inputs: Tensor, *, keep: bool = False
    ) -> tuple[Tensor, BernoulliLayerCache | None]:
        """Return log p(x | h) = sum_d x_d l_d - softplus(l_d), nats, [k, B], and a cache if `keep`.

        Args:
            values: Binary images x, [B, D].
            inputs: Latents h of the first stochastic layer, [k, B, H], or [k, 1, H] for all images
                alike.
            keep: Whether the derivative will be asked for.
        """
        network = self.network(inputs)
        last = parameters_of((self.logits,))
        features = network.features.unflatten(0, inputs.shape[:-1])
        found, density = bernoulli_log_density(values, features, *last, keep=keep)
        return found, None if density is None else BernoulliLayerCache(network, density)

    def log_density_backward(
        self, cache: BernoulliLayerCache, a: Tensor, b: Tensor | None
    ) -> DensityGradients:
        """Return what `ConditionalLayer.log_density_backward` does, written out."""
        features = cache.network.features
        descent = a.reshape(-1, 1).neg().to(features.dtype)
        last = bernoulli_log_density_backward(cache.density, features, descent)
        if b is None:
            grad = last.inputs.mul_(descent)
            network = dense_layers_backward(cache.network, grad, of_inputs=True)
            grad_h = network.inputs.to(a.dtype)
        else:
            network = dense_layers_backward(
                cache.network, last.inputs, of_inputs=True, row_weights=descent
            )
            grad_h = network.inputs * b.reshape(-1, 1).neg()
        parameters = [p.to(a.dtype) for p in network.parameters + last.parameters]
        return DensityGradients(parameters, grad_h, a.new_empty(0))

    def log_density_slopes(self, cache: BernoulliLayerCache, like: Tensor) -> DensitySlopes:
        """Return what `ConditionalLayer.log_density_slopes` does, written out."""
        residual, weight = cache.density
        descent = dense_layers_slopes(cache.network, product(residual, weight.T, None))
        return DensitySlopes(descent.to(like.dtype).neg_(), like.new_empty(0))

    def linear_layers(self) -> list[nn.Linear]:
        """Return all of them, the one of the logits last."""
        return [module for module in self.modules() if isinstance(module, nn.Linear)]

    def fisher_samples(
        self, cache: BernoulliLayerCache, generator: torch.Generator
    ) -> list[FisherSample]:
        """Return what the Fisher information of each linear layer is estimated from.

        The labels are drawn from p(x | h); their log density has the derivative x - p in a logit,
        of mean square p (1 - p).

        Args:
            cache: Of `log_density`.
            generator: Source of the labels.
        """
        error = cache.density.residual.to(self.logits.weight.dtype)
        p = torch.where(error < 0, error + 1, error)  # the residual is sigmoid(l) - x
        uniform = torch.rand(p.shape, generator=generator, device=p.device, dtype=p.dtype)
        slopes = uniform.lt(p).to(p.dtype).sub_(p).to(cache.density.weight.dtype)
        found = self.network.fisher_samples(
            cache.network, product(slopes, cache.density.weight.T, None)
        )
        squares = p * (1 - p)
        features = cache.network.features
        return [*found, FisherSample(self.logits.weight, features, squares, squares=True)]

    def start_at(self, mean: Tensor, std: Tensor) -> None:
        """Set the bias of the logits to the logit of `mean` [D], clipped to [0.001, 0.999]."""
        self.logits.bias.data.copy_(torch.logit(mean.clamp(0.001, 0.999)))

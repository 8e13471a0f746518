"""Layers of the networks: hidden layers, and the Gaussian over latents that they end in."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from iwae_cli.models.conditional import (
    ConditionalLayer,
    DensityGradients,
    DensitySlopes,
    LayerGradients,
)
from iwae_cli.models.distributions import Gaussian, normal_like
from iwae_cli.models.fisher import FisherSample
from iwae_cli.models.kernels import (
    DenseCache,
    backward_signals,
    dense_layers,
    dense_layers_backward,
    dense_layers_slopes,
)
from iwae_cli.models.matmul import product, sum_of_outer_products


class Linear(nn.Linear):
    """A linear layer whose parameters are left to `models.initialisation` or a checkpoint."""

    def reset_parameters(self) -> None:
        """Draw nothing."""


class DenseNetwork(nn.Sequential):
    """Linear layers between consecutive `sizes`, each followed by an activation.

    Attributes:
        products: The dtype of the matrix products, however few rows there are; None keeps that of
            the parameters.
    """

    products: torch.dtype | None = None

    def __init__(self, sizes: Sequence[int], activation: str = "tanh") -> None:
        super().__init__()
        self.activation = activation
        for layer, (n_in, n_out) in enumerate(zip(sizes, sizes[1:], strict=False)):
            # the names under which checkpoints have them
            self.add_module(str(2 * layer), Linear(n_in, n_out))

    def forward(self, inputs: Tensor) -> DenseCache:
        """Return all activations for `inputs` [..., sizes[0]]."""
        return dense_layers(
            inputs, parameters_of(self), self.products or inputs.dtype, self.activation
        )

    def fisher_samples(self, cache: DenseCache, grad: Tensor) -> list[FisherSample]:
        """Return what the Fisher information of each layer is estimated from.

        Args:
            cache: Of `forward`.
            grad: Derivative of the log density of the labels in the features, [R, n].
        """
        signals = backward_signals(cache, grad.to(cache.features.dtype))
        layers = [layer for layer in self if isinstance(layer, nn.Linear)]
        parts = zip(layers, cache.activations, signals, strict=False)
        return [FisherSample(layer.weight, inputs, signal) for layer, inputs, signal in parts]


def parameters_of(layers: Iterable[nn.Module]) -> list[Tensor]:
    """Return the weight and the bias of each of these linear layers, one after another."""
    return [cast(Tensor, p) for layer in layers for p in (layer.weight, layer.bias)]


class GaussianCache(NamedTuple):
    """What a Gaussian layer keeps for its derivative.

    Attributes:
        gaussian: What it returned.
        network: The hidden layers' part.
        features: Their output in the heads' dtype, [R, n].
        heads: Weights of both heads, [2 H, n].
        values: What the log density was taken at, where it was, [..., H].
    """

    gaussian: Gaussian
    network: DenseCache
    features: Tensor
    heads: Tensor
    values: Tensor | None = None


class GaussianLayer(ConditionalLayer[Gaussian]):
    """q(h | input) or p(h | input): hidden layers with a mean and a log-std head."""

    def __init__(
        self, n_in: int, hidden: Sequence[int], n_out: int, activation: str = "tanh"
    ) -> None:
        super().__init__()
        sizes = [n_in, *hidden]
        self.network = DenseNetwork(sizes, activation)
        self.mean = Linear(sizes[-1], n_out)
        self.log_std = Linear(sizes[-1], n_out)

    def forward(self, inputs: Tensor) -> Gaussian:
        """Return the Gaussian for `inputs` [..., n_in], in the parameters' dtype."""
        return self.forward_with_cache(inputs)[0]

    def forward_with_cache(self, inputs: Tensor) -> tuple[Gaussian, GaussianCache]:
        """Return what `forward` does, and what `backward` needs."""
        network = self.network(inputs)
        features = network.features.to(inputs.dtype)
        heads = torch.cat([self.mean.weight, self.log_std.weight])
        found = product(features, heads, torch.cat([self.mean.bias, self.log_std.bias]))
        gaussian = Gaussian(*found.view(*inputs.shape[:-1], len(heads)).chunk(2, dim=-1))
        return gaussian, GaussianCache(gaussian, network, features, heads)

    def backward(
        self,
        cache: GaussianCache,
        gradient: Gaussian,
        *,
        of_inputs: bool = True,
        row_weights: Tensor | None = None,
    ) -> LayerGradients:
        """Return what `ConditionalLayer.backward` does, written out."""
        rows = torch.cat(gradient, dim=-1).view(-1, len(cache.heads))
        own = rows if row_weights is None else rows * row_weights
        last = *sum_of_outer_products(own, cache.features).chunk(2), *own.sum(0).chunk(2)
        dtype = cache.network.features.dtype
        network = dense_layers_backward(
            cache.network,
            product(rows, cache.heads.T, None).to(dtype),
            of_inputs=of_inputs,
            row_weights=None if row_weights is None else row_weights.to(dtype),
        )
        parameters = *network.parameters, last[0], last[2], last[1], last[3]
        inputs = network.inputs.to(rows.dtype)
        return LayerGradients([p.to(rows.dtype) for p in parameters], inputs)

    def gradient_of_inputs(self, cache: GaussianCache, gradient: Gaussian) -> Tensor:
        """Return what `ConditionalLayer.gradient_of_inputs` does, written out."""
        rows = torch.cat(gradient, dim=-1).view(-1, len(cache.heads))
        of_features = product(rows, cache.heads.T, None)
        return dense_layers_slopes(cache.network, of_features).to(rows.dtype)

    def log_density_slopes(self, cache: GaussianCache, like: Tensor) -> DensitySlopes:
        """Return what `ConditionalLayer.log_density_slopes` does, written out."""
        assert cache.values is not None
        slopes = cache.gaussian.slopes(cache.values)
        return DensitySlopes(self.gradient_of_inputs(cache, slopes), -slopes.mean)

    def log_density(
        self, values: Tensor, inputs: Tensor, *, keep: bool = False
    ) -> tuple[Tensor, GaussianCache | None]:
        """Return what `ConditionalLayer.log_density` does."""
        gaussian, cache = self.forward_with_cache(inputs)
        return gaussian.log_density(values), cache._replace(values=values) if keep else None

    def log_density_backward(
        self, cache: GaussianCache, a: Tensor, b: Tensor | None
    ) -> DensityGradients:
        """Return what `ConditionalLayer.log_density_backward` does, written out."""
        assert cache.values is not None
        slopes = cache.gaussian.slopes(cache.values)
        # the slopes of a zero-weight sample may be infinite
        nothing = (a == 0 if b is None else (a == 0) & (b == 0)).unsqueeze(-1)
        slopes = Gaussian(*(slope.masked_fill(nothing, 0.0) for slope in slopes))
        if b is None:
            weighted = Gaussian(*(a.unsqueeze(-1) * slope for slope in slopes))
            found = self.backward(cache, weighted)
            return DensityGradients(found.parameters, found.inputs, -slopes.mean)
        found = self.backward(cache, slopes, row_weights=a.reshape(-1, 1))
        inputs = found.inputs * b.reshape(-1, 1)
        return DensityGradients(found.parameters, inputs, -slopes.mean)

    def linear_layers(self) -> list[nn.Linear]:
        """Return all of them, the heads last."""
        return [module for module in self.modules() if isinstance(module, nn.Linear)]

    def fisher_samples(
        self, cache: GaussianCache, generator: torch.Generator
    ) -> list[FisherSample]:
        """Return what the Fisher information of each linear layer is estimated from.

        The labels are h = mean + std * noise, whose log density has the derivatives noise / std in
        the mean and noise^2 - 1 in log_std.

        Args:
            cache: Of `forward_with_cache` or `log_density`.
            generator: Source of the labels.
        """
        precision = torch.exp(-cache.gaussian.log_std).flatten(0, -2)
        noise = normal_like(precision, generator)
        slopes = torch.cat([noise * precision, noise.square() - 1], dim=-1)
        found = self.network.fisher_samples(cache.network, product(slopes, cache.heads.T, None))
        for head, squares in (
            (self.mean, precision.square()),
            (self.log_std, torch.full_like(noise, 2.0)),
        ):
            found.append(FisherSample(head.weight, cache.features, squares, squares=True))
        return found

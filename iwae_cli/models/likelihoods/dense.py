"""Hidden layers whose last one gives the parameters of a density of each pixel."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from iwae_cli.models.conditional import ConditionalLayer, DensityGradients, Distribution
from iwae_cli.models.fisher import FisherSample
from iwae_cli.models.kernels import DenseCache, dense_layers_backward
from iwae_cli.models.layers import DenseNetwork, Linear
from iwae_cli.models.matmul import product, sum_of_outer_products

D = TypeVar("D", bound=Distribution)


class DensePixelsCache(NamedTuple):
    """What a layer of dense pixels keeps for its derivative.

    Attributes:
        outputs: Of the heads, [k, B, heads * D].
        network: The hidden layers' part.
        features: Their output in the heads' dtype, [R, n].
        weight: Of all heads, [heads * D, n].
        values: The pixels x, [B, D].
    """

    outputs: Tensor
    network: DenseCache
    features: Tensor
    weight: Tensor
    values: Tensor


class DensePixels(ConditionalLayer[D]):
    """p(x | h) with independent pixels: hidden layers with one linear head for each parameter.

    A subclass names its heads and tells the distribution, the derivative of its log density in the
    heads' outputs, and how labels are drawn from it.
    """

    HEADS: Sequence[str]

    def __init__(
        self, n_in: int, hidden: Sequence[int], n_out: int, activation: str = "tanh"
    ) -> None:
        super().__init__()
        sizes = [n_in, *hidden]
        self.network = DenseNetwork(sizes, activation)
        for name in self.HEADS:
            self.add_module(name, Linear(sizes[-1], n_out))

    @abstractmethod
    def distribution(self, outputs: Tensor) -> D:
        """Return the distribution for the outputs of all heads, [..., heads * D]."""

    @abstractmethod
    def slopes(self, outputs: Tensor, values: Tensor) -> Tensor:
        """Return the derivative of log p(values) in each output, [..., heads * D]."""

    @abstractmethod
    def draw(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Return pixels drawn from the distribution, [..., D]."""

    def forward(self, inputs: Tensor) -> D:
        """Return the distribution of the pixels for latents [..., H]."""
        return self.distribution(self.outputs_of(inputs)[0])

    def heads(self) -> list[nn.Linear]:
        """Return the linear layers of the parameters, that of the mean first."""
        found = [self.get_submodule(name) for name in self.HEADS]
        return [head for head in found if isinstance(head, nn.Linear)]

    def outputs_of(self, inputs: Tensor) -> tuple[Tensor, DenseCache, Tensor, Tensor]:
        """Return the heads' outputs, [..., heads * D], and the other parts of a cache."""
        network = self.network(inputs)
        features = network.features.to(inputs.dtype)
        weight = torch.cat([head.weight for head in self.heads()])
        bias = torch.cat([head.bias for head in self.heads()])
        outputs = product(features, weight, bias).view(*inputs.shape[:-1], len(weight))
        return outputs, network, features, weight

    def log_density(
        self, values: Tensor, inputs: Tensor, *, keep: bool = False
    ) -> tuple[Tensor, DensePixelsCache | None]:
        """Return what `ConditionalLayer.log_density` does."""
        outputs, network, features, weight = self.outputs_of(inputs)
        found = self.distribution(outputs).log_density(values)
        return found, DensePixelsCache(outputs, network, features, weight, values) if keep else None

    def log_density_backward(
        self, cache: DensePixelsCache, a: Tensor, b: Tensor | None
    ) -> DensityGradients:
        """Return what `ConditionalLayer.log_density_backward` does, written out."""
        slopes = self.slopes(cache.outputs, cache.values)
        # those of a zero-weight sample may be infinite
        nothing = a == 0 if b is None else (a == 0) & (b == 0)
        slopes = slopes.masked_fill(nothing.unsqueeze(-1), 0.0).flatten(0, -2)
        own = slopes * a.reshape(-1, 1)
        last = sum_of_outer_products(own, cache.features), own.sum(0)
        dtype = cache.network.features.dtype
        back = product(own if b is None else slopes, cache.weight.T, None).to(dtype)
        weights = None if b is None else a.reshape(-1, 1).to(dtype)
        network = dense_layers_backward(cache.network, back, of_inputs=True, row_weights=weights)
        parts = [part.chunk(len(self.HEADS)) for part in last]
        heads = [part for head in zip(*parts, strict=True) for part in head]
        inputs = network.inputs.to(a.dtype)
        if b is not None:
            inputs = inputs * b.reshape(-1, 1)
        parameters = [p.to(a.dtype) for p in [*network.parameters, *heads]]
        return DensityGradients(parameters, inputs, a.new_empty(0))

    def linear_layers(self) -> list[nn.Linear]:
        """Return all of them, the heads last."""
        return [module for module in self.modules() if isinstance(module, nn.Linear)]

    def fisher_samples(
        self, cache: DensePixelsCache, generator: torch.Generator
    ) -> list[FisherSample]:
        """Return what the Fisher information of each linear layer is estimated from.

        Args:
            cache: Of `log_density`.
            generator: Source of the labels.
        """
        labels = self.draw(cache.outputs, generator)
        slopes = self.slopes(cache.outputs, labels).flatten(0, -2)
        found = self.network.fisher_samples(cache.network, product(slopes, cache.weight.T, None))
        squares = slopes.square().chunk(len(self.HEADS), dim=-1)
        for head, own in zip(self.heads(), squares, strict=True):
            found.append(FisherSample(head.weight, cache.features, own, squares=True))
        return found

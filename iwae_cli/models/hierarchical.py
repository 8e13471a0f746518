"""The hierarchical model: its densities and samples of its latents."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self, cast

import torch
from torch import Tensor, nn

from iwae_cli.core.config import Arch
from iwae_cli.models.conditional import ConditionalLayer
from iwae_cli.models.distributions import Gaussian, log_standard_normal
from iwae_cli.models.encoders import encoder
from iwae_cli.models.layers import DenseNetwork, GaussianLayer
from iwae_cli.models.likelihoods import DEFAULT
from iwae_cli.models.likelihoods.base import Likelihood


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


class HierarchicalModel(nn.Module):
    """A recognition network q(h | x) and a generative network p(x, h) with L stochastic layers.

    q(h | x) = prod_l q(h_l | h_{l-1}) with h_0 = x, and
    p(x, h) = p(h_L) prod_l p(h_{l-1} | h_l) with p(h_L) = N(0, I) (Burda et al. 2015, arXiv
    1509.00519, equations 1 and 2). `recognition[l]` is q(h_{l+1} | h_l) and `generative[l]` is
    p(h_l | h_{l+1}).

    Args:
        data_dim: Pixels of an image, D.
        arch: Sizes of the stochastic layers and of the hidden layers between them.
        likelihood: Of the pixels.
    """

    def __init__(self, data_dim: int, arch: Arch, likelihood: Likelihood = DEFAULT) -> None:
        super().__init__()
        self.data_dim, self.likelihood, self.compiled = data_dim, likelihood, False
        self.latents = tuple(arch.latents)
        sizes = [data_dim, *arch.latents]
        links = list(zip(sizes, arch.hidden, sizes[1:], strict=False))
        self.recognition = nn.ModuleList(
            GaussianLayer(below, hidden, above, arch.activation)
            if level
            else encoder(arch, data_dim)
            for level, (below, hidden, above) in enumerate(links)
        )
        self.generative = nn.ModuleList(
            (GaussianLayer if level else likelihood.layer)(
                above, hidden[::-1], below, arch.activation
            )
            for level, (below, hidden, above) in enumerate(links)
        )

    @property
    def recognition_layers(self) -> list[ConditionalLayer[Gaussian]]:
        """q(h_{l+1} | h_l), from the image upwards."""
        return cast(list[ConditionalLayer[Gaussian]], list(self.recognition))

    @property
    def generative_layers(self) -> list[ConditionalLayer[Any]]:
        """p(h_l | h_{l+1}), from the image upwards."""
        return cast(list[ConditionalLayer[Any]], list(self.generative))

    def multiply_in(self, dtype: torch.dtype | None) -> Self:
        """Compute the networks' products of many rows in `dtype`, and return this model.

        Latents, heads of the Gaussian layers and log densities keep the parameters' dtype.

        Args:
            dtype: None for that of the parameters.
        """
        for module in self.modules():
            if isinstance(module, DenseNetwork):
                module.products = dtype
        return self

    def draw_noise(self, k: int, B: int, generator: torch.Generator) -> tuple[Tensor, ...]:  # noqa: N803  (the field's symbol)
        """Return standard normal noise for k samples of B images, [k, B, H] a stochastic layer."""
        dtype = next(self.parameters()).dtype
        return tuple(
            torch.randn(k, B, H, generator=generator, device=generator.device, dtype=dtype)
            for H in self.latents
        )

    def importance_sample(self, x: Tensor, noise: Sequence[Tensor]) -> ImportanceSample:
        """Return samples of the latents, each a differentiable function of `noise`, and weights.

        log w = log p(h_L) + sum_l log p(h_{l-1} | h_l) - sum_l log q(h_l | h_{l-1}). The first
        layer of the recognition network runs once an image. It is fastest under `torch.no_grad()`.

        Args:
            x: Images as the model reads them, [B, D].
            noise: Standard normal noise of each stochastic layer, [k, B, H].
        """
        latents, log_q = self.recognise(x, noise)
        log_w = self.log_p_x_and_h(x, latents) - log_q
        return ImportanceSample(log_w, log_q, tuple(latents))

    forward = importance_sample

    def recognise(self, x: Tensor, noise: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Return latents drawn from q(h | x), [k, B, H] a layer, and log q(h | x), nats, [k, B].

        Args:
            x: Images as the model reads them, [B, D].
            noise: Standard normal noise of each stochastic layer, [k, B, H].
        """
        return self.draw_latents(self.recognition_layers[0](x), noise)

    def draw_latents(self, first: Gaussian, noise: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Return what `recognise` does, given the first layer's q(h_1 | x).

        Args:
            first: Of [B, H], one for all samples of an image, or [k, B, H].
            noise: Standard normal noise of each stochastic layer, [k, B, H].
        """
        latents, log_q = [first.transform(noise[0])], first.log_density_at_noise(noise[0])
        for layer, epsilon in zip(self.recognition_layers[1:], noise[1:], strict=True):
            q = layer(latents[-1])
            latents.append(q.transform(epsilon))
            log_q = log_q + q.log_density_at_noise(epsilon)
        return latents, log_q

    def log_p_x_and_h(self, x: Tensor, latents: Sequence[Tensor]) -> Tensor:
        """Return log p(x, h), nats, [k, B].

        Args:
            x: Images as the model reads them, [B, D].
            latents: Of each stochastic layer, [k, B, H].
        """
        return self.log_p_with_caches(x, latents, keep=False)[0]

    def log_p_with_caches(
        self, x: Tensor, latents: Sequence[Tensor], *, keep: bool = True
    ) -> tuple[Tensor, list[Any]]:
        """Return log p(x, h), nats, [k, B], and each layer's cache, from the image upwards."""
        log_p, caches = log_standard_normal(latents[-1]), []
        for layer, values, inputs in zip(
            self.generative_layers, [x, *latents], latents, strict=False
        ):
            of_layer, cache = layer.log_density(values, inputs, keep=keep)
            log_p = log_p + of_layer
            caches.append(cache)
        return log_p, caches

    def log_q_h_given_x(self, x: Tensor, latents: Sequence[Tensor]) -> Tensor:
        """Return log q(h | x), nats, [k, B], of given latents, [k, B, H] a layer."""
        inputs = [x, *latents]
        log_q = x.new_zeros(())
        for layer, below, h in zip(self.recognition_layers, inputs, latents, strict=False):
            log_q = log_q + layer(below).log_density(h)
        return log_q

    def generate(self, noise: Sequence[Tensor]) -> Tensor:
        """Return E[x | h_1], [..., D], at a draw of h from the prior p(h).

        h_L is the noise of the last layer itself, h_l = mean(h_{l+1}) + std(h_{l+1}) * noise_l.

        Args:
            noise: Standard normal noise of each stochastic layer, [..., H].
        """
        return self.pixel_means(self.latents_of_prior(noise)[0])

    def latents_of_prior(self, noise: Sequence[Tensor]) -> list[Tensor]:
        """Return latents drawn from p(h), [..., H] a layer, with standard normal noise [..., H]."""
        latents = list(noise)
        for level in range(len(noise) - 1, 0, -1):
            p = self.generative_layers[level](latents[level])
            latents[level - 1] = p.transform(noise[level - 1])
        return latents

    def pixel_means(self, h: Tensor) -> Tensor:
        """Return E[x | h_1], [..., D], of first-layer latents `h` [..., H]."""
        mean: Tensor = self.generative_layers[0](h).mean
        return mean

    @torch.no_grad()
    def posterior_means(self, x: Tensor) -> Tensor:
        """Return E_q[h_1 | x], the mean of the first stochastic layer, [N, H], for `x` [N, D]."""
        mean: Tensor = self.recognition_layers[0](x).mean
        return mean

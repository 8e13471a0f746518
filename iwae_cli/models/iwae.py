"""The hierarchical model: densities, samples, and the gradients of an objective."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from iwae_cli.core.config import Arch
from iwae_cli.models import cores, row_lottery
from iwae_cli.models.fisher import FisherSample
from iwae_cli.models.gradients import Passage, pull_model
from iwae_cli.models.layers import (
    BernoulliLayer,
    Gaussian,
    GaussianLayer,
    TanhNetwork,
    Tape,
    log_standard_normal,
)
from iwae_cli.objectives.base import Objective, Weights

Reduction = Literal["mean", "sum"]
ORIGINAL_SEED = 123


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


class Gradients(NamedTuple):
    """What one minibatch says.

    Attributes:
        bound: Of each image, nats, [B].
        parameters: Gradient of the loss in each parameter, in the model's order.
    """

    bound: Tensor
    parameters: list[Tensor]


class IWAE(nn.Module):
    """A recognition network q(h | x) and a generative network p(x, h) with L stochastic layers.

    q(h | x) = prod_l q(h_l | h_{l-1}) with h_0 = x, and
    p(x, h) = p(h_L) prod_l p(h_{l-1} | h_l) with p(h_L) = N(0, I) (Burda et al. 2015, arXiv
    1509.00519, equations 1 and 2). `recognition[l]` is q(h_{l+1} | h_l) and `generative[l]` is
    p(h_l | h_{l+1}).

    Args:
        data_dim: Pixels of an image, D.
        arch: Sizes of the stochastic layers and of the tanh layers between them.
    """

    def __init__(self, data_dim: int, arch: Arch) -> None:
        super().__init__()
        self.data_dim, self.compiled = data_dim, False
        self.latents = tuple(arch.latents)
        sizes = [data_dim, *arch.latents]
        links = list(zip(sizes, arch.hidden, sizes[1:], strict=False))
        self.recognition = nn.ModuleList(
            GaussianLayer(below, hidden, above) for below, hidden, above in links
        )
        self.generative = nn.ModuleList(
            (GaussianLayer if level else BernoulliLayer)(above, hidden[::-1], below)
            for level, (below, hidden, above) in enumerate(links)
        )

    def initialise(
        self, init: str, *, generator: torch.Generator, mean_image: Tensor | None
    ) -> None:
        """Draw the weights from Glorot's uniform distribution and set the biases to zero.

        Args:
            init: `glorot`, or `original_code`: each layer from numpy's `RandomState(123)`, so
                that layers of one shape start equal, whatever the seed.
            generator: Source of the weights with `glorot`; on the CPU.
            mean_image: Mean training image, [D]: the output bias starts at the logit of it,
                clipped to [0.001, 0.999]. None leaves it at zero.
        """
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.zeros_(layer.bias)
                if init == "original_code":
                    bound = np.sqrt(6 / (layer.in_features + layer.out_features))
                    shape = (layer.in_features, layer.out_features)
                    weight = np.random.RandomState(ORIGINAL_SEED).uniform(-bound, bound, shape)
                    layer.weight.data.copy_(torch.from_numpy(weight.T))
                else:
                    nn.init.xavier_uniform_(layer.weight, generator=generator)
        if mean_image is not None:
            bias = torch.logit(mean_image.clamp(0.001, 0.999))
            self.generative[0].logits.bias.data.copy_(bias)  # type: ignore[union-attr, operator]  # a BernoulliLayer

    def multiply_in(self, dtype: torch.dtype | None) -> "IWAE":
        """Compute the networks' products of many rows in `dtype`, and return this model.

        Latents, heads of the Gaussian layers and log densities keep the parameters' dtype.

        Args:
            dtype: None for that of the parameters.
        """
        for module in self.modules():
            if isinstance(module, TanhNetwork):
                module.products = dtype
        return self

    def compile_training(self) -> "IWAE":
        """Let `torch.compile` make both passes, at their first calls, and return this model.

        Results differ by rounding; tests/test_compile.py states how much.
        """
        self.importance_sample = torch.compile(self.importance_sample)  # type: ignore[method-assign]  # this model's own
        self.passage = torch.compile(self.passage)  # type: ignore[method-assign]  # this model's own
        self.compiled = True
        self.pull = torch.compile(self.pull)  # type: ignore[method-assign]  # this model's own
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
            x: Binary images, [B, D].
            noise: Standard normal noise of each stochastic layer, [k, B, H].
        """
        latents, log_q = self.recognise(x, noise)
        log_w = self.log_p_x_and_h(x, latents) - log_q
        return ImportanceSample(log_w, log_q, tuple(latents))

    forward = importance_sample

    def recognise(
        self, x: Tensor, noise: Sequence[Tensor], tape: Tape | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """Return latents drawn from q(h | x), [k, B, H] a layer, and log q(h | x), nats, [k, B].

        Args:
            x: Binary images, [B, D].
            noise: Standard normal noise of each stochastic layer, [k, B, H].
            tape: What each layer's `pull` will need is added to it, from the image upwards.
        """
        return self.draw_latents(self.recognition[0](x, tape), noise, tape)

    def draw_latents(
        self, first: Gaussian, noise: Sequence[Tensor], tape: Tape | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """Return what `recognise` does, given the first layer's q(h_1 | x).

        Args:
            first: Of [B, H], one for all samples of an image, or [k, B, H].
            noise: Standard normal noise of each stochastic layer, [k, B, H].
            tape: What the `pull` of each further layer will need is added to it.
        """
        q = first
        latents = [q.transform(noise[0])]
        log_q = q.log_density_at_noise(noise[0])
        for layer, epsilon in zip(self.recognition[1:], noise[1:], strict=True):
            q = layer(latents[-1], tape)
            latents.append(q.transform(epsilon))
            log_q = log_q + q.log_density_at_noise(epsilon)
        return latents, log_q

    def log_p_x_and_h(
        self, x: Tensor, latents: Sequence[Tensor], tape: Tape | None = None
    ) -> Tensor:
        """Return log p(x, h), nats, [k, B].

        Args:
            x: Binary images, [B, D].
            latents: Of each stochastic layer, [k, B, H].
            tape: What each layer's `pull` will need is added to it, from the image upwards.
        """
        log_p_x_given_h = self.generative[0].log_density(x, latents[0], tape)  # type: ignore[operator]  # a BernoulliLayer
        log_p = log_standard_normal(latents[-1]) + log_p_x_given_h
        for layer, below, above in zip(self.generative[1:], latents, latents[1:], strict=False):
            log_p = log_p + layer(above, tape).log_density(below)
        return cast(Tensor, log_p)

    def log_q_h_given_x(self, x: Tensor, latents: Sequence[Tensor]) -> Tensor:
        """Return log q(h | x), nats, [k, B], of given latents, [k, B, H] a layer."""
        inputs = [x, *latents]
        log_q = x.new_zeros(())
        for layer, below, h in zip(self.recognition, inputs, latents, strict=False):
            log_q = log_q + layer(below).log_density(h)
        return log_q

    def generate(self, noise: Sequence[Tensor]) -> Tensor:
        """Return Bernoulli means of the pixels, [..., D], at a draw of h from the prior p(h).

        h_L is the noise of the last layer itself, h_l = mean(h_{l+1}) + std(h_{l+1}) * noise_l.

        Args:
            noise: Standard normal noise of each stochastic layer, [..., H].
        """
        h = noise[-1]
        for level in range(len(noise) - 1, 0, -1):
            h = self.generative[level](h).transform(noise[level - 1])
        return self.pixel_means(h)

    def pixel_means(self, h: Tensor) -> Tensor:
        """Return E[x | h_1], in (0, 1), [..., D], of first-layer latents `h` [..., H]."""
        return torch.sigmoid(self.generative[0](h))

    @torch.no_grad()
    def gradients(
        self,
        x: Tensor,
        noise: Sequence[Tensor],
        objective: Objective,
        *,
        all_rows: bool = True,
        uniform: Tensor | None = None,
        capacity: int | None = None,
        reduction: Reduction = "mean",
    ) -> Gradients:
        """Return the gradient of the loss in each parameter, and the bound.

        Args:
            x: Binary images, [B, D].
            noise: Standard normal noise of each stochastic layer, [k, B, H].
            objective: Gives the weights (a, b, c), see `models.gradients`, and the bound.
            all_rows: Whether every sample takes part in the backward pass; else those that
                `models.row_lottery` keeps. One that is alone always does.
            uniform: Uniform random numbers in [0, 1), of the shape that `uniform_shape` tells.
            capacity: Rows to keep, for shapes that do not depend on the data.
            reduction: `mean` or `sum` of the losses of the B images.
        """
        scale = -1.0 / x.shape[0] if reduction == "mean" else -1.0
        k, images = noise[0].shape[:2]
        drawn = uniform_shape(objective, k=k, images=images, all_rows=all_rows) is not None

        def of_part(part: slice) -> Gradients:
            own = [epsilon[:, part] for epsilon in noise]
            if not drawn:
                return self.gradients_of_all(x[part], own, objective, scale)
            assert uniform is not None
            numbers = uniform[..., part]
            return self.gradients_of_kept(x[part], own, objective, scale, numbers, capacity)

        parts = [slice(images)] if self.compiled else cores.one_per_core(images, k, x.device)
        found = cores.side_by_side(of_part, parts)
        parameters = [sum_of(grads) for grads in zip(*(f.parameters for f in found), strict=True)]
        return Gradients(torch.cat([f.bound for f in found]), parameters)

    def gradients_of_all(
        self, x: Tensor, noise: Sequence[Tensor], objective: Objective, scale: float
    ) -> Gradients:
        """Return `scale` times the gradient of the sum of the bounds, with every sample in it.

        The other arguments are those of `gradients`.
        """
        passage = self.passage(x, noise)
        weights = objective.weights(passage.log_w).times(scale)
        return Gradients(objective.bound(passage.log_w), self.pull(passage, weights))

    def gradients_of_kept(
        self,
        x: Tensor,
        noise: Sequence[Tensor],
        objective: Objective,
        scale: float,
        uniform: Tensor,
        capacity: int | None,
    ) -> Gradients:
        """Return what `gradients_of_all` does, in expectation, from the samples that are kept."""
        tape: Tape = []
        first = self.recognition[0](x, tape)
        log_w = self.log_weights(x, first, noise)
        if objective.one_sample:
            kept = row_lottery.draw_one(log_w, uniform)
        else:
            kept = row_lottery.draw(objective.weights(log_w), uniform, capacity=capacity)
        passage = self.passage_of(kept, x, first, noise, tape)
        weights = kept.weights.times(scale)
        found = pull_model(list(self.recognition), list(self.generative), passage, weights)
        return Gradients(objective.bound(log_w), found)

    def log_weights(self, x: Tensor, first: Gaussian, noise: Sequence[Tensor]) -> Tensor:
        """Return log w, nats, [k, B], and keep nothing else.

        Args:
            x: Binary images, [B, D].
            first: q(h_1 | x), of [B, H].
            noise: Standard normal noise of each stochastic layer, [k, B, H].
        """

        def of_images(part: slice) -> Tensor:
            own = Gaussian(first.mean[part], first.log_std[part])
            latents, log_q = self.draw_latents(own, [epsilon[:, part] for epsilon in noise])
            return self.log_p_x_and_h(x[part], latents) - log_q

        pieces = cores.pieces_of(len(x), len(noise[0]), x.device)
        return torch.cat([of_images(piece) for piece in pieces], dim=1)

    def passage_of(
        self,
        kept: row_lottery.KeptRows,
        x: Tensor,
        first: Gaussian,
        noise: Sequence[Tensor],
        tape: Tape,
    ) -> Passage:
        """Return a forward pass of some of the samples, for `pull`.

        Args:
            kept: Those samples.
            x: Binary images, [B, D].
            first: q(h_1 | x), of [B, H].
            noise: Standard normal noise of each stochastic layer, [k, B, H].
            tape: What the first recognition layer left behind.
        """
        own = [kept.of(epsilon) for epsilon in noise]
        q, p = [*tape], list[Any]()
        gathered = Gaussian(first.mean[kept.images], first.log_std[kept.images])
        latents, log_q = self.draw_latents(gathered, own, q)
        log_p = self.log_p_x_and_h(x[kept.images], latents, p)
        return Passage(log_p - log_q, own, latents, q, p, kept.images)

    def passage(self, x: Tensor, noise: Sequence[Tensor]) -> Passage:
        """Return a forward pass, for `pull`, of images [B, D] with noise [k, B, H] a layer."""
        q: Tape = []
        p: Tape = []
        latents, log_q = self.recognise(x, noise, q)
        log_p = self.log_p_x_and_h(x, latents, p)
        return Passage(log_p - log_q, noise, latents, q, p)

    def pull(self, passage: Passage, weights: Weights) -> list[Tensor]:
        """Return the gradient in each parameter for the weights (a, b, c) to descend along."""
        return pull_model(list(self.recognition), list(self.generative), passage, weights)

    def linear_layers(self) -> tuple[list[nn.Linear], list[nn.Linear]]:
        """Return the linear layers that `fisher_samples` speaks of, of q and of p."""

        def linear(layers: nn.ModuleList) -> list[nn.Linear]:
            known = [layer for layer in layers if hasattr(layer, "fisher_samples")]
            return [m for layer in known for m in layer.modules() if isinstance(m, nn.Linear)]

        return linear(self.recognition), linear(self.generative)

    def first_layers(self) -> list[nn.Linear]:
        """Return the linear layers whose input is the image."""
        first = self.recognition[0]
        if not isinstance(first, GaussianLayer):
            return []
        heads = [first.mean, first.log_std]
        return [m for m in first.network if isinstance(m, nn.Linear)][:1] or heads

    @torch.no_grad()
    def fisher_samples(self, x: Tensor, generator: torch.Generator) -> list[FisherSample]:
        """Return what the Fisher information of the networks' linear layers is estimated from.

        One h ~ q(h | x) an image; the labels of each conditional layer are drawn from that layer.

        Args:
            x: Binary images, [B, D].
            generator: Source of latents and labels.
        """
        passage = self.passage(x, self.draw_noise(1, len(x), generator))
        layers, traces = (*self.recognition, *self.generative), (*passage.q, *passage.p)
        found: list[FisherSample] = []
        for layer, trace in zip(layers, traces, strict=True):
            if hasattr(layer, "fisher_samples"):
                found += layer.fisher_samples(trace, generator)
        return found

    @torch.no_grad()
    def posterior_means(self, x: Tensor) -> Tensor:
        """Return E_q[h_1 | x], the mean of the first stochastic layer, [N, H], for `x` [N, D]."""
        return cast(Tensor, self.recognition[0](x).mean)


def sum_of(tensors: Sequence[Tensor]) -> Tensor:
    """Return the sum, contiguous: fused optimisers read memory from its start, whatever strides."""
    total = tensors[0].contiguous()
    for tensor in tensors[1:]:
        total = total.add_(tensor)
    return total


def uniform_shape(
    objective: Objective, *, k: int, images: int, all_rows: bool
) -> tuple[int, ...] | None:
    """Return the shape of the uniform numbers that `IWAE.gradients` needs, None for none.

    Args:
        objective: With `one_sample` it needs one an image.
        k: Samples an image.
        images: Their number, B.
        all_rows: Whether there is no lottery; else it needs one a sample, but for k = 1.
    """
    if objective.one_sample:
        return (images,)
    return None if all_rows or k == 1 else (k, images)

"""The gradients of an objective in the parameters of the hierarchical model."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from iwae_cli.models import cores, row_lottery
from iwae_cli.models.backward import ForwardPass, backward_pass
from iwae_cli.models.distributions import Gaussian
from iwae_cli.models.fisher import FisherSample
from iwae_cli.models.hierarchical import HierarchicalModel
from iwae_cli.models.layers import GaussianLayer
from iwae_cli.objectives.base import Objective, Weights

Reduction = Literal["mean", "sum"]


class Gradients(NamedTuple):
    """Bound and gradients of one minibatch.

    Attributes:
        bound: Of each image, nats, [B].
        parameters: Gradient of the loss in each parameter, in the model's order.
    """

    bound: Tensor
    parameters: list[Tensor]


class IWAE(HierarchicalModel):
    """A hierarchical model that objectives can train."""

    def compile_training(self) -> "IWAE":
        """Let `torch.compile` make both passes, at their first calls, and return this model.

        Results differ by rounding; tests/test_compile.py states how much.
        """
        self.importance_sample = torch.compile(self.importance_sample)  # type: ignore[method-assign]  # this model's own
        self.forward_pass = torch.compile(self.forward_pass)  # type: ignore[method-assign]  # this model's own
        self.backward = torch.compile(self.backward)  # type: ignore[method-assign]  # this model's own
        self.compiled = True
        return self

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
            x: Images as the model reads them, [B, D].
            noise: Standard normal noise of each stochastic layer, [k, B, H].
            objective: Gives the weights (a, b, c), see `models.backward`, and the bound.
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
        return together(cores.side_by_side(of_part, parts))

    def gradients_of_all(
        self, x: Tensor, noise: Sequence[Tensor], objective: Objective, scale: float
    ) -> Gradients:
        """Return `scale` times the gradient of the sum of the bounds, with every sample in it.

        The other arguments are those of `gradients`.
        """

        def of_piece(piece: slice) -> Gradients:
            forward = self.forward_pass(x[piece], [epsilon[:, piece] for epsilon in noise])
            weights = objective.weights(forward.log_w).times(scale)
            return Gradients(objective.bound(forward.log_w), self.backward(forward, weights))

        images, k = len(x), len(noise[0])
        pieces = [slice(images)] if self.compiled else cores.pieces_of(images, k, x.device)
        return together([of_piece(piece) for piece in pieces])

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
        first, cache = self.recognition_layers[0].forward_with_cache(x)
        log_w = self.log_weights(x, first, noise)
        if objective.one_sample:
            kept = row_lottery.draw_one(log_w, uniform)
        else:
            kept = row_lottery.draw(objective.weights(log_w), uniform, capacity=capacity)
        forward = self.forward_pass_of(kept, x, first, cache, noise)
        weights = kept.weights.times(scale)
        found = backward_pass(self.recognition_layers, self.generative_layers, forward, weights)
        return Gradients(objective.bound(log_w), found)

    def log_weights(self, x: Tensor, first: Gaussian, noise: Sequence[Tensor]) -> Tensor:
        """Return log w, nats, [k, B], and keep nothing else.

        Args:
            x: Images as the model reads them, [B, D].
            first: q(h_1 | x), of [B, H].
            noise: Standard normal noise of each stochastic layer, [k, B, H].
        """

        def of_images(part: slice) -> Tensor:
            own = [epsilon[:, part] for epsilon in noise]
            latents, log_q = self.draw_latents(first.rows(part), own)
            return self.log_p_x_and_h(x[part], latents) - log_q

        pieces = cores.pieces_of(len(x), len(noise[0]), x.device)
        return torch.cat([of_images(piece) for piece in pieces], dim=1)

    def forward_pass_of(
        self,
        kept: row_lottery.KeptRows,
        x: Tensor,
        first: Gaussian,
        cache: Any,  # noqa: ANN401  (each layer's own)
        noise: Sequence[Tensor],
    ) -> ForwardPass:
        """Return a forward pass of some of the samples, for `backward_pass`.

        Args:
            kept: Those samples.
            x: Images as the model reads them, [B, D].
            first: q(h_1 | x), of [B, H].
            cache: Of the layer that returned it.
            noise: Standard normal noise of each stochastic layer, [k, B, H].
        """
        own = [kept.of(epsilon) for epsilon in noise]
        gathered = first.rows(kept.images)
        found = self.forward_pass_from(gathered, cache, x[kept.images], own)
        posteriors = [first, *found.posteriors[1:]]
        return found._replace(posteriors=posteriors, images=kept.images)

    def forward_pass(self, x: Tensor, noise: Sequence[Tensor]) -> ForwardPass:
        """Return one of images [B, D], for `backward`, with noise [k, B, H] a layer."""
        first, cache = self.recognition_layers[0].forward_with_cache(x)
        return self.forward_pass_from(first, cache, x, noise)

    def forward_pass_from(
        self,
        first: Gaussian,
        cache: Any,  # noqa: ANN401  (each layer's own)
        x: Tensor,
        noise: Sequence[Tensor],
    ) -> ForwardPass:
        """Return what `forward_pass` does, given the first layer's q(h_1 | x) and its cache."""
        posteriors, caches = [first], [cache]
        latents, log_q = [first.transform(noise[0])], first.log_density_at_noise(noise[0])
        for layer, epsilon in zip(self.recognition_layers[1:], noise[1:], strict=True):
            q, cache = layer.forward_with_cache(latents[-1])
            posteriors.append(q)
            caches.append(cache)
            latents.append(q.transform(epsilon))
            log_q = log_q + q.log_density_at_noise(epsilon)
        log_p, p = self.log_p_with_caches(x, latents)
        return ForwardPass(log_p - log_q, noise, latents, posteriors, caches, p)

    def backward(self, forward: ForwardPass, weights: Weights) -> list[Tensor]:
        """Return the gradient in each parameter for the weights (a, b, c) to descend along."""
        return backward_pass(self.recognition_layers, self.generative_layers, forward, weights)

    def linear_layers(self) -> tuple[list[nn.Linear], list[nn.Linear]]:
        """Return the linear layers that `fisher_samples` speaks of, of q and of p."""
        q, p = self.recognition_layers, self.generative_layers
        return (
            [linear for layer in q for linear in layer.linear_layers()],
            [linear for layer in p for linear in layer.linear_layers()],
        )

    def first_layers(self) -> list[nn.Linear]:
        """Return the linear layers whose input is the image."""
        first = self.recognition[0]
        if not isinstance(first, GaussianLayer):
            return []
        heads: list[nn.Linear] = [first.mean, first.log_std]
        return [m for m in first.network if isinstance(m, nn.Linear)][:1] or heads

    @torch.no_grad()
    def fisher_samples(self, x: Tensor, generator: torch.Generator) -> list[FisherSample]:
        """Return what the Fisher information of the networks' linear layers is estimated from.

        One h ~ q(h | x) an image; the labels of each conditional layer are drawn from that layer.

        Args:
            x: Images as the model reads them, [B, D].
            generator: Source of latents and labels.
        """
        forward = self.forward_pass(x, self.draw_noise(1, len(x), generator))
        layers = (*self.recognition_layers, *self.generative_layers)
        pairs = zip(layers, (*forward.q, *forward.p), strict=True)
        return [one for layer, cache in pairs for one in layer.fisher_samples(cache, generator)]


def together(parts: Sequence[Gradients]) -> Gradients:
    """Return what several parts of a minibatch give together."""
    parameters = [sum_of(grads) for grads in zip(*(p.parameters for p in parts), strict=True)]
    return Gradients(torch.cat([part.bound for part in parts]), parameters)


def sum_of(tensors: Sequence[Tensor]) -> Tensor:
    """Return the sum, contiguous: fused optimisers read memory from its start, whatever strides."""
    total = tensors[0]
    for tensor in tensors[1:]:  # not in place: other threads made them in inference mode
        total = total + tensor
    return total.contiguous()


def uniform_shape(
    objective: Objective, *, k: int, images: int, all_rows: bool
) -> tuple[int, ...] | None:
    """Return the shape of the uniform numbers that `IWAE.gradients` needs, None for none.

    Args:
        objective: With `one_sample` it needs one an image, with `equal_weights` none.
        k: Samples an image.
        images: Their number, B.
        all_rows: Whether there is no lottery; else it needs one a sample, but for k = 1.
    """
    if objective.one_sample:
        return (images,)
    return None if all_rows or k == 1 or objective.equal_weights else (k, images)

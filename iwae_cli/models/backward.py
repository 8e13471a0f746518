"""The derivative of the hierarchical model, written out; here weights become gradients.

The generative network descends sum_i a_i d log p_i and the recognition network
sum_i b_i z_i + sum_i c_i d log q(h_i), where z_i is the pathwise derivative of log w_i with the
parameters of q held constant inside log q, and h_i is constant in the second sum. As the total
derivative of log w_i is z_i - d log q(h_i), the recognition network descends
sum_i b_i d log w_i + sum_i (b_i + c_i) d log q(h_i).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from iwae_cli.models.distributions import Gaussian
from iwae_cli.models.layers import Tape
from iwae_cli.objectives.base import Weights


class Passage(NamedTuple):
    """One forward pass of the whole model, for its derivative.

    Attributes:
        log_w: Unnormalised log weights, nats, [k, B].
        noise: Standard normal noise of each stochastic layer, [k, B, H].
        latents: Samples of each stochastic layer, [k, B, H].
        q: What the recognition network's layers left behind, from the image upwards.
        p: What the generative network's layers left behind, from the image upwards.
        images: Index of the image of each row, [R], where k = 1 and rows share their images'
            first recognition layer, which ran for each of the images once; None where there are
            k rows of every image.
    """

    log_w: Tensor
    noise: Sequence[Tensor]
    latents: Sequence[Tensor]
    q: Tape
    p: Tape
    images: Tensor | None = None


def pull_model(
    recognition: Sequence[nn.Module],
    generative: Sequence[nn.Module],
    passage: Passage,
    weights: Weights,
) -> list[Tensor]:
    """Return the gradients of both networks' parameters, in their order.

    Args:
        recognition: Layers q(h_{l+1} | h_l).
        generative: Layers p(h_l | h_{l+1}).
        passage: Of this model.
        weights: (a, b, c), to descend along.
    """
    a, b = weights.a, None if weights.total_derivative else weights.b
    theta, flows = pull_generative(generative, passage, a, b)
    score = None if b is None else b + weights.c
    phi = pull_recognition(recognition, passage, flows, a if b is None else b, score)
    return phi + theta


def pull_generative(
    layers: Sequence[Any], passage: Passage, a: Tensor, b: Tensor | None
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the gradients of p's parameters, and of each layer's latents, [k, B, H].

    Args:
        layers: From the image upwards.
        passage: Of the model.
        a: What log p of each sample counts for the parameters, [k, B].
        b: What it counts for the latents; None for the same.
    """
    latents = passage.latents
    pulled = layers[0].pull_log_density(passage.p[0], a, b)
    found, flows = pulled.parameters, [pulled.inputs.view_as(latents[0])]
    path = (a if b is None else b).unsqueeze(-1)
    for layer, trace, below, above in zip(
        layers[1:], passage.p[1:], latents, latents[1:], strict=False
    ):
        slopes = trace.gaussian.slopes(below)
        # those of a sample that counts for nothing may be infinite
        nothing = (a == 0 if b is None else (a == 0) & (b == 0)).unsqueeze(-1)
        slopes = Gaussian(*(slope.masked_fill(nothing, 0.0) for slope in slopes))
        pulled = layer.pull_slopes(trace, slopes, a, b)
        found = found + pulled.parameters
        flows[-1] = flows[-1].addcmul_(path, slopes.mean, value=-1)
        flows.append(pulled.inputs.view_as(above))
    flows[-1] = flows[-1].addcmul_(path, latents[-1], value=-1)
    return found, flows


def pull_recognition(
    layers: Sequence[Any],
    passage: Passage,
    flows: list[Tensor],
    b: Tensor,
    score: Tensor | None,
) -> list[Tensor]:
    """Return the gradients of q's parameters.

    Args:
        layers: From the image upwards.
        passage: Of the model.
        flows: Gradients of the latents through log p, [k, B, H] a layer.
        b: What -log q at constant noise counts, [k, B].
        score: What log q at constant latents counts, [k, B]; None for nothing.
    """
    found: list[Tensor] = []
    for index in reversed(range(len(layers))):
        layer, trace, noise = layers[index], passage.q[index], passage.noise[index]
        rows = None
        if index == 0 and passage.images is not None:
            rows = indicators(passage.images, trace.gaussian.mean)
        along = path_gradient(trace.gaussian, noise, flows[index], b, rows)
        held = None if score is None else score_gradient(trace.gaussian, noise, score, rows)
        if index == 0 and held is not None:  # nothing below it: both in one
            along, held = Gaussian(along.mean + held.mean, along.log_std + held.log_std), None
        pulled = layer.pull(trace, along, of_inputs=index > 0)
        own = pulled.parameters
        if index > 0:
            flows[index - 1] = flows[index - 1] + pulled.inputs.view_as(flows[index - 1])
        if held is not None:  # the score holds the layer's inputs constant
            other = layer.pull(trace, held, of_inputs=False).parameters
            own = [one + two for one, two in zip(own, other, strict=True)]
        found = own + found
    return found


def path_gradient(
    q: Gaussian, noise: Tensor, flow: Tensor, b: Tensor, rows: Tensor | None = None
) -> Gaussian:
    """Return the gradients in mean and log_std through h = mean + std * noise and log q there.

    They add up over the samples where those share one Gaussian.

    Args:
        q: Of [B, H], one for all samples, or [k, B, H].
        noise: [k, B, H].
        flow: Gradient in h, [k, B, H].
        b: What -log q at constant noise counts, [k, B].
        rows: See `indicators`; q is of [B, H] and the others are of [1, R] then.
    """
    shape = q.mean.shape
    log_std = added_up(flow * noise, shape, rows) * q.log_std.exp()
    counts = added_up(b.unsqueeze(-1), (*shape[:-1], 1), rows)
    return Gaussian(added_up(flow, shape, rows), log_std + counts)


def score_gradient(
    q: Gaussian, noise: Tensor, weights: Tensor, rows: Tensor | None = None
) -> Gaussian:
    """Return the gradients in mean and log_std of log q at constant h = mean + std * noise.

    Args:
        q: Of [B, H], one for all samples, or [k, B, H].
        noise: [k, B, H].
        weights: What each log density counts, [k, B].
        rows: See `indicators`; q is of [B, H] and the others are of [1, R] then.
    """
    shape, e = q.mean.shape, weights.unsqueeze(-1)
    mean = added_up(e * noise, shape, rows) / q.log_std.exp()
    return Gaussian(mean, added_up(e * (noise.square() - 1), shape, rows))


def indicators(images: Tensor, like: Tensor) -> Tensor:
    """Return 1 where a row belongs to an image and 0 elsewhere, [B, R].

    A product with it adds up the rows of each image, ten times as fast as `index_add` on a
    processor.

    Args:
        images: Index of the image of each row, [R].
        like: Of B rows, for type and device.
    """
    found = like.new_zeros(len(like), len(images))
    return found.scatter_(0, images.unsqueeze(0), 1.0)


def added_up(values: Tensor, shape: Sequence[int], rows: Tensor | None) -> Tensor:
    """Return the sums of `values` [k, B, H] over the samples that share a place in `shape`."""
    return values.sum_to_size(*shape) if rows is None else torch.mm(rows, values[0])

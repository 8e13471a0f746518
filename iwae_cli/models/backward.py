"""The derivative of the hierarchical model, written out; here weights become gradients.

The generative network descends sum_i a_i d log p_i and the recognition network
sum_i b_i z_i + sum_i c_i d log q(h_i), where z_i is the pathwise derivative of log w_i with the
parameters of q held constant inside log q, and h_i is constant in the second sum. As the total
derivative of log w_i is z_i - d log q(h_i), the recognition network descends
sum_i b_i d log w_i + sum_i (b_i + c_i) d log q(h_i).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from iwae_cli.models.conditional import ConditionalLayer
from iwae_cli.models.distributions import Gaussian, indicators
from iwae_cli.objectives.base import Weights


class ForwardPass(NamedTuple):
    """One forward pass of the whole model, for its derivative.

    Attributes:
        log_w: Unnormalised log weights, nats, [k, B].
        noise: Standard normal noise of each stochastic layer, [k, B, H].
        latents: Samples of each stochastic layer, [k, B, H].
        posteriors: q(h_{l+1} | h_l) of each layer, from the image upwards.
        q: Caches of the recognition network's layers, from the image upwards.
        p: Caches of the generative network's layers, from the image upwards.
        images: Index of the image of each row, [R], where k = 1 and rows share their images'
            first recognition layer, which ran for each of the images once; None where there are
            k rows of every image.
    """

    log_w: Tensor
    noise: Sequence[Tensor]
    latents: Sequence[Tensor]
    posteriors: Sequence[Gaussian]
    q: Sequence[Any]
    p: Sequence[Any]
    images: Tensor | None = None


def backward_pass(
    recognition: Sequence[ConditionalLayer[Gaussian]],
    generative: Sequence[ConditionalLayer[Any]],
    forward: ForwardPass,
    weights: Weights,
) -> list[Tensor]:
    """Return the gradients of both networks' parameters, in their order.

    Args:
        recognition: Layers q(h_{l+1} | h_l).
        generative: Layers p(h_l | h_{l+1}).
        forward: Of this model.
        weights: (a, b, c), to descend along.
    """
    a, b = weights.a, None if weights.total_derivative else weights.b
    theta, flows = generative_backward(generative, forward, a, b)
    score = None if b is None else b + weights.c
    phi = recognition_backward(recognition, forward, flows, a if b is None else b, score)
    return phi + theta


def generative_backward(
    layers: Sequence[ConditionalLayer[Any]], forward: ForwardPass, a: Tensor, b: Tensor | None
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the gradients of p's parameters, and of each layer's latents, [k, B, H].

    Args:
        layers: From the image upwards.
        forward: Of the model.
        a: Weight of log p of each sample in the gradients of the parameters, [k, B].
        b: Its weight in those of the latents; None for the same.
    """
    found: list[Tensor] = []
    flows: list[Tensor] = []
    path = (a if b is None else b).unsqueeze(-1)
    for layer, cache, h in zip(layers, forward.p, forward.latents, strict=True):
        of_layer = layer.log_density_backward(cache, a, b)
        found += of_layer.parameters
        if flows:
            flows[-1] = flows[-1].addcmul_(path, of_layer.values)
        flows.append(of_layer.inputs.view_as(h))
    flows[-1] = flows[-1].addcmul_(path, forward.latents[-1], value=-1)
    return found, flows


def recognition_backward(
    layers: Sequence[ConditionalLayer[Gaussian]],
    forward: ForwardPass,
    flows: list[Tensor],
    b: Tensor,
    score: Tensor | None,
) -> list[Tensor]:
    """Return the gradients of q's parameters.

    Args:
        layers: From the image upwards.
        forward: Of the model.
        flows: Gradients of the latents through log p, [k, B, H] a layer.
        b: Weight of -log q at constant noise, [k, B].
        score: Weight of log q at constant latents, [k, B]; None for nothing.
    """
    found: list[Tensor] = []
    for index in reversed(range(len(layers))):
        layer, cache, noise = layers[index], forward.q[index], forward.noise[index]
        q = forward.posteriors[index]
        rows = None
        if index == 0 and forward.images is not None:
            rows = indicators(forward.images, q.mean)
        along = q.path_gradient(noise, flows[index], b, rows)
        held = None if score is None else q.score_gradient(noise, score, rows)
        if index == 0 and held is not None:  # nothing below it: both in one
            along, held = Gaussian(along.mean + held.mean, along.log_std + held.log_std), None
        of_layer = layer.backward(cache, along, of_inputs=index > 0)
        own = of_layer.parameters
        if index > 0:
            flows[index - 1] = flows[index - 1] + of_layer.inputs.view_as(flows[index - 1])
        if held is not None:  # the score holds the layer's inputs constant
            other = layer.backward(cache, held, of_inputs=False).parameters
            own = [one + two for one, two in zip(own, other, strict=True)]
        found = own + found
    return found


def noise_slopes(
    recognition: Sequence[ConditionalLayer[Gaussian]],
    generative: Sequence[ConditionalLayer[Any]],
    forward: ForwardPass,
) -> list[Tensor]:
    """Return the derivative of log w + log N(e; 0, I) in the noise e, [k, B, H] a layer.

    It is that of log p(x, h(e)) + log |dh / de|. No gradient of a parameter is computed.

    Args:
        recognition: Layers q(h_{l+1} | h_l).
        generative: Layers p(h_l | h_{l+1}).
        forward: Of this model, with k samples of every image; the cache of its first recognition
            layer is not used.
    """
    flows: list[Tensor] = []
    for layer, cache, h in zip(generative, forward.p, forward.latents, strict=True):
        slopes = layer.log_density_slopes(cache, forward.log_w)
        if flows:
            flows[-1] = flows[-1] + slopes.values
        flows.append(slopes.inputs.view_as(h))
    flows[-1] = flows[-1] - forward.latents[-1]
    for index in reversed(range(len(recognition))):
        noise, q = forward.noise[index], forward.posteriors[index]
        of_noise = flows[index] * q.log_std.exp()
        if index > 0:
            along = Gaussian(flows[index], of_noise * noise + 1)
            below = recognition[index].gradient_of_inputs(forward.q[index], along)
            flows[index - 1] = flows[index - 1] + below.view_as(flows[index - 1])
        flows[index] = of_noise
    return flows

"""The posterior in the coordinates of the recognition network's noise.

With h = h(e; x) the latents that noise e gives, q(h | x) becomes N(e; 0, I) and p(x, h) becomes
N(e; 0, I) w(e): every proposal and every path between q and p can live there, where q has unit
scale in all stochastic layers at once.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from iwae_cli.models.iwae import IWAE


class Slope(NamedTuple):
    """log w at some noise, with its gradient.

    Attributes:
        log_w: Unnormalised log weights, [k, B].
        gradient: d log w / d noise, [k, B, H], H over all stochastic layers.
    """

    log_w: Tensor
    gradient: Tensor


def layers_of(model: IWAE, noise: Tensor) -> list[Tensor]:
    """Return noise [..., H] over all stochastic layers as one tensor for each."""
    return list(torch.split(noise, list(model.latents), dim=-1))


@torch.no_grad()
def log_weights_at(model: IWAE, x: Tensor, noise: Tensor) -> Tensor:
    """Return log w, [k, B], of binary images `x` [B, D] at noise [k, B, H]."""
    return model.importance_sample(x, layers_of(model, noise)).log_w


def slope_at(model: IWAE, x: Tensor, noise: Tensor) -> Slope:
    """Return log w and its gradient in the noise, of images `x` [B, D] at noise [k, B, H]."""
    with torch.enable_grad():
        leaf = noise.detach().requires_grad_()
        log_w = model.importance_sample(x, layers_of(model, leaf)).log_w
        (gradient,) = torch.autograd.grad(log_w.sum(), leaf)
    return Slope(log_w.detach(), gradient)


@torch.no_grad()
def noise_of(model: IWAE, x: Tensor, latents: Sequence[Tensor]) -> Tensor:
    """Return the noise that gives these latents, [k, B, H], the inverse of `model.recognise`.

    Args:
        model: On any device.
        x: Binary images, [B, D].
        latents: Of each stochastic layer, [k, B, H].
    """
    below = [x, *latents]
    layers = zip(model.recognition_layers, below, latents, strict=False)
    noise = [layer(inputs).noise_at(h) for layer, inputs, h in layers]
    return torch.cat(noise, dim=-1)

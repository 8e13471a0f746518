"""The posterior in the coordinates of the recognition network's noise.

With h = h(e; x) the latents that noise e gives, q(h | x) becomes N(e; 0, I) and p(x, h) becomes
N(e; 0, I) w(e): every proposal and every path between q and p can live there, where q has unit
scale in all stochastic layers at once.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from iwae_cli.models.backward import noise_slopes
from iwae_cli.models.iwae import IWAE


class Slope(NamedTuple):
    """log w at some noise, with the gradient of log w + log N(e; 0, I).

    Attributes:
        log_w: Unnormalised log weights, [k, B].
        gradient: Of the log density of the posterior, up to its constant, in the noise,
            [k, B, H], H over all stochastic layers.
    """

    log_w: Tensor
    gradient: Tensor


class NoiseSpace:
    """log w of some images as a function of noise.

    Args:
        model: On any device.
        x: Binary images, [B, D].
    """

    @torch.no_grad()
    def __init__(self, model: IWAE, x: Tensor) -> None:
        self.model, self.x = model, x
        # the first recognition layer sees the image alone: it runs once
        self.first = model.recognition_layers[0](x)

    @torch.no_grad()
    def log_w(self, noise: Tensor) -> Tensor:
        """Return log w, [k, B], at noise [k, B, H]."""
        latents, log_q = self.model.draw_latents(self.first, layers_of(self.model, noise))
        return self.model.log_p_x_and_h(self.x, latents) - log_q

    @torch.no_grad()
    def slope(self, noise: Tensor) -> Slope:
        """Return log w and the gradient of the posterior's log density at noise [k, B, H]."""
        model = self.model
        parts = layers_of(model, noise)
        forward = model.forward_pass_from(self.first, None, self.x, parts)
        found = noise_slopes(model.recognition_layers, model.generative_layers, forward)
        return Slope(forward.log_w, torch.cat(found, dim=-1))


def layers_of(model: IWAE, noise: Tensor) -> list[Tensor]:
    """Return noise [..., H] over all stochastic layers as one tensor for each."""
    return list(torch.split(noise, list(model.latents), dim=-1))


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

"""Curvature of the posterior in the noise's coordinates, from the Jacobians of all layers."""

from typing import Any

import torch
from torch import Tensor

from iwae_cli.core.errors import ConfigError
from iwae_cli.evaluation.noise_space import NoiseSpace, layers_of


@torch.no_grad()
def precision_at(space: NoiseSpace, noise: Tensor) -> Tensor:
    """Return a positive definite approximation of minus the posterior's Hessian, [B, H, H].

    Each conditional density contributes J^T F J, with J the Jacobian of its parameters in the
    noise and F its Fisher information (Martens 2020, arXiv 1412.1193, section 9.2): of Bernoulli
    pixels that is p (1 - p) in the logits. The prior of h_L makes the sum definite. J is by
    central differences, 2 H decoded samples an image.

    Args:
        space: Of the images.
        noise: Where, [B, H], H over all stochastic layers.

    Raises:
        ConfigError: A layer's distribution has no Fisher information.
    """
    model = space.model
    moved = [noise.unsqueeze(0), *(noise + sign * moves(noise) for sign in (1, -1))]
    latents, _ = model.draw_latents(space.first, layers_of(model, torch.cat(moved)))
    total = outer(jacobian(latents[-1], noise))
    values: Tensor | None = None  # the image does not move
    for layer, inputs in zip(model.generative_layers, latents, strict=True):
        total = total + information(layer(inputs), values, noise)
        values = inputs
    return total


def information(p: Any, values: Tensor | None, noise: Tensor) -> Tensor:  # noqa: ANN401  (any distribution)
    """Return J^T F J of one conditional density, [B, H, H].

    Args:
        p: The distribution at the moved noise, its parameters [1 + 2 H, B, n].
        values: The latents that it is a density of, there, [1 + 2 H, B, n]; None for pixels.
        noise: [B, H].

    Raises:
        ConfigError: The distribution has no Fisher information.
    """
    if not hasattr(p, "fisher_information"):
        name = type(p).__name__
        raise ConfigError(f"the Laplace proposal needs a Fisher information, and {name} has none")
    total = noise.new_zeros(())
    for index, (parameter, fisher) in enumerate(zip(p, p.fisher_information(), strict=True)):
        if index == 0 and values is not None:  # a move of h is one of the mean the other way
            parameter = parameter - values
        total = total + outer(jacobian(parameter, noise) * fisher[0].sqrt())
    return total


def step_of(noise: Tensor) -> float:
    """Return the length of a move that central differences are most exact for."""
    return float(torch.finfo(noise.dtype).eps ** (1 / 3))


def moves(noise: Tensor) -> Tensor:
    """Return a move of each unit, [H, 1, H], for noise [B, H]."""
    return step_of(noise) * torch.eye(noise.shape[-1]).to(noise).unsqueeze(1)


def jacobian(values: Tensor, noise: Tensor) -> Tensor:
    """Return the derivatives in each unit of the noise, [H, B, n], of values [1 + 2 H, B, n]."""
    up, down = values[1:].chunk(2)
    return (up - down) / (2 * step_of(noise))


def outer(directions: Tensor) -> Tensor:
    """Return the products of each two directions, [B, H, H], of [H, B, n]."""
    rows = directions.transpose(0, 1)
    return rows @ rows.mT

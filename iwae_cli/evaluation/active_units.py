"""Active latent units: how much the posterior mean of each unit varies with the image."""

import copy
from collections.abc import Sequence
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from iwae_cli.models.iwae import IWAE
from iwae_cli.models.layers import GaussianLayer, TanhNetwork
from iwae_cli.randomness import EvaluationNoise

Definition = Literal["paper", "original-code"]
ORIGINAL_IMAGES = 500
BATCH = 100


@torch.inference_mode()
def unit_variances(
    model: IWAE, images: NDArray[np.float32], *, samples: int, seed: int, dynamic: bool
) -> list[Tensor]:
    """Return A_u = Var_x(E_q[u | x]) of each unit, float64, [H] for each stochastic layer.

    In the first layer E_q[u | x] is exact. Above it, it is the mean over `samples` draws of the
    layer below, which adds E_x[Var(mean | x)] / samples to the variance over images; an unbiased
    estimate of that is subtracted where there is more than one sample, so that the result can
    fall slightly below zero. Variances over images are those of a population.

    Burda et al. 2015, arXiv 1509.00519, section 5.3.

    Args:
        model: On any device.
        images: In [0, 1], [N, D].
        samples: Draws of the layers below, from 1 to `randomness.BLOCK`.
        seed: Of binarisation and noise.
        dynamic: Binarise the images once; else they are used as they are.
    """
    noise = EvaluationNoise(seed, model.latents)
    parameter = next(model.parameters())
    means: list[list[Tensor]] = [[] for _ in model.latents]
    spreads: list[list[Tensor]] = [[] for _ in model.latents]
    for first in range(0, len(images), BATCH):
        x = images[first : first + BATCH]
        below = torch.from_numpy(noise.binarise(x, first) if dynamic else x).to(parameter)
        draws = noise.draw(first, len(x), 0) if len(model.latents) > 1 else ()
        for level, layer in enumerate(model.recognition):
            q = layer(below)
            mean = q.mean.double().cpu()
            inner = mean if level == 0 else mean.mean(0)
            means[level].append(inner)
            unbiased = level > 0 and samples > 1
            spreads[level].append(mean.var(0) / samples if unbiased else torch.zeros_like(inner))
            if level + 1 < len(model.latents):
                below = q.transform(draws[level][:samples].to(parameter))
    return [
        torch.cat(mean).var(0, correction=0) - torch.cat(spread).mean(0)
        for mean, spread in zip(means, spreads, strict=True)
    ]


def without_units(model: IWAE, kept: Sequence[Tensor]) -> IWAE:
    """Return a copy of `model` that has only the units `kept`, indices for each stochastic layer.

    A removed unit is gone from q, from its prior or conditional, and from the input of every
    network that read it.
    """
    pruned = copy.deepcopy(model)
    pruned.latents = tuple(len(units) for units in kept)
    for level, units in enumerate(kept):
        keep_outputs(pruned.recognition[level], units)
        keep_inputs(pruned.generative[level], units)
        if level + 1 < len(kept):
            keep_inputs(pruned.recognition[level + 1], units)
            keep_outputs(pruned.generative[level + 1], units)
    return pruned


def keep_outputs(layer: nn.Module, units: Tensor) -> None:
    """Keep only `units` of the mean and log-std heads of a Gaussian layer."""
    assert isinstance(layer, GaussianLayer)
    for head in (layer.mean, layer.log_std):
        head.weight = nn.Parameter(head.weight.data[units])
        head.bias = nn.Parameter(head.bias.data[units])


def keep_inputs(layer: nn.Module, units: Tensor) -> None:
    """Keep only `units` of the inputs of a layer."""
    linear = [module for module in layer.modules() if isinstance(module, nn.Linear)]
    hidden = len(cast(TanhNetwork, layer.network)) > 0
    for first in linear[:1] if hidden else linear:  # without hidden layers the heads read them
        first.weight = nn.Parameter(first.weight.data[:, units])

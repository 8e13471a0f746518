"""Exact log p(x) of Bernoulli models with few latents, by Gauss-Hermite quadrature."""

import itertools

import numpy as np
import torch
from torch import Tensor

from iwae_cli.evaluation.noise_space import layers_of
from iwae_cli.models.distributions import log_standard_normal
from iwae_cli.models.iwae import IWAE

POINTS = 90


def exact_log_p(model: IWAE, x: Tensor, points: int = POINTS) -> Tensor:
    """Return log p(x) = log E_{e ~ N(0, I)} p(x | h_1(e)), [B], h(e) drawn from the prior.

    Args:
        model: In float64, with one or two latents in all.
        x: Binary images, [B, D].
        points: Of the rule in each of the latents.
    """
    count = sum(model.latents)
    nodes, weights = np.polynomial.hermite_e.hermegauss(points)
    grid = torch.tensor(list(itertools.product(nodes, repeat=count)))
    log_weight = torch.tensor(
        [np.log(w).sum() for w in itertools.product(weights / weights.sum(), repeat=count)]
    )
    with torch.no_grad():
        drawn = model.latents_of_prior(layers_of(model, grid))
        latents = [h.unsqueeze(1).expand(-1, len(x), -1) for h in drawn]
        log_p = model.log_p_x_and_h(x, latents)
        above = log_p.new_zeros(log_p.shape)
        for level in range(len(latents) - 1):
            q = model.generative[level + 1](latents[level + 1])
            above = above + q.log_density(latents[level])
        log_p_x_given_h = log_p - above - log_standard_normal(latents[-1])
    return torch.logsumexp(log_p_x_given_h + log_weight.unsqueeze(1), dim=0)

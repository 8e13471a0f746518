"""Log weights by the formulas of the paper alone, in float64, to check the fast code against."""

from collections.abc import Mapping
from itertools import count

import torch
from torch import Tensor

from iwae_cli.core.errors import ConfigError

LOGITS = "generative.0.logits"


def plain_log_weights(
    parameters: Mapping[str, Tensor], x: Tensor, noise: tuple[Tensor, ...]
) -> Tensor:
    """Return log w = log p(x, h) - log q(h | x), nats, float64, [k].

    Burda et al. 2015, equations 1, 2 and 7, with normal densities and Bernoulli pixels as
    `torch.distributions` has them.

    Args:
        parameters: Of a checkpoint, by name.
        x: One binary image, [D].
        noise: Standard normal noise of each stochastic layer, [k, H].

    Raises:
        ConfigError: The pixels of the model are not Bernoulli.
    """
    if f"{LOGITS}.weight" not in parameters:
        raise ConfigError("only models with Bernoulli pixels can be verified")
    p = {name: tensor.double() for name, tensor in parameters.items()}
    k = len(noise[0])
    below, latents = x.double().expand(k, -1), []
    log_w = torch.zeros(k, dtype=torch.float64)
    for level, e in enumerate(noise):
        q = gaussian(p, f"recognition.{level}", below)
        below = q.mean + q.stddev * e.double()
        log_w = log_w - q.log_prob(below).sum(-1)
        latents.append(below)
    prior = torch.distributions.Normal(torch.zeros_like(below), torch.ones_like(below))
    log_w = log_w + prior.log_prob(below).sum(-1)
    for level in range(len(noise) - 1, 0, -1):
        conditional = gaussian(p, f"generative.{level}", latents[level])
        log_w = log_w + conditional.log_prob(latents[level - 1]).sum(-1)
    features = tanh_layers(p, "generative.0", latents[0])
    pixels = torch.distributions.Bernoulli(logits=linear(p, LOGITS, features))
    whole: Tensor = log_w + pixels.log_prob(x.double().expand(k, -1)).sum(-1)
    return whole


def gaussian(p: Mapping[str, Tensor], name: str, inputs: Tensor) -> torch.distributions.Normal:
    """Return the diagonal Gaussian that a layer makes of its inputs, [k, H]."""
    features = tanh_layers(p, name, inputs)
    std = linear(p, f"{name}.log_std", features).exp()
    return torch.distributions.Normal(linear(p, f"{name}.mean", features), std)


def tanh_layers(p: Mapping[str, Tensor], name: str, features: Tensor) -> Tensor:
    """Return the features of a layer's tanh network."""
    for i in count(step=2):  # tanh is between
        layer = f"{name}.network.{i}"
        if f"{layer}.weight" not in p:
            return features
        features = torch.tanh(linear(p, layer, features))
    raise AssertionError


def linear(p: Mapping[str, Tensor], name: str, inputs: Tensor) -> Tensor:
    """Return W x + b."""
    return inputs @ p[f"{name}.weight"].T + p[f"{name}.bias"]

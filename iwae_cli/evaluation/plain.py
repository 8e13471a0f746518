"""Log weights by the formulas of the paper alone, in float64, to check the fast code against."""

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Normal
from torch.nn import functional

from iwae_cli.core.config import LEAK, Arch, Config
from iwae_cli.models.encoders import encoder
from iwae_cli.models.encoders.dense import Dense

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": functional.relu,
    "leaky_relu": lambda t: functional.leaky_relu(t, LEAK),
    "elu": functional.elu,
    "softplus": functional.softplus,
}


def plain_log_weights(
    parameters: Mapping[str, Tensor], x: Tensor, noise: tuple[Tensor, ...], settings: Config
) -> Tensor:
    """Return log w = log p(x, h) - log q(h | x), nats, float64, [k].

    Burda et al. 2015, equations 1, 2 and 7, with densities as `torch.distributions` has them.

    Args:
        parameters: Of a checkpoint, by name.
        x: One image as the model reads it, [D].
        noise: Standard normal noise of each stochastic layer, [k, H].
        settings: Of the run, for its likelihood and activation.
    """
    activation = FUNCTIONS[settings.arch.activation]
    p = {name: tensor.double() for name, tensor in parameters.items()}
    k = len(noise[0])
    below, latents = x.double().expand(k, -1), []
    log_w = torch.zeros(k, dtype=torch.float64)
    for level, e in enumerate(noise):
        if level or settings.arch.encoder == Dense.name:
            q = gaussian(p, f"recognition.{level}", below, activation)
        else:
            q = other_encoder(p, settings.arch, below)
        below = q.mean + q.stddev * e.double()
        log_w = log_w - q.log_prob(below).sum(-1)
        latents.append(below)
    prior = Normal(torch.zeros_like(below), torch.ones_like(below))
    log_w = log_w + prior.log_prob(below).sum(-1)
    for level in range(len(noise) - 1, 0, -1):
        conditional = gaussian(p, f"generative.{level}", latents[level], activation)
        log_w = log_w + conditional.log_prob(latents[level - 1]).sum(-1)
    features = hidden_layers(p, "generative.0", latents[0], activation)
    pixels = log_p_pixels(p, features, settings.likelihood, x.double().expand(k, -1))
    whole: Tensor = log_w + pixels.sum(-1)
    return whole


def log_p_pixels(
    p: Mapping[str, Tensor], features: Tensor, likelihood: Mapping[str, Any], x: Tensor
) -> Tensor:
    """Return log p(x_d | h) of each pixel, [k, D], for the last hidden layer's features.

    torch's continuous Bernoulli clips probabilities that float64 cannot tell from 0, and is nats
    off there; this is the logarithm of l e^(l x) / (e^l - 1).
    """
    pixels: Distribution
    if likelihood["name"] == "gaussian":
        mean, std = linear(p, "generative.0.mean", features), likelihood.get("std")
        if std is None:
            raw = linear(p, "generative.0.log_std", features)
            pixels = Normal(mean, likelihood.get("min_std", 0.01) + raw.exp())
        else:
            pixels = Normal(mean, torch.full_like(mean, std))
    else:
        logits = linear(p, "generative.0.logits", features)
        if likelihood["name"] == "continuous_bernoulli":
            size = logits.abs().clamp(min=1e-6)
            return logits * x - logits.clamp(min=0) - (-torch.expm1(-size) / size).log()
        pixels = Bernoulli(logits=logits)
    found: Tensor = pixels.log_prob(x)  # type: ignore[no-untyped-call]  # torch's own
    return found


def gaussian(
    p: Mapping[str, Tensor], name: str, inputs: Tensor, activation: Callable[[Tensor], Tensor]
) -> Normal:
    """Return the diagonal Gaussian that a layer makes of its inputs, [k, H]."""
    features = hidden_layers(p, name, inputs, activation)
    std = linear(p, f"{name}.log_std", features).exp()
    return Normal(linear(p, f"{name}.mean", features), std)


def other_encoder(p: Mapping[str, Tensor], arch: Arch, x: Tensor) -> Normal:
    """Return q(h_1 | x), [k, H], by the layer's own `forward`, for an encoder that is not dense."""
    layer = encoder(arch, x.shape[-1]).double()
    first = "recognition.0."
    own = {name.removeprefix(first): p[name] for name in p if name.startswith(first)}
    layer.load_state_dict(own)
    with torch.no_grad():
        q = layer(x)
    return Normal(q.mean, q.log_std.exp())


def hidden_layers(
    p: Mapping[str, Tensor],
    name: str,
    features: Tensor,
    activation: Callable[[Tensor], Tensor],
) -> Tensor:
    """Return the features of a layer's hidden layers."""
    for i in count(step=2):  # activations are between
        layer = f"{name}.network.{i}"
        if f"{layer}.weight" not in p:
            return features
        features = activation(linear(p, layer, features))
    raise AssertionError


def linear(p: Mapping[str, Tensor], name: str, inputs: Tensor) -> Tensor:
    """Return W x + b."""
    return inputs @ p[f"{name}.weight"].T + p[f"{name}.bias"]

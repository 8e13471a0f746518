"""Distributions of the latents: a diagonal Gaussian, the standard normal."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

LOG_2_PI = math.log(2 * math.pi)


class Gaussian(NamedTuple):
    """A diagonal Gaussian, or gradients in the two parameters of one.

    Attributes:
        mean: [..., H].
        log_std: Logarithm of the standard deviation, [..., H].
    """

    mean: Tensor
    log_std: Tensor

    def transform(self, noise: Tensor) -> Tensor:
        """Return mean + std * noise, with standard normal `noise` [..., H] a sample of this."""
        return torch.addcmul(self.mean, self.log_std.exp(), noise)

    def log_density(self, h: Tensor) -> Tensor:
        """Return log N(h; mean, std^2), nats, summed over the last axis of `h` [..., H]."""
        return self.log_density_at_noise((h - self.mean) * torch.exp(-self.log_std))

    def slopes(self, h: Tensor) -> "Gaussian":
        """Return the derivatives of log N(h; mean, std^2) in mean and log_std, [..., H] each."""
        precision = torch.exp(-self.log_std)
        z = (h - self.mean) * precision
        return Gaussian(z * precision, z.square() - 1)

    def log_density_at_noise(self, noise: Tensor) -> Tensor:
        """Return the log density at `transform(noise)`, nats, summed over the last axis."""
        return log_standard_normal(noise) - self.log_std.sum(-1)


def log_standard_normal(h: Tensor) -> Tensor:
    """Return log N(h; 0, I), nats, summed over the last axis of `h` [..., H]."""
    return torch.rsub(h.square().sum(-1), -0.5 * h.shape[-1] * LOG_2_PI, alpha=0.5)


def normal_like(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """Return standard normal numbers of the shape, type and device of a tensor."""
    shape, device, dtype = tensor.shape, tensor.device, tensor.dtype
    return torch.randn(shape, generator=generator, device=device, dtype=dtype)

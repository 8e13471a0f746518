"""Distributions of latents and pixels: named tuples of their parameters."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

LOG_2_PI = math.log(2 * math.pi)


class Gaussian(NamedTuple):
    """A diagonal Gaussian, or gradients in the two parameters of one.

    Attributes:
        mean: [..., H].
        log_std: Logarithm of the standard deviation, [..., H].
    """

    mean: Tensor
    log_std: Tensor

    def rows(self, index: Tensor | slice) -> "Gaussian":
        """Return the Gaussians of some rows."""
        return Gaussian(self.mean[index], self.log_std[index])

    def transform(self, noise: Tensor) -> Tensor:
        """Return mean + std * noise, with standard normal `noise` [..., H] a sample of this."""
        return torch.addcmul(self.mean, self.log_std.exp(), noise)

    def log_density(self, values: Tensor) -> Tensor:
        """Return log N(values; mean, std^2), nats, summed over the last axis of [..., H]."""
        return self.log_density_at_noise(self.noise_at(values))

    def noise_at(self, values: Tensor) -> Tensor:
        """Return the noise that `transform` gives these values for, [..., H]."""
        return (values - self.mean) * torch.exp(-self.log_std)

    def slopes(self, values: Tensor) -> "Gaussian":
        """Return the derivatives of the log density in mean and log_std, [..., H] each.

        That in `values` is minus the one in the mean.
        """
        precision = torch.exp(-self.log_std)
        z = (values - self.mean) * precision
        return Gaussian(z * precision, z.square() - 1)

    def fisher_information(self) -> "Gaussian":
        """Return that in each mean and log_std, which are independent, [..., H] each."""
        return Gaussian(torch.exp(-2 * self.log_std), torch.full_like(self.log_std, 2.0))

    def log_density_at_noise(self, noise: Tensor) -> Tensor:
        """Return the log density at `transform(noise)`, nats, summed over the last axis."""
        return log_standard_normal(noise) - self.log_std.sum(-1)

    def path_gradient(
        self, noise: Tensor, flow: Tensor, b: Tensor, rows: Tensor | None = None
    ) -> "Gaussian":
        """Return the gradients of a loss through h = transform(noise) and -b log q there.

        They add up over the samples where those share one Gaussian.

        Args:
            noise: [k, B, H].
            flow: Gradient in h, [k, B, H].
            b: Weight of -log q at constant noise, [k, B].
            rows: See `indicators`; this is of [B, H] and the others are of [1, R] then.
        """
        shape = self.mean.shape
        log_std = added_up(flow * noise, shape, rows) * self.log_std.exp()
        counts = added_up(b.unsqueeze(-1), (*shape[:-1], 1), rows)
        return Gaussian(added_up(flow, shape, rows), log_std + counts)

    def score_gradient(
        self, noise: Tensor, weights: Tensor, rows: Tensor | None = None
    ) -> "Gaussian":
        """Return the gradients of log q at constant h = transform(noise).

        Args:
            noise: [k, B, H].
            weights: Weight of each log density, [k, B].
            rows: See `indicators`; this is of [B, H] and the others are of [1, R] then.
        """
        shape, e = self.mean.shape, weights.unsqueeze(-1)
        mean = added_up(e * noise, shape, rows) / self.log_std.exp()
        return Gaussian(mean, added_up(e * (noise.square() - 1), shape, rows))


class Bernoulli(NamedTuple):
    """Independent Bernoulli distributions of pixels.

    Attributes:
        logits: [..., D].
    """

    logits: Tensor

    @property
    def mean(self) -> Tensor:
        """The probability of a one, [..., D]."""
        return torch.sigmoid(self.logits)

    def fisher_information(self) -> "Bernoulli":
        """Return that in each logit, p (1 - p), [..., D]."""
        return Bernoulli(self.mean * (1 - self.mean))

    def log_density(self, values: Tensor) -> Tensor:
        """Return sum_d x_d l_d - softplus(l_d), nats, [...], of `values` x in {0, 1}, [..., D]."""
        return (values * self.logits - functional.softplus(self.logits)).sum(-1)


def log_standard_normal(h: Tensor) -> Tensor:
    """Return log N(h; 0, I), nats, summed over the last axis of `h` [..., H]."""
    return torch.rsub(h.square().sum(-1), -0.5 * h.shape[-1] * LOG_2_PI, alpha=0.5)


def normal_like(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """Return standard normal numbers of the shape, type and device of a tensor."""
    shape, device, dtype = tensor.shape, tensor.device, tensor.dtype
    return torch.randn(shape, generator=generator, device=device, dtype=dtype)


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


def added_up(values: Tensor, shape: tuple[int, ...], rows: Tensor | None) -> Tensor:
    """Return the sums of `values` [k, B, H] over the samples that share a place in `shape`."""
    return values.sum_to_size(*shape) if rows is None else torch.mm(rows, values[0])

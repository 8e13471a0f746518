"""Conditional layers of the networks: Gaussian over latents, Bernoulli over pixels."""

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from iwae_cli.models.kernels import bernoulli_log_density, tanh_linear

LOG_2_PI = math.log(2 * math.pi)
# With fewer rows a product in bfloat16 does not pay for casting the weights.
MANY_ROWS = 64


class Gaussian(NamedTuple):
    """A diagonal Gaussian.

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

    def log_density_at_noise(self, noise: Tensor) -> Tensor:
        """Return the log density at `transform(noise)`, nats, summed over the last axis."""
        return log_standard_normal(noise) - self.log_std.sum(-1)


def log_standard_normal(h: Tensor) -> Tensor:
    """Return log N(h; 0, I), nats, summed over the last axis of `h` [..., H]."""
    return -0.5 * (h.square().sum(-1) + h.shape[-1] * LOG_2_PI)


def linear(n_in: int, n_out: int) -> nn.Linear:
    """Return a linear layer whose parameters are not yet drawn."""
    layer: nn.Linear = skip_init(nn.Linear, n_in, n_out)
    return layer


class TanhNetwork(nn.Sequential):
    """Linear layers between consecutive `sizes`, each followed by tanh.

    Attributes:
        products: The dtype of the matrix products and of what is returned where there are at
            least `MANY_ROWS` rows; None, and fewer rows, keep that of the parameters.
    """

    products: torch.dtype | None = None

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        for layer, (n_in, n_out) in enumerate(zip(sizes, sizes[1:], strict=False)):
            # the names under which checkpoints have them
            self.add_module(str(2 * layer), linear(n_in, n_out))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the last layer's output, [..., sizes[-1]], for `inputs` [..., sizes[0]]."""
        wide = inputs.numel() >= MANY_ROWS * inputs.shape[-1]
        h = inputs.to(self.products) if self.products and wide else inputs
        for layer in self:
            h = tanh_linear(h, *in_dtype(layer, h.dtype))
        return h


def in_dtype(layer: nn.Module, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the weight and the bias of a linear layer in this dtype."""
    return cast(Tensor, layer.weight).to(dtype), cast(Tensor, layer.bias).to(dtype)


class GaussianLayer(nn.Module):
    """q(h | input) or p(h | input): a tanh network with a mean and a log-std head."""

    def __init__(self, n_in: int, hidden: Sequence[int], n_out: int) -> None:
        super().__init__()
        sizes = [n_in, *hidden]
        self.network = TanhNetwork(sizes)
        self.mean = linear(sizes[-1], n_out)
        self.log_std = linear(sizes[-1], n_out)

    def forward(self, inputs: Tensor) -> Gaussian:
        """Return the Gaussian for `inputs` [..., n_in]."""
        features = self.network(inputs).to(self.mean.weight.dtype)
        return Gaussian(self.mean(features), self.log_std(features))


class BernoulliLayer(nn.Module):
    """p(x | h): a tanh network with one logit a pixel."""

    def __init__(self, n_in: int, hidden: Sequence[int], n_out: int) -> None:
        super().__init__()
        sizes = [n_in, *hidden]
        self.network = TanhNetwork(sizes)
        self.logits = linear(sizes[-1], n_out)

    def forward(self, h: Tensor) -> Tensor:
        """Return the logits of the pixels for latents `h` [..., H], [..., D]."""
        logits: Tensor = self.logits(self.network(h).to(self.logits.weight.dtype))
        return logits

    def log_density(self, x: Tensor, h: Tensor) -> Tensor:
        """Return log p(x | h) = sum_d x_d l_d - softplus(l_d), nats, [k, B].

        Args:
            x: Binary images, [B, D].
            h: Latents of the first stochastic layer, [k, B, H].
        """
        features = self.network(h)
        return bernoulli_log_density(x, features, *in_dtype(self.logits, features.dtype))

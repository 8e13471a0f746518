"""A model with exact log p(x): x = W h + b + sigma e, with h and e standard normal."""

import math

import torch
from torch import Tensor, nn

from iwae_cli.core.config import Arch
from iwae_cli.models.conditional import ConditionalLayer
from iwae_cli.models.distributions import Gaussian, log_standard_normal
from iwae_cli.models.hierarchical import ImportanceSample
from iwae_cli.models.iwae import IWAE
from iwae_cli.models.layers import GaussianLayer

PIXELS, LATENTS, SIGMA = 6, 3, 0.8


class LinearGaussian(nn.Module):
    """Has the interface of `IWAE`, with a recognition density that is off by a known amount.

    Args:
        wider: Factor by which q's standard deviations exceed those of the best diagonal Gaussian.
        shift: Added to each mean of q, in standard deviations of it.
    """

    def __init__(self, *, wider: float = 1.3, shift: float = 0.3, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.data_dim, self.latents = PIXELS, (LATENTS,)
        columns = torch.linalg.qr(
            torch.randn(PIXELS, LATENTS, generator=generator, dtype=torch.float64)
        )[0]
        # orthogonal columns make the posterior covariance diagonal, so that q can hold it
        self.W = nn.Parameter(columns * torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64))
        self.b = nn.Parameter(torch.randn(PIXELS, generator=generator, dtype=torch.float64))
        self.wider, self.shift = wider, shift

    def exact_log_p(self, x: Tensor) -> Tensor:
        """Return log N(x; b, W W^T + sigma^2 I), [B]."""
        covariance = self.W @ self.W.T + SIGMA**2 * torch.eye(PIXELS, dtype=torch.float64)
        log_p: Tensor = torch.distributions.MultivariateNormal(self.b, covariance).log_prob(x)
        return log_p

    def posterior(self, x: Tensor) -> Gaussian:
        """Return the exact posterior, a diagonal Gaussian as W's columns are orthogonal."""
        precision = 1 + self.W.square().sum(0) / SIGMA**2
        mean = (x - self.b) @ self.W / SIGMA**2 / precision
        return Gaussian(mean, (-0.5 * precision.log()).expand_as(mean))

    def importance_sample(self, x: Tensor, noise: tuple[Tensor, ...]) -> ImportanceSample:
        exact = self.posterior(x)
        std = exact.log_std.exp()
        q = Gaussian(exact.mean + self.shift * std, exact.log_std + math.log(self.wider))
        h = q.transform(noise[0].double())
        error = (x - self.b - h @ self.W.T) / SIGMA
        log_p = log_standard_normal(h) + log_standard_normal(error) - PIXELS * math.log(SIGMA)
        log_q = q.log_density(h)
        return ImportanceSample(log_p - log_q, log_q, (h,))

    def images(self, count: int, seed: int = 5) -> Tensor:
        """Return data drawn from the model itself, [count, PIXELS]."""
        generator = torch.Generator().manual_seed(seed)
        h = torch.randn(count, LATENTS, generator=generator, dtype=torch.float64)
        e = torch.randn(count, PIXELS, generator=generator, dtype=torch.float64)
        return (h @ self.W.T + self.b + SIGMA * e).detach()


class LinearRecognition(ConditionalLayer[Gaussian]):
    """q(h | x) = N(A x + c, diag(exp(s))^2), its derivatives by autograd."""

    def __init__(self, A: Tensor, c: Tensor, s: Tensor) -> None:
        super().__init__()
        self.A, self.c, self.s = nn.Parameter(A), nn.Parameter(c), nn.Parameter(s)

    def forward(self, inputs: Tensor) -> Gaussian:
        mean = inputs @ self.A.T + self.c
        return Gaussian(mean, self.s.expand_as(mean))


def linear_iwae(*, wider: float = 1.15, shift: float = 0.3) -> IWAE:
    """Return an `IWAE` with linear Gaussian networks, q off its optimum by a known amount."""
    exact = LinearGaussian()
    W, b = exact.W.detach(), exact.b.detach()
    precision = 1 + W.square().sum(0) / SIGMA**2
    A = W.T / SIGMA**2 / precision.unsqueeze(1)
    std = precision.rsqrt()
    generative = GaussianLayer(LATENTS, [], PIXELS).double()
    with torch.no_grad():
        generative.mean.weight.copy_(W)
        generative.mean.bias.copy_(b)
        generative.log_std.weight.zero_()
        generative.log_std.bias.fill_(math.log(SIGMA))
    model = IWAE(PIXELS, Arch(latents=[LATENTS], hidden=[[]]))
    recognition = LinearRecognition(A, shift * std - A @ b, (wider * std).log())
    model.recognition, model.generative = nn.ModuleList([recognition]), nn.ModuleList([generative])
    return model

"""The model as most people write it in PyTorch: what the benchmark compares with.

x is repeated k times, densities come from torch.distributions, autograd does the rest; float32,
eager, the same layer sizes and the same optimiser.
"""

import math

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal


class PlainIWAE(nn.Module):
    """One stochastic layer of 50 units between tanh layers of 200."""

    def __init__(self, pixels: int = 784, hidden: int = 200, latent: int = 50) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(pixels, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh()
        )
        self.mean, self.log_std = nn.Linear(hidden, latent), nn.Linear(hidden, latent)
        self.decoder = nn.Sequential(
            nn.Linear(latent, hidden),
            nn.Tanh(),
            nn.Linear(hidden, hidden),
            nn.Tanh(),
            nn.Linear(hidden, pixels),
        )

    def log_weights(self, x: Tensor, k: int) -> Tensor:
        """Return log w, [k, B], of images [B, D]."""
        repeated = x.unsqueeze(0).repeat(k, 1, 1)
        features = self.encoder(repeated)
        posterior = Normal(self.mean(features), self.log_std(features).exp())
        h = posterior.rsample()
        prior = Normal(torch.zeros_like(h), torch.ones_like(h))
        log_p = Bernoulli(logits=self.decoder(h)).log_prob(repeated).sum(-1)
        log_w: Tensor = log_p + prior.log_prob(h).sum(-1) - posterior.log_prob(h).sum(-1)
        return log_w

    def loss(self, x: Tensor, k: int) -> Tensor:
        """Return -L_k, the mean over the images."""
        log_w = self.log_weights(x, k)
        return -(torch.logsumexp(log_w, 0) - math.log(k)).mean()

    @torch.no_grad()
    def log_likelihood(self, x: Tensor, k: int, rows: int) -> Tensor:
        """Return L_k of one image [1, D], `rows` samples at a time."""
        parts = [self.log_weights(x, min(rows, k - done)) for done in range(0, k, rows)]
        return torch.logsumexp(torch.cat(parts), 0) - math.log(k)
